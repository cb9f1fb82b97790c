//! Sectors that could not be read at acquisition, from `error2` sections. They
//! read as whatever their chunk holds.
//!
//! Source: libewf, "Expert Witness Compression Format", Error2 section.

use alloc::format;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::sealed::{SEAL, read_sealed, verify_long};
use crate::section::Section;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    count: U32,
    unknown: [u8; 512],
    checksum: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    first: U32,
    count: U32,
}

const ENTRY: u64 = size_of::<Entry>() as u64;

/// A list of ranges in the image.
#[derive(Debug, Clone, Copy)]
pub struct Unreadable {
    /// How many ranges it has.
    pub count: u32,
    entries: u64,
}

/// Consecutive sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorRange {
    /// Number of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Unreadable {
    /// Reads the head of the list.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a wrong checksum or more ranges than the section
    /// has room for, or what the source answers.
    pub fn read(source: &dyn Source, section: &Section) -> Result<Self> {
        let offset = section.payload();
        let header: Header = read_sealed(source, offset, "error2 header")?;
        let count = header.count.get();
        let head = size_of::<Header>() as u64;
        let needed = head + u64::from(count) * ENTRY + SEAL;
        let length = section.payload_length();
        if needed > length {
            let what = format!("error2 section needs {needed} bytes and has {length}");
            return Err(Error::corrupt_in(source.id(), offset, what));
        }
        Ok(Self { count, entries: offset.saturating_add(head) })
    }

    /// Hands every range to `look`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a wrong checksum, after the ranges were seen; or
    /// what the source answers.
    pub fn for_each(&self, source: &dyn Source, mut look: impl FnMut(SectorRange)) -> Result<()> {
        let length = u64::from(self.count) * ENTRY;
        verify_long(source, self.entries, length, "error2 entries", |bytes| {
            for entry in bytes.chunks_exact(size_of::<Entry>()) {
                if let Ok(entry) = parse_struct::<Entry>(entry, 0, 0, "error2 entry") {
                    look(SectorRange { first: entry.first.get(), count: entry.count.get() });
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((size_of::<Header>(), size_of::<Entry>()), (520, 8));
        let bytes = vec![5u8, 0, 0, 0, 2, 0, 0, 0];
        let entry: Entry = parse_struct(&bytes, 0, 0, "entry").unwrap();
        assert_eq!((entry.first.get(), entry.count.get()), (5, 2));
    }
}
