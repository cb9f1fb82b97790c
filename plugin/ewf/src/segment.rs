//! The file header of one segment, and the signatures of the family's formats.
//! What follows the header is the section chain's.
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
const SIGNATURE: usize = 8;

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

    /// Refuses the members of the family that are recognised but not read.
    ///
    /// # Errors
    /// [`Error::Unsupported`], naming the format.
    pub fn require_evidence(self) -> Result<()> {
        let what = match self {
            Self::Evidence => return Ok(()),
            Self::Logical => "EWF logical evidence (L01) holds files, not a disk",
            Self::Evidence2 => "EWF 2 (Ex01) is not read; export it to E01",
            Self::Logical2 => "EWF 2 logical evidence (Lx01) holds files, not a disk",
            Self::Encrypted => "AccessData encryption (ADCRYPT) is not read; decrypt it first",
        };
        Err(Error::Unsupported(what.to_string()))
    }
}

/// Checks the header of the file that was given as the image: it must be segment 1.
///
/// # Errors
/// [`Error::Unrecognised`]; [`Error::Unsupported`] for other members of the
/// family and, naming the file to open instead, for a later segment.
pub fn check_first(source: &dyn Source) -> Result<()> {
    if source.size() < FIRST_SECTION {
        return Err(Error::Unrecognised);
    }
    let header: FileHeader = read_struct(source, 0, "file header")?;
    Family::of(&header.signature).ok_or(Error::Unrecognised)?.require_evidence()?;
    match header.number.get() {
        0 => Err(Error::corrupt_in(source.id(), 9, "segment number is 0, expected 1")),
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
pub fn check_further(source: &dyn Source, expected: u16) -> Result<()> {
    let header: FileHeader = read_struct(source, 0, "file header")?;
    if Family::of(&header.signature) != Some(Family::Evidence) {
        let what = format!("{} does not have the signature of its set", source.name());
        return Err(Error::corrupt_in(source.id(), 0, what));
    }
    let number = header.number.get();
    if number != expected {
        let what = format!("{} is segment {number}, expected {expected}", source.name());
        return Err(Error::corrupt_in(source.id(), 9, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
        for (signature, name) in [
            (b"EVF2\r\n\x81\0", "Ex01"),
            (b"LVF\x09\r\n\xff\0", "L01"),
            (b"LEF2\r\n\x81\0", "Lx01"),
            (b"ADCRYPT\0", "ADCRYPT"),
        ] {
            let mut bytes = signature.to_vec();
            bytes.resize(512, 0);
            let source = MemorySource::new(0, "x", bytes);
            let Err(Error::Unsupported(what)) = check_first(&source) else { panic!("{name}") };
            assert!(what.contains(name), "{what}");
        }
        let source = MemorySource::new(0, "x", [0; 512].to_vec());
        assert_eq!(check_first(&source), Err(Error::Unrecognised));
    }
}
