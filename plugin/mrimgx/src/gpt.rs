//! Partition tables: reading the one at a disk's beginning, and making the one at its
//! end from it.
//!
//! Source: UEFI Specification 2.10, section 5.3.

use alloc::vec::Vec;

use crc::{CRC_32_ISO_HDLC, Crc};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::track::Piece;

const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    signature: [u8; 8],
    revision: U32,
    header_size: U32,
    header_crc: U32,
    reserved: U32,
    own: U64,
    other: U64,
    first_usable: U64,
    last_usable: U64,
    disk: [u8; 16],
    entries: U64,
    count: U32,
    entry_size: U32,
    entries_crc: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    kind: [u8; 16],
    unique: [u8; 16],
    first: U64,
    last: U64,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MasterBootRecord {
    code: [u8; 446],
    entries: [MasterEntry; 4],
    signature: [u8; 2],
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MasterEntry {
    status: u8,
    first_chs: [u8; 3],
    kind: u8,
    last_chs: [u8; 3],
    first: U32,
    sectors: U32,
}

/// The kind of partitions that Windows keeps for itself, and leaves empty.
const RESERVED: [u8; 16] = [
    0x16, 0xe3, 0xc9, 0xe3, 0x5c, 0x0b, 0xb8, 0x4d, 0x81, 0x7d, 0xf9, 0x2d, 0xf0, 0x02, 0x15, 0xae,
];

/// What the table at the beginning tells.
pub struct Table {
    /// Where partitions begin that hold something, in bytes.
    pub starts: Vec<u64>,
    /// The table at the end: its header and its entries.
    pub backup: Vec<Piece>,
}

/// The length of the header that the specification gives it.
const HEADER: usize = size_of::<Header>();

/// Reads the table in the first sectors of a disk.
///
/// # Errors
/// Why the table at the end cannot be made from it.
pub fn read(first: &[u8], sector: u64, disk_size: u64) -> Result<Table, &'static str> {
    let bytes = |lba: u64, length: usize| {
        let start = usize::try_from(lba.checked_mul(sector)?).ok()?;
        first.get(start..start.checked_add(length)?)
    };
    let (header, _) = bytes(1, HEADER)
        .and_then(|bytes| Header::read_from_prefix(bytes).ok())
        .ok_or("the first sectors have no partition table")?;
    if header.signature != *b"EFI PART" || header.own.get() != 1 {
        return Err("the first sectors have no partition table");
    }
    let size = header.header_size.get() as usize;
    let whole = bytes(1, size).filter(|_| size >= HEADER && size as u64 <= sector);
    let whole = whole.ok_or("the partition table's header has an odd length")?;
    if seal(whole) != header.header_crc.get() {
        return Err("the checksum of the partition table is wrong");
    }
    let entry_size = header.entry_size.get() as usize;
    let length = entry_size.checked_mul(header.count.get() as usize);
    let entries = length
        .filter(|_| entry_size >= size_of::<Entry>())
        .and_then(|length| bytes(header.entries.get(), length))
        .ok_or("the entries of the partition table are not in the first sectors")?;
    if CRC32.checksum(entries) != header.entries_crc.get() {
        return Err("the checksum of the partition table's entries is wrong");
    }
    let backup = backup(&header, whole, entries, (sector, disk_size))?;
    Ok(Table { starts: starts(entries, entry_size, sector), backup })
}

/// The checksum of a header, for which that of the header counts as zero.
fn seal(header: &[u8]) -> u32 {
    let mut digest = CRC32.digest();
    digest.update(header.get(..16).unwrap_or_default());
    digest.update(&[0; 4]);
    digest.update(header.get(20..).unwrap_or_default());
    digest.finalize()
}

fn backup(
    header: &Header,
    whole: &[u8],
    entries: &[u8],
    (sector, disk_size): (u64, u64),
) -> Result<Vec<Piece>, &'static str> {
    let own = header.other.get();
    let room = (entries.len() as u64).div_ceil(sector);
    let start = own.checked_sub(room).filter(|start| *start > header.last_usable.get());
    let end = own.checked_add(1).and_then(|end| end.checked_mul(sector));
    let (Some(start), Some(_)) = (start, end.filter(|end| *end <= disk_size)) else {
        return Err("it has no room there");
    };
    let mut swapped = header.clone();
    (swapped.own, swapped.other) = (header.other, header.own);
    swapped.entries = U64::new(start);
    swapped.header_crc = U32::new(0);
    let behind = whole.get(HEADER..).unwrap_or_default();
    let mut bytes = [swapped.as_bytes(), behind].concat();
    swapped.header_crc = U32::new(seal(&bytes));
    bytes = [swapped.as_bytes(), behind].concat();
    let entries = Piece { offset: start * sector, bytes: entries.to_vec() };
    Ok(alloc::vec![Piece { offset: own * sector, bytes }, entries])
}

fn starts(entries: &[u8], entry_size: usize, sector: u64) -> Vec<u64> {
    let start = |entry: &[u8]| {
        let (entry, _) = Entry::read_from_prefix(entry).ok()?;
        (entry.kind != [0; 16] && entry.kind != RESERVED)
            .then(|| entry.first.get().checked_mul(sector))
            .flatten()
    };
    entries.chunks_exact(entry_size.max(1)).filter_map(start).collect()
}

/// Where the primary partitions of a master boot record begin, in bytes; those that
/// hold logical drives left out.
pub fn master_boot_record(first: &[u8], sector: u64) -> Vec<u64> {
    let Ok((record, _)) = MasterBootRecord::read_from_prefix(first) else { return Vec::new() };
    if record.signature != [0x55, 0xaa] {
        return Vec::new();
    }
    let is_one = |entry: &&MasterEntry| !matches!(entry.kind, 0 | 0x05 | 0x0f | 0x85);
    let start = |entry: &MasterEntry| u64::from(entry.first.get()).saturating_mul(sector);
    record.entries.iter().filter(is_one).map(start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((HEADER, size_of::<Entry>()), (92, 48));
        assert_eq!(size_of::<MasterBootRecord>(), 512);
    }
}
