//! The file header of one segment of version 2.
//!
//! Source: libewf, "Expert Witness Compression Format version 2", File header.

use alloc::format;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::media::{Method, require_set};
use crate::segment::{Family, SIGNATURE, require_family, require_first, require_number};

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FileHeader {
    signature: [u8; SIGNATURE],
    major: u8,
    minor: u8,
    method: U16,
    number: U32,
    set: [u8; 16],
}

/// Where the data of the first section starts.
pub const FIRST_DATA: u64 = size_of::<FileHeader>() as u64;

/// Offsets of fields.
const VERSION: u64 = 8;
const METHOD: u64 = 10;
const NUMBER: u64 = 12;
/// Offset of the identifier of the set.
const SET: u64 = 16;

/// The version that is read; a minor one changes nothing.
const MAJOR: u8 = 2;

/// What the segments of a set have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How texts and chunks are compressed.
    pub method: Method,
    /// Identifier of the set, if recorded.
    pub set: Option<[u8; 16]>,
}

impl Header {
    /// Reads the header of the file that was given as the image, which must be segment 1.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] where there is none; [`Error::Unsupported`] for another
    /// version or an unknown compression; else as [`require_first`].
    pub fn read_first(source: &dyn Source) -> Result<Self> {
        if source.size() < FIRST_DATA {
            return Err(Error::Unrecognised);
        }
        let header: FileHeader = read_struct(source, 0, "file header")?;
        require_first(source, NUMBER, header.number.get())?;
        header.meaning()
    }

    /// Checks the header of a further file, which must be segment `expected`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] in that source; [`Error::Unsupported`] as for the first.
    pub fn check_further(self, source: &dyn Source, expected: u32) -> Result<()> {
        let header: FileHeader = read_struct(source, 0, "file header")?;
        require_family(source, &header.signature, Family::Evidence2)?;
        require_number(source, NUMBER, header.number.get(), expected)?;
        let found = header.meaning()?;
        if found.method != self.method {
            let (found, own) = (found.method, self.method);
            let what = format!("{} is compressed by {found:?}, its set by {own:?}", source.name());
            return Err(Error::corrupt_in(source.id(), METHOD, what));
        }
        require_set(self.set, found.set, source, SET)
    }
}

impl FileHeader {
    fn meaning(&self) -> Result<Header> {
        let (major, minor) = (self.major, self.minor);
        if major != MAJOR {
            return Err(Error::Unsupported(format!(
                "Ex01 of version {major}.{minor} (byte {VERSION} of the file), expected {MAJOR}.x"
            )));
        }
        let method = match self.method.get() {
            0 => Method::None,
            1 => Method::Zlib,
            2 => Method::Bzip2,
            other => {
                return Err(Error::Unsupported(format!(
                    "Ex01 with compression method {other} (byte {METHOD} of the file), expected \
                     0 to 2"
                )));
            }
        };
        Ok(Header { method, set: self.set() })
    }

    fn set(&self) -> Option<[u8; 16]> {
        (self.set != [0; 16]).then_some(self.set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_its_size() {
        assert_eq!(FIRST_DATA, 32);
        assert_eq!(core::mem::offset_of!(FileHeader, set) as u64, SET);
        assert_eq!(core::mem::offset_of!(FileHeader, number) as u64, NUMBER);
        assert_eq!(core::mem::offset_of!(FileHeader, method) as u64, METHOD);
        assert_eq!(core::mem::offset_of!(FileHeader, major) as u64, VERSION);
    }
}
