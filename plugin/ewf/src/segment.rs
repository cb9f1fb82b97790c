//! The signatures of the family's formats, and the file header of one segment of
//! version 1. That of version 2 is [`crate::ewf2`]'s; what follows the header is the
//! section chain's.
//!
//! Source: libewf, "Expert Witness Compression Format", File header; the same,
//! "Version 2", File header; AD encryption.

use alloc::format;
use alloc::string::ToString;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::naming::Series;

/// Length of a signature in bytes.
pub const SIGNATURE: usize = 8;
/// Offset of the segment number.
const NUMBER: u64 = 9;

/// The start of every segment file.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FileHeader {
    signature: [u8; SIGNATURE],
    fields_start: u8,
    number: U16,
    fields_end: U16,
}

/// Where the first section of a segment starts.
pub const FIRST_SECTION: u64 = size_of::<FileHeader>() as u64;

/// A version of the format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `.E01` and `.s01`.
    One,
    /// `.Ex01`.
    Two,
}

/// A format of the family, told by its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// A disk in EWF version 1: `.E01` and `.s01`.
    Evidence,
    /// Files in EWF version 1: `.L01`.
    Logical,
    /// A disk in EWF version 2: `.Ex01`.
    Evidence2,
    /// Files in EWF version 2: `.Lx01`.
    Logical2,
    /// Any of these inside AccessData's encrypted container.
    Encrypted,
}

impl Family {
    /// Tells the format by a file's first bytes.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head.first_chunk::<SIGNATURE>()? {
            b"EVF\x09\r\n\xff\0" => Some(Self::Evidence),
            b"LVF\x09\r\n\xff\0" => Some(Self::Logical),
            b"EVF2\r\n\x81\0" => Some(Self::Evidence2),
            b"LEF2\r\n\x81\0" => Some(Self::Logical2),
            b"ADCRYPT\0" => Some(Self::Encrypted),
            _ => None,
        }
    }

    /// The version of the format. Refuses the members of the family that are
    /// recognised but not read.
    ///
    /// # Errors
    /// [`Error::Unsupported`], naming the format.
    pub fn version(self) -> Result<Version> {
        let what = match self {
            Self::Evidence => return Ok(Version::One),
            Self::Evidence2 => return Ok(Version::Two),
            Self::Logical => "EWF logical evidence (L01) holds files, not a disk",
            Self::Logical2 => "EWF 2 logical evidence (Lx01) holds files, not a disk",
            Self::Encrypted => "AccessData encryption (ADCRYPT) is not read; decrypt it first",
        };
        Err(Error::Unsupported(what.to_string()))
    }
}

/// The version of the format that `source` is in.
///
/// # Errors
/// [`Error::Unrecognised`]; [`Error::Unsupported`] for other members of the family.
pub fn version(source: &dyn Source) -> Result<Version> {
    if source.size() < SIGNATURE as u64 {
        return Err(Error::Unrecognised);
    }
    let signature: [u8; SIGNATURE] = read_struct(source, 0, "signature")?;
    Family::of(&signature).ok_or(Error::Unrecognised)?.version()
}

/// Checks the header of the file that was given as the image: it must be segment 1.
///
/// # Errors
/// [`Error::Unrecognised`] where there is none; else as [`require_first`].
pub fn check_first(source: &dyn Source) -> Result<()> {
    if source.size() < FIRST_SECTION {
        return Err(Error::Unrecognised);
    }
    let header: FileHeader = read_struct(source, 0, "file header")?;
    require_first(source, NUMBER, u32::from(header.number.get()))
}

/// Refuses a file that was given as the image and has another `number`, which stands at
/// `offset`, than 1.
///
/// # Errors
/// [`Error::Corrupt`]; [`Error::Unsupported`], naming the file to open instead, for a
/// later segment.
pub fn require_first(source: &dyn Source, offset: u64, number: u32) -> Result<()> {
    match number {
        0 => Err(Error::corrupt_in(source.id(), offset, "segment number is 0, expected 1")),
        1 => Ok(()),
        number => {
            let first = Series::of(&source.name()).and_then(|series| series.name(1));
            let first = first.map_or("the set's first file".to_string(), |name| name);
            let what = format!("this is segment {number} of a split set; open {first} instead");
            Err(Error::Unsupported(what))
        }
    }
}

/// Checks the header of a further file, which must be segment `expected`.
///
/// # Errors
/// [`Error::Corrupt`] in that source.
pub fn check_further(source: &dyn Source, expected: u32) -> Result<()> {
    let header: FileHeader = read_struct(source, 0, "file header")?;
    require_family(source, &header.signature, Family::Evidence)?;
    require_number(source, NUMBER, u32::from(header.number.get()), expected)
}

/// Refuses a further file whose `signature` is of another format.
///
/// # Errors
/// [`Error::Corrupt`] in that source.
pub fn require_family(source: &dyn Source, signature: &[u8], family: Family) -> Result<()> {
    if Family::of(signature) == Some(family) {
        return Ok(());
    }
    let what = format!("{} does not have the signature of its set", source.name());
    Err(Error::corrupt_in(source.id(), 0, what))
}

/// Refuses a further file of another `number`, which stands at `offset`.
///
/// # Errors
/// [`Error::Corrupt`] in that source.
pub fn require_number(source: &dyn Source, offset: u64, number: u32, expected: u32) -> Result<()> {
    if number == expected {
        return Ok(());
    }
    let what = format!("{} is segment {number}, expected {expected}", source.name());
    Err(Error::corrupt_in(source.id(), offset, what))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use fumehood_plugin::memory::MemorySource;

    use super::*;

    fn file(name: &str, number: u8) -> MemorySource {
        MemorySource::new(2, name, [&b"EVF\x09\r\n\xff\0\x01"[..], &[number, 0, 0, 0]].concat())
    }

    #[test]
    fn a_later_segment_names_the_first() {
        assert_eq!(check_first(&file("a.E01", 1)), Ok(()));
        let Err(Error::Unsupported(what)) = check_first(&file("a.e03", 3)) else { panic!() };
        assert!(what.contains("segment 3") && what.contains("a.e01"), "{what}");
        assert!(matches!(check_first(&file("a.E01", 0)), Err(Error::Corrupt { offset: 9, .. })));
        assert_eq!(check_further(&file("a.E03", 3), 3), Ok(()));
        assert!(matches!(
            check_further(&file("a.E03", 4), 3),
            Err(Error::Corrupt { source_id: 2, offset: 9, .. })
        ));
    }

    #[test]
    fn relatives_are_refused_by_name() {
        for (signature, name) in
            [(b"LVF\x09\r\n\xff\0", "L01"), (b"LEF2\r\n\x81\0", "Lx01"), (b"ADCRYPT\0", "ADCRYPT")]
        {
            let mut bytes = signature.to_vec();
            bytes.resize(512, 0);
            let source = MemorySource::new(0, "x", bytes);
            let Err(Error::Unsupported(what)) = version(&source) else { panic!("{name}") };
            assert!(what.contains(name), "{what}");
        }
        for bytes in [vec![0; 512], vec![], b"EVF2\r\n".to_vec()] {
            let source = MemorySource::new(0, "x", bytes);
            assert_eq!(version(&source), Err(Error::Unrecognised));
        }
        assert_eq!(version(&file("a.E01", 1)), Ok(Version::One));
    }
}
