//! L2 entries (specification, "L2 table entries" and "Extended L2 Entries"): an
//! entry's bits in, a [`Mapping`] out that can hold no bad state, and back. Walking
//! tables is for [`crate::map`] and [`crate::check`], changing them for
//! [`crate::commit`] and [`crate::zero`].

use alloc::format;

use fumehood_plugin::{Error, Result};
use zerocopy::big_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::geometry::Geometry;
use crate::header::{Header, Version};

const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1 << 0;
/// Bits 1–8 and 56–61 of a standard entry.
const RESERVED: u64 = 0x3f00_0000_0000_01fe;
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Compressed clusters are addressed in units of this many bytes.
const SECTOR: u64 = 512;

/// An entry as it is on disk, without subclusters.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct StandardEntry {
    descriptor: U64,
}

/// An entry as it is on disk, with subclusters.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ExtendedEntry {
    descriptor: U64,
    /// Bits 0–31: allocated; bits 32–63: reads as zeroes.
    subclusters: U64,
}

/// An entry's words; without subclusters the second one is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    descriptor: u64,
    subclusters: u64,
}

impl Entry {
    /// Nothing here.
    pub const ABSENT: Self = Self { descriptor: 0, subclusters: 0 };

    /// Whether its host cluster is its own, to be written in place.
    pub fn copied(self) -> bool {
        self.descriptor & (COPIED | COMPRESSED) == COPIED
    }

    /// The same, owning its host cluster or not.
    pub fn with_copied(self, copied: bool) -> Self {
        let descriptor = self.descriptor & !COPIED | if copied { COPIED } else { 0 };
        Self { descriptor, ..self }
    }
}

/// Every subcluster, or the whole of a cluster that has none.
pub const ALL: u32 = u32::MAX;

/// Which of a cluster's 32 subclusters are where; one that is neither is absent.
/// In an image without subclusters all 32 are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subclusters {
    /// Offset of the cluster in the data source; without one nothing is allocated.
    pub host: Option<u64>,
    /// Allocated, one bit each from the lowest on.
    pub allocated: u32,
    /// Reads as zeroes; never overlaps `allocated`.
    pub zero: u32,
}

/// What a guest cluster is mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Not in this image.
    Absent,
    /// Reads as zeroes; a host cluster may be kept for it.
    Zero(Option<u64>),
    /// A host cluster at this offset of the data source.
    Data(u64),
    /// Encoded, at any byte of the main source.
    Compressed {
        /// Offset of the first byte.
        offset: u64,
        /// Bytes to the end of the last 512-byte sector it touches.
        length: u32,
    },
    /// Each subcluster on its own.
    Subclusters(Subclusters),
}

impl Mapping {
    /// The mapping by subclusters; `None` for a compressed cluster.
    pub fn subclusters(self) -> Option<Subclusters> {
        let (host, allocated, zero) = match self {
            Self::Absent => (None, 0, 0),
            Self::Zero(host) => (host, 0, ALL),
            Self::Data(host) => (Some(host), ALL, 0),
            Self::Subclusters(subclusters) => return Some(subclusters),
            Self::Compressed { .. } => return None,
        };
        Some(Subclusters { host, allocated, zero })
    }
}

/// What an image's header implies for its entries.
#[derive(Debug, Clone, Copy)]
pub struct EntryRules {
    geometry: Geometry,
    version: Version,
    data_file: bool,
}

impl EntryRules {
    /// The rules of the image with this header.
    pub fn new(header: &Header) -> Self {
        Self {
            geometry: header.geometry,
            version: header.version,
            data_file: header.features.data_file(),
        }
    }

    /// The words of the entry in `bytes`, which are one entry long.
    pub fn parse(self, bytes: &[u8]) -> Option<Entry> {
        if self.geometry.extended() {
            let raw = ExtendedEntry::ref_from_bytes(bytes).ok()?;
            let (descriptor, subclusters) = (raw.descriptor.get(), raw.subclusters.get());
            Some(Entry { descriptor, subclusters })
        } else {
            let raw = StandardEntry::ref_from_bytes(bytes).ok()?;
            Some(Entry { descriptor: raw.descriptor.get(), subclusters: 0 })
        }
    }

    /// Puts `entry` into `bytes`, which are one entry long.
    pub fn write(self, entry: Entry, bytes: &mut [u8]) {
        let Entry { descriptor, subclusters } = entry;
        let descriptor = U64::new(descriptor);
        // A slice of another length is left alone: callers cut entries by their size.
        if self.geometry.extended() {
            let raw = ExtendedEntry { descriptor, subclusters: U64::new(subclusters) };
            let _ = raw.write_to(bytes);
        } else {
            let _ = StandardEntry { descriptor }.write_to(bytes);
        }
    }

    /// The entry for these subclusters, which owns its host cluster if `copied`.
    /// Without subclusters in the image all 32 must be the same.
    pub fn entry(self, subclusters: Subclusters, copied: bool) -> Entry {
        let Subclusters { host, allocated, zero } = subclusters;
        let mut descriptor = host.map_or(0, |host| if copied { host | COPIED } else { host });
        if self.geometry.extended() {
            let subclusters = u64::from(zero) << 32 | u64::from(allocated);
            return Entry { descriptor, subclusters };
        }
        if zero != 0 {
            descriptor |= ZERO;
        }
        Entry { descriptor, subclusters: 0 }
    }

    /// The entry for `length` bytes at `offset` that hold a compressed cluster;
    /// `None` where it cannot express them.
    pub fn compressed_entry(self, offset: u64, length: u32) -> Option<Entry> {
        let sector_bits = self.geometry.cluster_bits() - 8;
        let last = offset.checked_add(u64::from(length))?.checked_sub(1)?;
        let additional = last / SECTOR - offset / SECTOR;
        if offset >> (62 - sector_bits) != 0 || additional >> sector_bits != 0 {
            return None;
        }
        let descriptor = COMPRESSED | additional << (62 - sector_bits) | offset;
        Some(Entry { descriptor, subclusters: 0 })
    }

    /// Whether entries can say that a cluster reads as zeroes.
    pub fn has_zero_flag(self) -> bool {
        self.version == Version::Three
    }

    /// What `entry`, which stands at `at` of the main source, says.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for reserved bits, an unaligned host offset, and
    /// combinations the specification excludes.
    pub fn decode(self, entry: Entry, at: u64) -> Result<Mapping> {
        let fault = match self.mapping(entry) {
            Ok(mapping) => return Ok(mapping),
            Err(fault) => fault,
        };
        let Entry { descriptor, subclusters } = entry;
        let what = format!(
            "expected {fault}, found the L2 entry {descriptor:#018x} (subclusters {subclusters:#018x})"
        );
        Err(Error::corrupt(at, what))
    }

    fn mapping(self, entry: Entry) -> core::result::Result<Mapping, &'static str> {
        let Entry { descriptor, subclusters } = entry;
        if descriptor & COMPRESSED != 0 {
            return self.compressed(entry);
        }
        if descriptor & RESERVED != 0 {
            return Err("reserved bits to be clear");
        }
        let offset = descriptor & OFFSET;
        if !self.geometry.is_aligned(offset) {
            return Err("a host offset on a cluster boundary");
        }
        let host = self.host(descriptor)?;
        if self.geometry.extended() {
            if descriptor & ZERO != 0 {
                return Err("no zero flag beside subclusters");
            }
            return Self::subclusters(host, subclusters);
        }
        match (descriptor & ZERO != 0, host) {
            (true, _) if self.version == Version::Two => Err("no zero flag in version 2"),
            (true, host) => Ok(Mapping::Zero(host)),
            (false, Some(host)) => Ok(Mapping::Data(host)),
            (false, None) => Ok(Mapping::Absent),
        }
    }

    /// Offset 0 is the header's, so it means that there is no host cluster. In an
    /// external data file it is as good as any other, and then bit 63 marks it.
    fn host(self, descriptor: u64) -> core::result::Result<Option<u64>, &'static str> {
        match (descriptor & OFFSET, descriptor & COPIED != 0) {
            (0, false) => Ok(None),
            (0, true) if self.data_file => Ok(Some(0)),
            (0, true) if descriptor & ZERO != 0 => Ok(None),
            (0, true) => Err("a host offset above 0 beside bit 63"),
            (offset, _) => Ok(Some(offset)),
        }
    }

    fn subclusters(host: Option<u64>, bitmap: u64) -> core::result::Result<Mapping, &'static str> {
        let (allocated, zero) = (bitmap as u32, (bitmap >> 32) as u32);
        if allocated & zero != 0 {
            return Err("no subcluster both allocated and zero");
        }
        match host {
            None if allocated != 0 => Err("a host offset for allocated subclusters"),
            Some(host) if allocated == u32::MAX => Ok(Mapping::Data(host)),
            _ if zero == u32::MAX => Ok(Mapping::Zero(host)),
            None if zero == 0 => Ok(Mapping::Absent),
            _ => Ok(Mapping::Subclusters(Subclusters { host, allocated, zero })),
        }
    }

    fn compressed(self, entry: Entry) -> core::result::Result<Mapping, &'static str> {
        if self.data_file {
            return Err("no compressed cluster beside an external data file");
        }
        if entry.subclusters != 0 {
            return Err("no subclusters of a compressed cluster");
        }
        let sector_bits = self.geometry.cluster_bits() - 8;
        let offset_bits = 62 - sector_bits;
        let offset = entry.descriptor & ((1 << offset_bits) - 1);
        let additional = entry.descriptor >> offset_bits & ((1 << sector_bits) - 1);
        // At most 2^13 sectors, so the length fits 32 bits.
        let length = ((additional + 1) * SECTOR - offset % SECTOR) as u32;
        Ok(Mapping::Compressed { offset, length })
    }
}

/// Bytes that a compressed range occupies in a file of `file_size` bytes, whose
/// last sector may be short.
///
/// # Errors
/// [`Error::Corrupt`] at `at`, where the entry stands, for a range that begins past
/// the end or overshoots it by a whole sector.
pub fn clamp_compressed(offset: u64, length: u32, file_size: u64, at: u64) -> Result<u32> {
    let available = file_size.saturating_sub(offset);
    let inside = u64::from(length).min(available);
    if available == 0 || u64::from(length) - inside >= SECTOR {
        let what = format!(
            "expected a compressed cluster inside the file's {file_size} bytes, \
             found {length} bytes at {offset}"
        );
        return Err(Error::corrupt(at, what));
    }
    Ok(inside as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(cluster_bits: u32, extended: bool, version: Version, data_file: bool) -> EntryRules {
        EntryRules {
            geometry: Geometry::new(cluster_bits, extended, 0).unwrap(),
            version,
            data_file,
        }
    }

    fn decode(rules: EntryRules, descriptor: u64, subclusters: u64) -> Option<Mapping> {
        rules.decode(Entry { descriptor, subclusters }, 0).ok()
    }

    #[test]
    fn standard_entries() {
        let rules3 = rules(16, false, Version::Three, false);
        assert_eq!(decode(rules3, 0, 0), Some(Mapping::Absent));
        assert_eq!(decode(rules3, COPIED | 0x5_0000, 0), Some(Mapping::Data(0x5_0000)));
        assert_eq!(decode(rules3, 1, 0), Some(Mapping::Zero(None)));
        assert_eq!(decode(rules3, 0x5_0001, 0), Some(Mapping::Zero(Some(0x5_0000))));
        let mut bytes = [0; 8];
        let data = Subclusters { host: Some(0x5_0000), allocated: ALL, zero: 0 };
        rules3.write(rules3.entry(data, true), &mut bytes);
        assert_eq!(u64::from_be_bytes(bytes), COPIED | 0x5_0000);
        for bad in [2, 1 << 8, 1 << 56, 1 << 61, 0x200, COPIED] {
            assert_eq!(decode(rules3, bad, 0), None, "{bad:#x}");
        }
        assert_eq!(decode(rules(16, false, Version::Two, false), 1, 0), None);
        let external = rules(16, false, Version::Three, true);
        assert_eq!(decode(external, COPIED, 0), Some(Mapping::Data(0)));
        assert_eq!(decode(external, COMPRESSED | 0x5_0000, 0), None);
    }

    #[test]
    fn compressed_entries_count_whole_sectors() {
        // Clusters of 64 KiB: 8 bits of sectors above 54 bits of offset.
        let entry = COMPRESSED | 3 << 54 | 0x1_2345;
        let length = 4 * 512 - 0x145;
        let expected = Mapping::Compressed { offset: 0x1_2345, length };
        let rules2 = rules(16, false, Version::Two, false);
        assert_eq!(decode(rules2, entry, 0), Some(expected));
        let written = rules2.compressed_entry(0x1_2345, 3 * 512).unwrap();
        assert_eq!(written.descriptor, entry);
        assert_eq!(rules2.compressed_entry(0, 1 << 18), None);
        assert_eq!(clamp_compressed(1000, 536, 1025, 0), Ok(25));
        assert_eq!(clamp_compressed(1000, 536, 4096, 0), Ok(536));
        assert!(clamp_compressed(1000, 536 + 512, 1025, 7).is_err());
        assert!(clamp_compressed(1000, 24, 1000, 7).is_err());
    }

    #[test]
    fn subclusters_are_one_thing_each() {
        let rules = rules(16, true, Version::Three, false);
        let all = u64::from(u32::MAX);
        assert_eq!(decode(rules, 0x5_0000, all), Some(Mapping::Data(0x5_0000)));
        assert_eq!(decode(rules, 0, all << 32), Some(Mapping::Zero(None)));
        assert_eq!(decode(rules, 0, 0), Some(Mapping::Absent));
        let mixed = Subclusters { host: Some(0x5_0000), allocated: 1, zero: 2 };
        assert_eq!(decode(rules, 0x5_0000, 1 | 2 << 32), Some(Mapping::Subclusters(mixed)));
        assert_eq!(decode(rules, 0x5_0000, 1 | 1 << 32), None);
        assert_eq!(decode(rules, 0, 1), None);
        assert_eq!(decode(rules, 0x5_0001, 1), None);
        assert_eq!(decode(rules, COMPRESSED | 0x5_0000, 1), None);
    }
}
