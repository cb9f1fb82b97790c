//! Extent lines of a descriptor (Virtual Disk Format, "The Extent Description"): which
//! sectors of the disk lie where. The files they name are opened by [`crate::part`].

use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::{Error, Result};

/// Bytes a sector, the unit of everything in the format.
pub const SECTOR: u64 = 512;

/// What may be done with an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Its bytes may be read.
    Readable,
    /// Not even that.
    None,
}

/// How an extent is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nowhere: it reads as zeroes.
    Zero,
    /// As it is, from a sector of its file on.
    Flat {
        /// That sector.
        first: u64,
    },
    /// A hosted sparse extent, or a COWD one.
    Sparse,
    /// An SEsparse extent.
    SeSparse,
}

/// One extent line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What may be done with it.
    pub permission: Permission,
    /// Sectors of the disk, never 0.
    pub sectors: u64,
    /// How they are stored.
    pub kind: Kind,
    /// The file; empty for [`Kind::Zero`].
    pub file: String,
}

impl Line {
    /// The line in `text`, which stands at `offset` of source `id`; `None` where it is
    /// no extent line.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a line that is not whole, [`Error::Unsupported`] for a
    /// kind that is not read.
    pub fn parse(text: &str, id: u32, offset: u64) -> Result<Option<Self>> {
        let (word, rest) = split_word(text);
        let permission = match word {
            "RW" | "RDONLY" => Permission::Readable,
            "NOACCESS" => Permission::None,
            _ => return Ok(None),
        };
        let corrupt = |what: &str| {
            Error::corrupt_in(id, offset, format!("expected {what} in the extent line {text:?}"))
        };
        let (sectors, rest) = split_word(rest);
        let sectors = sectors.parse().ok().filter(|sectors: &u64| *sectors > 0);
        let sectors = sectors.ok_or_else(|| corrupt("a number of sectors"))?;
        let (kind, rest) = split_word(rest);
        let (file, behind) = split_name(rest);
        let first = match split_word(behind).0 {
            "" => 0,
            first => first.parse().map_err(|_| corrupt("a sector of the file"))?,
        };
        let kind = match kind {
            "ZERO" => Kind::Zero,
            "FLAT" | "VMFS" => Kind::Flat { first },
            "SPARSE" | "VMFSSPARSE" => Kind::Sparse,
            "SESPARSE" => Kind::SeSparse,
            "" => return Err(corrupt("a kind")),
            other => return Err(Error::Unsupported(format!("an extent of kind {other}"))),
        };
        if kind != Kind::Zero && file.is_empty() {
            return Err(corrupt("a file name in quotes"));
        }
        let file = if kind == Kind::Zero { String::new() } else { file.to_string() };
        Ok(Some(Self { permission, sectors, kind, file }))
    }
}

/// The first word, and what stands behind it.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

/// What stands between the first and the last quote, for names may hold quotes; and
/// what stands behind.
fn split_name(text: &str) -> (&str, &str) {
    let inner = text.trim_start().strip_prefix('"');
    inner.and_then(|inner| inner.rsplit_once('"')).unwrap_or(("", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Line>> {
        Line::parse(text, 3, 7)
    }

    #[test]
    fn lines_are_taken_apart() {
        let line = parse("RW 4192256 SPARSE \"a disk \"of mine\"-s001.vmdk\"").unwrap().unwrap();
        assert_eq!((line.sectors, line.kind), (4192256, Kind::Sparse));
        assert_eq!(line.file, "a disk \"of mine\"-s001.vmdk");
        let line = parse("RDONLY\t63  FLAT \"a.vmdk\"  128 0123-uuid device").unwrap().unwrap();
        assert_eq!((line.kind, line.permission), (Kind::Flat { first: 128 }, Permission::Readable));
        let line = parse("NOACCESS 8 ZERO ").unwrap().unwrap();
        assert_eq!((line.kind, line.permission), (Kind::Zero, Permission::None));
        assert_eq!(parse("RW 8 VMFS \"x\"").unwrap().unwrap().kind, Kind::Flat { first: 0 });
        assert_eq!(parse("RWX 8 ZERO").unwrap(), None);
        assert_eq!(parse("CID=1").unwrap(), None);
    }

    #[test]
    fn lines_that_are_not_whole_are_refused() {
        for text in ["RW", "RW 0 ZERO", "RW -1 ZERO", "RW 99999999999999999999 ZERO", "RW 1"] {
            assert!(matches!(parse(text), Err(Error::Corrupt { source_id: 3, .. })), "{text}");
        }
        for text in
            ["RW 8 FLAT", "RW 8 FLAT x", "RW 8 FLAT \"x", "RW 8 FLAT \"x\" y", "RW 8 FLAT \"\""]
        {
            assert!(matches!(parse(text), Err(Error::Corrupt { offset: 7, .. })), "{text}");
        }
        for kind in ["VMFSRDM", "VMFSRAW", "PMEM"] {
            let found = parse(&format!("RW 8 {kind} \"x\""));
            assert!(matches!(found, Err(Error::Unsupported(what)) if what.contains(kind)));
        }
    }
}
