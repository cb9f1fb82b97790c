//! The members of the archive, found in one pass over their headers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::{parse_struct, read_bytes, read_struct};
use fumehood_plugin::{Confidence, Error, Glimpse, Result, SourceHandle};

use crate::pax::Pax;
use crate::tar::{BLOCK, Header, Kind, text};

/// The most members; an appliance has some, or some thousands where disks are in chunks.
const MEMBERS_LIMIT: usize = 65536;
/// The most that all names take, in bytes.
const NAMES_LIMIT: usize = 4 << 20;
/// The longest name of a member, in bytes.
const NAME_LIMIT: usize = 1024;
/// The longest pax header or long name.
const EXTRA_LIMIT: u64 = 64 << 10;
/// Headers of a step.
const STEP: usize = 2048;

/// A file in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Where its contents lie in the archive.
    pub offset: u64,
    pub length: u64,
}

/// A pass over the headers.
pub struct Scan {
    main: SourceHandle,
    position: u64,
    pub members: Vec<Member>,
    pax: Pax,
    long_name: Option<String>,
    /// Bytes of all names so far.
    names: usize,
    /// Whether the archive had its end mark.
    pub ended: bool,
}

/// Whether the glimpse is of an appliance: an archive that shows an `.ovf` member, or is
/// called `.ova`. An XVA is called that, too.
pub fn probe(glimpse: &Glimpse) -> Confidence {
    let mut first = true;
    let (mut at, mut long_name) = (0, None);
    while let Some(block) = usize::try_from(at).ok().and_then(|at| glimpse.head.get(at..)) {
        let Ok(header) = parse_struct::<Header>(block, 0, at, "header") else { break };
        let Some(size) = header.size().filter(|_| header.is_sound()) else { break };
        let contents = block.get(BLOCK as usize..).unwrap_or_default();
        let contents = contents.get(..contents.len().min(size.min(EXTRA_LIMIT) as usize));
        let contents = contents.unwrap_or_default();
        match header.kind() {
            Kind::Pax => long_name = Pax::parse(contents).and_then(|pax| pax.name),
            Kind::LongName => long_name = Some(long(contents)),
            Kind::PaxGlobal | Kind::LongLink => (),
            _ => {
                let name = long_name.take().unwrap_or_else(|| header.name());
                if first && name == "ova.xml" {
                    return Confidence::No;
                }
                if ends(&name, ".ovf") {
                    return Confidence::Certain;
                }
                first = false;
            }
        }
        let Some(next) = size.checked_next_multiple_of(BLOCK) else { break };
        at = at.saturating_add(BLOCK).saturating_add(next);
    }
    if !first && ends(&glimpse.name, ".ova") { Confidence::Certain } else { Confidence::No }
}

/// Whether `name` ends so, in whatever case.
pub fn ends(name: &str, ending: &str) -> bool {
    let start = name.len().saturating_sub(ending.len());
    name.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(ending))
}

fn long(contents: &[u8]) -> String {
    text(contents.split(|byte| *byte == 0).next().unwrap_or_default())
}

impl Scan {
    /// At the beginning of `main`.
    pub fn new(main: SourceHandle) -> Self {
        let (members, pax) = (Vec::new(), Pax::default());
        Self { main, position: 0, members, pax, long_name: None, names: 0, ended: false }
    }

    /// Where it has come to.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads some headers; true at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for what is no header or reaches past the end,
    /// [`Error::Unsupported`] for links and files with holes.
    pub fn step(&mut self) -> Result<bool> {
        for _ in 0..STEP {
            if self.next()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn next(&mut self) -> Result<bool> {
        let at = self.position;
        if at >= self.main.size() {
            return Ok(true);
        }
        let header: Header = read_struct(&*self.main, at, "member header")?;
        if header.is_end() {
            self.ended = true;
            return Ok(true);
        }
        if !header.is_sound() {
            let what = "expected the header of a member, found none with its own checksum";
            return Err(Error::corrupt(at, what));
        }
        let kind = header.kind();
        let size = match (kind, self.pax.size) {
            (Kind::Pax | Kind::PaxGlobal | Kind::LongName | Kind::LongLink, _) => header.size(),
            (_, Some(size)) => Some(size),
            // Their sizes say nothing of contents.
            (Kind::Folder | Kind::Link | Kind::Other, None) => {
                Some(header.size().unwrap_or_default())
            }
            _ => header.size(),
        };
        let size =
            size.ok_or_else(|| Error::corrupt(at + 124, "expected a size in octal or binary"))?;
        let offset = at + BLOCK;
        let end = offset.checked_add(size).filter(|end| *end <= self.main.size());
        let end = end.ok_or_else(|| {
            let what = format!(
                "expected a member of {size} bytes, found the archive's end at {}: it may be cut",
                self.main.size()
            );
            Error::corrupt(offset, what)
        })?;
        self.member(&header, kind, offset, size)?;
        self.position = end.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
        Ok(false)
    }

    fn member(&mut self, header: &Header, kind: Kind, offset: u64, size: u64) -> Result<()> {
        match kind {
            Kind::Pax | Kind::LongName => return self.extra(kind, offset, size),
            Kind::PaxGlobal | Kind::LongLink => return Ok(()),
            _ => (),
        }
        let pax = core::mem::take(&mut self.pax);
        let name = pax.name.or(self.long_name.take()).unwrap_or_else(|| header.name());
        if name.len() > NAME_LIMIT {
            let what =
                format!("expected a name of at most {NAME_LIMIT} bytes, found {}", name.len());
            return Err(Error::corrupt(offset - BLOCK, what));
        }
        let shown = harmless(&name);
        match kind {
            Kind::Link => {
                Err(Error::Unsupported(format!("member {shown} of the archive is a link")))
            }
            Kind::Sparse => Err(Error::Unsupported(format!("member {shown} is stored with holes"))),
            Kind::File if pax.sparse => {
                Err(Error::Unsupported(format!("member {shown} is stored with holes")))
            }
            Kind::File if self.members.len() >= MEMBERS_LIMIT => {
                let what = format!("an archive of more than {MEMBERS_LIMIT} members");
                Err(Error::Unsupported(what))
            }
            Kind::File if self.names + name.len() > NAMES_LIMIT => {
                let what = format!("an archive with more than {NAMES_LIMIT} bytes of names");
                Err(Error::Unsupported(what))
            }
            Kind::File => {
                self.names += name.len();
                self.members.push(Member { name, offset, length: size });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A header that says more of the next member.
    fn extra(&mut self, kind: Kind, offset: u64, size: u64) -> Result<()> {
        if size > EXTRA_LIMIT {
            let what = format!("expected at most {EXTRA_LIMIT} bytes of header, found {size}");
            return Err(Error::corrupt(offset, what));
        }
        let bytes = read_bytes(&*self.main, offset, size, "an extended header")?;
        if kind == Kind::LongName {
            self.long_name = Some(long(&bytes));
            return Ok(());
        }
        let pax = Pax::parse(&bytes);
        self.pax = pax.ok_or_else(|| Error::corrupt(offset, "expected records of a pax header"))?;
        Ok(())
    }
}

/// A text of the archive's, fit to be shown.
pub fn harmless(text: &str) -> String {
    text.chars().take(255).map(|own| if own.is_control() { '?' } else { own }).collect()
}
