//! The archive's members and its document put together: which bytes are which disk.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{DiskDigest, Error, Result, SourceHandle};

use crate::envelope::{Disk, Envelope, File};
use crate::manifest::{self, Line};
use crate::members::{Member, ends, harmless};

/// The longest document or manifest, in bytes.
const TEXT_LIMIT: u64 = 4 << 20;
/// Members shown of those that are no disks.
const SHOWN: usize = 64;

/// A disk and where its bytes lie.
#[derive(Debug)]
pub struct Contained {
    pub name: String,
    pub size: u64,
    /// (where on the disk, where in the archive, how many bytes), in order.
    pub parts: Vec<(u64, u64, u64)>,
    pub digests: Vec<DiskDigest>,
    pub details: Vec<(String, String)>,
}

/// What an appliance holds.
#[derive(Debug, Default)]
pub struct Appliance {
    pub disks: Vec<Contained>,
    /// Texts among the members, by name.
    pub documents: Vec<Member>,
    pub details: Vec<(String, String)>,
    pub warnings: Vec<String>,
}

impl Appliance {
    /// Puts together what `members` are.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is no document or no file that it names,
    /// [`Error::Corrupt`] where sizes do not agree.
    pub fn new(main: &SourceHandle, members: &[Member]) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for member in members {
            if by_name.insert(member.name.as_str(), member).is_some() {
                let what = format!("member {:?} occurs twice", member.name);
                return Err(Error::corrupt(member.offset, what));
            }
        }
        let document = members.iter().find(|member| ends(&member.name, ".ovf"));
        let document =
            document.ok_or_else(|| Error::Missing("an .ovf document in this archive".into()))?;
        let mut envelope = Envelope::parse(&text(main, document)?, document.offset)?;
        envelope.files.iter_mut().for_each(|file| find_decoded(file, &by_name));
        let mut appliance = Self::default();
        let of_manifest = appliance.read_texts(main, members, document)?;
        let mut used: BTreeSet<&str> = appliance.documents.iter().map(|text| &*text.name).collect();
        let files: BTreeMap<&String, &File> =
            envelope.files.iter().map(|file| (&file.id, file)).collect();
        let (mut disks, mut empty) = (Vec::new(), Vec::new());
        for disk in &envelope.disks {
            match disk.file.as_ref().and_then(|id| files.get(id)) {
                Some(file) => {
                    let (contained, names) = contained(disk, file, &by_name, &of_manifest)?;
                    used.extend(names);
                    disks.push(contained);
                }
                None => empty.push(disk),
            }
        }
        let others: Vec<&Member> =
            members.iter().filter(|member| !used.contains(&*member.name)).collect();
        appliance.details = details(&envelope, &empty, &others);
        appliance.disks = disks;
        Ok(appliance)
    }

    /// Finds the texts to be shown, and answers the manifest's lines.
    fn read_texts(
        &mut self,
        main: &SourceHandle,
        members: &[Member],
        document: &Member,
    ) -> Result<Vec<Line>> {
        self.documents.push(document.clone());
        let mut lines = Vec::new();
        for member in members.iter().filter(|member| member.length <= TEXT_LIMIT) {
            let manifest = ends(&member.name, ".mf");
            if manifest && lines.is_empty() {
                match text(main, member) {
                    Ok(text) => lines = manifest::parse(&text),
                    Err(error) => self.warnings.push(format!("the manifest: {error}")),
                }
            }
            if (manifest || ends(&member.name, ".cert")) && self.documents.len() < 8 {
                self.documents.push(member.clone());
            }
        }
        Ok(lines)
    }
}

/// The text of a member.
fn text(main: &SourceHandle, member: &Member) -> Result<String> {
    if member.length > TEXT_LIMIT {
        let what = format!("a text of {} bytes in an appliance", member.length);
        return Err(Error::Unsupported(what));
    }
    let bytes = read_bytes(&**main, member.offset, member.length, "a text")?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let text = core::str::from_utf8(bytes).map(ToString::to_string);
    text.map_err(|_| Error::corrupt(member.offset, "expected a text in UTF-8"))
}

/// The disk in `file`, and the names of the members that it is made of.
fn contained<'a>(
    disk: &Disk,
    file: &File,
    members: &BTreeMap<&'a str, &'a Member>,
    manifest: &[Line],
) -> Result<(Contained, Vec<&'a str>)> {
    let own = members_of(file, members)?;
    let (mut parts, mut size) = (Vec::new(), 0u64);
    for member in &own {
        if member.length > 0 {
            parts.push((size, member.offset, member.length));
        }
        // Members lie one behind the other in a file, so the sum is one, too.
        size = size.saturating_add(member.length);
    }
    // Of a compressed file some writers state the length it had before.
    if let Some(stated) = file.size.filter(|stated| file.compression.is_none() && *stated != size) {
        let what = format!("expected {:?} of {stated} bytes, found {size}", file.href);
        let offset = own.first().map_or(0, |member| member.offset);
        return Err(Error::corrupt(offset, what));
    }
    let lines: Vec<&Line> = manifest.iter().filter(|line| line.name == file.href).collect();
    let digest = |line: &&Line| Some(DiskDigest { kind: line.kind()?, value: line.digest.clone() });
    let whole = file.chunk.is_none();
    let digests: Vec<DiskDigest> = lines.iter().filter(|_| whole).filter_map(digest).collect();
    let mut details = vec![("disk id", harmless(&disk.id))];
    details.extend(disk.capacity.map(|capacity| ("capacity", capacity.to_string())));
    details.extend(disk.format.as_ref().map(|format| ("stated format", harmless(format))));
    details.extend(disk.parent.as_ref().map(|parent| ("parent disk", harmless(parent))));
    details.extend(file.compression.as_ref().map(|kind| ("compression", harmless(kind))));
    if !whole {
        details.push(("chunks", own.len().to_string()));
    }
    for line in lines.iter().filter(|line| line.kind().is_none()) {
        details.push(("digest that is not compared", harmless(&line.function)));
    }
    let details = details.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let names = own.iter().map(|member| &*member.name).collect();
    Ok((Contained { name: file.href.clone(), size, parts, digests, details }, names))
}

/// A reference is a URI: where no member has its name as it stands, one may have it with
/// `%20` and its like decoded.
fn find_decoded(file: &mut File, members: &BTreeMap<&str, &Member>) {
    let first = |name: &str| match file.chunk {
        Some(_) => members.contains_key(&*format!("{name}.{:09}", 0)),
        None => members.contains_key(name),
    };
    if !first(&file.href)
        && let Some(decoded) = percent_decoded(&file.href)
        && first(&decoded)
    {
        file.href = decoded;
    }
}

/// The text with `%` and two digits in the place of bytes; `None` where that is no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        let digits = behind.get(..2).and_then(|digits| core::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = behind.get(2..)?;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

/// The members that a file consists of: one, or its chunks in order.
fn members_of<'a>(file: &File, members: &BTreeMap<&'a str, &'a Member>) -> Result<Vec<&'a Member>> {
    let missing = |name: &str| Error::Missing(format!("{} in this archive", harmless(name)));
    let Some(chunk) = file.chunk else {
        let member = members.get(&*file.href).ok_or_else(|| missing(&file.href))?;
        return Ok(vec![member]);
    };
    let mut own: Vec<&Member> = Vec::new();
    loop {
        let name = format!("{}.{:09}", file.href, own.len());
        let Some(member) = members.get(&*name) else {
            let found: u64 = own.iter().map(|member| member.length).sum();
            let whole = file.size.is_none_or(|size| found >= size) || file.compression.is_some();
            return if own.is_empty() || !whole { Err(missing(&name)) } else { Ok(own) };
        };
        if let Some(before) = own.last().filter(|before| before.length != chunk) {
            let what = format!("expected a chunk of {chunk} bytes, found {}", before.length);
            return Err(Error::corrupt(before.offset, what));
        }
        own.push(member);
    }
}

fn details(envelope: &Envelope, empty: &[&Disk], others: &[&Member]) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = Vec::new();
    let notes = envelope.notes.iter();
    list.extend(notes.map(|(label, value)| (label.clone(), harmless(value))));
    for disk in empty.iter().take(SHOWN) {
        let capacity = disk.capacity.map_or("unknown".into(), |bytes| bytes.to_string());
        list.push(("empty disk".into(), format!("{}, {capacity} bytes", harmless(&disk.id))));
    }
    for member in others.iter().take(SHOWN) {
        let value = format!("{}, {} bytes", harmless(&member.name), member.length);
        list.push(("other member".into(), value));
    }
    if let Some(more) = others.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        list.push(("other members not shown".into(), more.to_string()));
    }
    list
}
