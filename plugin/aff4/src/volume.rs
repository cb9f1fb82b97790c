//! One zip file of a set: its URN, its members that are no segments of a stream, and what
//! its `information.turtle` says.
//!
//! Source: AFF4 Standard v1.0a, sections 5.1 and 5.4.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, SourceHandle};
use md5::{Digest, Md5};

use crate::graph::{Graph, Object};
use crate::names::{SCHEME, Segment, urn};
use crate::zip::{Directory, ENTRY, Entry, Member, contents};

/// Holds the volume's URN.
const DESCRIPTION: &str = "/container.description";
/// Holds what is known of all objects.
pub const TURTLE: &str = "/information.turtle";
/// Holds the version of the format.
pub const VERSION: &str = "/version.txt";

/// The most bytes of a turtle that are read: those of images have some thousand.
pub const MOST_TURTLE: u64 = 8 << 20;
/// The same for small texts.
const MOST_TEXT: u64 = 64 << 10;
/// Members that are no segments, in one volume.
const MOST_MEMBERS: usize = 256;
/// Bytes of a directory read at once: many times the longest entry.
const STEP: u64 = 1 << 20;

/// An opened volume.
pub struct Volume {
    /// Its file.
    pub source: SourceHandle,
    /// The file's name, for messages.
    pub name: String,
    /// Empty until the members are listed, where no comment tells it.
    pub urn: String,
    /// Where its members are listed.
    pub directory: Directory,
    /// Members by their URNs, those of the volume itself without the volume's.
    members: BTreeMap<String, Member>,
    /// What its turtle says.
    pub graph: Graph,
}

impl Volume {
    /// The volume in `source`; finds its directory, and lists nothing yet.
    ///
    /// # Errors
    /// As [`Directory::find`].
    pub fn open(source: SourceHandle) -> Result<Self> {
        let directory = Directory::find(&*source)?;
        let urn = urn_in(&directory.comment).unwrap_or_default();
        let name = source.name();
        let (members, graph) = (BTreeMap::new(), Graph::default());
        Ok(Self { source, name, urn, directory, members, graph })
    }

    /// Keeps a member, if it is neither a segment's nor without interest.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for too many of them.
    pub fn list(&mut self, entry: &Entry<'_>) -> Result<()> {
        let Some(urn) = urn(entry.name, "") else { return Ok(()) };
        let wanted = [DESCRIPTION, TURTLE, VERSION].contains(&urn.as_str())
            || urn.ends_with("/map")
            || urn.ends_with("/idx");
        if !wanted || Segment::of(&urn).is_some() {
            return Ok(());
        }
        self.members.insert(urn, entry.member);
        if self.members.len() > MOST_MEMBERS {
            let what = format!("{} has more than {MOST_MEMBERS} maps", self.name);
            return Err(Error::Unsupported(what));
        }
        Ok(())
    }

    /// Reads the turtle, once all members are listed.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] without a URN, [`Error::Missing`] without a turtle,
    /// [`Error::Corrupt`] for one that cannot be read.
    pub fn learn(&mut self, budget: &mut usize) -> Result<()> {
        if self.urn.is_empty() {
            let description = self.member(DESCRIPTION).ok_or(Error::Unrecognised)?;
            let text = contents(&*self.source, &description, MOST_TEXT, "container.description")?;
            self.urn = urn_in(&text).ok_or(Error::Unrecognised)?;
        }
        let missing = || Error::Missing(format!("information.turtle in {}", self.name));
        let member = self.member(TURTLE).ok_or_else(missing)?;
        let bytes = contents(&*self.source, &member, MOST_TURTLE, "information.turtle")?;
        let corrupt = |offset: usize, what: &str| {
            let what = format!("information.turtle, at its byte {offset}: {what}");
            Error::corrupt_in(self.source.id(), member.header, what)
        };
        let text = core::str::from_utf8(&bytes)
            .map_err(|error| corrupt(error.valid_up_to(), "expected UTF-8"))?;
        self.graph = Graph::read(text, budget).map_err(|flaw| corrupt(flaw.offset, &flaw.what))?;
        Ok(())
    }

    /// The member of that URN.
    pub fn member(&self, urn: &str) -> Option<Member> {
        self.members.get(urn).or_else(|| self.members.get(self.relative(urn)?)).copied()
    }

    /// How many segments its directory can list, with an index for each.
    pub fn most_segments(&self) -> u64 {
        self.directory.size / (2 * ENTRY)
    }

    /// What is wrong with what the turtle says, with the place of the turtle.
    pub fn corrupt(&self, what: &str) -> Error {
        let at = self.member(TURTLE).map_or(0, |member| member.header);
        let what = format!("information.turtle: {what}");
        Error::corrupt_in(self.source.id(), at, what)
    }

    /// A URN without that of the volume, if it begins with it.
    pub fn relative<'u>(&self, urn: &'u str) -> Option<&'u str> {
        urn.strip_prefix(self.urn.as_str()).filter(|rest| rest.starts_with('/'))
    }

    /// The object of that URN, if it is stored in this volume.
    pub fn own(&self, urn: &str) -> Option<&Object> {
        let object = self.graph.get(urn)?;
        object.iri("stored").is_none_or(|volume| volume == self.urn).then_some(object)
    }
}

/// The URN at the beginning of a text, which may end in zeroes or a line's end.
pub fn urn_in(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte <= b' ').unwrap_or(bytes.len());
    let urn = core::str::from_utf8(bytes.get(..end)?).ok()?;
    let urn = urn.trim_end_matches('/');
    (urn.starts_with(SCHEME) && urn.len() > SCHEME.len()).then(|| urn.to_string())
}

/// A way through a directory.
pub struct Walk {
    at: u64,
    end: u64,
}

impl Walk {
    /// From the first entry on.
    pub fn new(directory: &Directory) -> Self {
        Self { at: directory.offset, end: directory.offset.saturating_add(directory.size) }
    }

    /// Bytes left to go.
    pub fn left(&self) -> u64 {
        self.end - self.at
    }

    /// Hands on the entries of the next window; what it went past goes into `digest`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for an entry that is none, and what `take` answers.
    pub fn step(
        &mut self,
        source: &SourceHandle,
        digest: &mut Md5,
        mut take: impl FnMut(&Entry<'_>) -> Result<()>,
    ) -> Result<()> {
        let window = read_bytes(&**source, self.at, self.left().min(STEP), "directory")?;
        let mut rest: &[u8] = &window;
        let mut at = self.at;
        while let Some(entry) =
            if rest.is_empty() { None } else { Entry::parse(rest, source.id(), at)? }
        {
            take(&entry)?;
            at += entry.length as u64;
            rest = rest.get(entry.length..).unwrap_or_default();
        }
        if at == self.at && self.left() > 0 {
            let what = "a directory entry reaches past the directory's end";
            return Err(Error::corrupt_in(source.id(), at, what));
        }
        digest.update(window.get(..(at - self.at) as usize).unwrap_or_default());
        self.at = at;
        Ok(())
    }
}

/// Volumes in order, and the number of one that stores the object `urn`.
pub fn volume_of<'v>(volumes: &'v [Volume], urn: &str) -> Option<(usize, &'v Volume, &'v Object)> {
    let own = |(number, volume): (usize, &'v Volume)| Some((number, volume, volume.own(urn)?));
    volumes.iter().enumerate().find_map(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_urn_stands_at_the_beginning() {
        assert_eq!(urn_in(b"aff4://a-1\0").as_deref(), Some("aff4://a-1"));
        assert_eq!(urn_in(b"aff4://a/\r\n").as_deref(), Some("aff4://a"));
        for other in [&b""[..], b"aff4://", b"xaff4://a", b"\xff"] {
            assert_eq!(urn_in(other), None);
        }
    }
}
