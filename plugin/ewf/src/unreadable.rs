//! Sectors that could not be read at acquisition, from `error2` sections and the error
//! tables of version 2. They read as whatever their chunk holds.
//!
//! Source: libewf, "Expert Witness Compression Format", Error2 section; the same,
//! "Version 2", Error table.

use alloc::format;

use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::sealed::{SEAL, read_sealed, verify_long};
use crate::segment::Version;

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

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header2 {
    count: U32,
    unknown: [u8; 12],
    checksum: U32,
}

/// Behind the header of version 2.
const PADDING: u64 = 12;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry2 {
    first: U64,
    count: U32,
    padding: U32,
}

/// A list of ranges in the image.
#[derive(Debug, Clone, Copy)]
pub struct Unreadable {
    /// How many ranges it has.
    pub count: u32,
    entries: u64,
    version: Version,
}

/// Consecutive sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorRange {
    /// Number of the first.
    pub first: u64,
    /// How many.
    pub count: u32,
}

impl Unreadable {
    /// Reads the head of the list of an `error2` section, whose payload is `length`
    /// bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a wrong checksum or more ranges than the section
    /// has room for, or what the source answers.
    pub fn read(source: &dyn Source, offset: u64, length: u64) -> Result<Self> {
        let header: Header = read_sealed(source, offset, "error2 header")?;
        let entries = offset.saturating_add(size_of::<Header>() as u64);
        let list = Self { count: header.count.get(), entries, version: Version::One };
        list.require_room(source, offset, length)
    }

    /// Reads the head of an error table of version 2, whose data is `length` bytes at
    /// `offset`.
    ///
    /// # Errors
    /// As [`Unreadable::read`].
    pub fn read_second(source: &dyn Source, offset: u64, length: u64) -> Result<Self> {
        let header: Header2 = read_sealed(source, offset, "error table header")?;
        let entries = offset.saturating_add(size_of::<Header2>() as u64 + PADDING);
        let list = Self { count: header.count.get(), entries, version: Version::Two };
        list.require_room(source, offset, length)
    }

    fn require_room(self, source: &dyn Source, offset: u64, length: u64) -> Result<Self> {
        let needed = (self.entries - offset).saturating_add(self.length()).saturating_add(SEAL);
        if needed <= length {
            return Ok(self);
        }
        let what = format!("list of unreadable sectors needs {needed} bytes and has {length}");
        Err(Error::corrupt_in(source.id(), offset, what))
    }

    /// Length of an entry in bytes.
    fn entry(&self) -> usize {
        match self.version {
            Version::One => size_of::<Entry>(),
            Version::Two => size_of::<Entry2>(),
        }
    }

    /// Length of all entries in bytes.
    fn length(&self) -> u64 {
        u64::from(self.count) * self.entry() as u64
    }

    /// Hands every range to `look`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a wrong checksum, after the ranges were seen; or
    /// what the source answers.
    pub fn for_each(&self, source: &dyn Source, mut look: impl FnMut(SectorRange)) -> Result<()> {
        verify_long(source, self.entries, self.length(), "list of unreadable sectors", |bytes| {
            bytes
                .chunks_exact(self.entry())
                .filter_map(|entry| self.range(entry))
                .for_each(&mut look);
        })
    }

    fn range(&self, entry: &[u8]) -> Option<SectorRange> {
        match self.version {
            Version::One => {
                let (entry, _) = Entry::read_from_prefix(entry).ok()?;
                Some(SectorRange { first: entry.first.get().into(), count: entry.count.get() })
            }
            Version::Two => {
                let (entry, _) = Entry2::read_from_prefix(entry).ok()?;
                Some(SectorRange { first: entry.first.get(), count: entry.count.get() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((size_of::<Header>(), size_of::<Entry>()), (520, 8));
        assert_eq!((size_of::<Header2>(), size_of::<Entry2>()), (20, 16));
        let list = Unreadable { count: 1, entries: 0, version: Version::One };
        let range = list.range(&[5, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(range, Some(SectorRange { first: 5, count: 2 }));
        let list = Unreadable { version: Version::Two, ..list };
        let range = list.range(&[5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(range, Some(SectorRange { first: (1 << 32) + 5, count: 2 }));
    }
}
