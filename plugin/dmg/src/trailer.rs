//! The trailer, "koly": where the forks and the property list lie, and what the image as
//! a whole is.
//!
//! Source: libmodi, "Universal Disk Image Format", File footer.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Begins the trailer; version 4 and its size of 512 bytes follow.
const SIGNATURE: &[u8] = b"koly\0\0\0\x04\0\0\x02\0";
/// Its size in bytes.
const SIZE: u64 = 512;
/// Some writers leave bytes behind it: it begins within so many from the end.
const SEARCHED: u64 = 1024;

/// A checksum with its kind, as it lies on disk.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawChecksum {
    kind: U32,
    bits: U32,
    value: [u8; 128],
}

/// A checksum that the format stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// None was made.
    Absent,
    /// CRC-32.
    Crc32(u32),
    /// A kind that is not compared, by its number.
    Other(u32),
}

impl RawChecksum {
    /// What it says.
    pub fn get(&self) -> Checksum {
        let [a, b, c, d, ..] = self.value;
        match (self.kind.get(), self.bits.get()) {
            (0, _) => Checksum::Absent,
            (2, 32) => Checksum::Crc32(u32::from_be_bytes([a, b, c, d])),
            (kind, _) => Checksum::Other(kind),
        }
    }
}

impl Checksum {
    /// For people; nothing where there is none.
    pub fn shown(&self) -> Option<String> {
        match self {
            Checksum::Absent => None,
            Checksum::Crc32(value) => Some(format!("CRC-32 {value:08x}")),
            Checksum::Other(kind) => Some(format!("of kind {kind}, not compared")),
        }
    }
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawTrailer {
    signature: [u8; 4],
    version: U32,
    size: U32,
    flags: U32,
    running_data_offset: U64,
    data_offset: U64,
    data_length: U64,
    fork_offset: U64,
    fork_length: U64,
    segment: U32,
    segments: U32,
    segment_id: [u8; 16],
    data_checksum: RawChecksum,
    plist_offset: U64,
    plist_length: U64,
    reserved: [u8; 120],
    master_checksum: RawChecksum,
    variant: U32,
    sectors: U64,
    reserved_end: [u8; 12],
}

/// A range of the file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// What the trailer says.
#[derive(Debug, Clone)]
pub struct Trailer {
    /// Where the trailer itself begins.
    pub offset: u64,
    /// The stored runs.
    pub data: Place,
    /// The classic resource fork; of length 0 where there is none.
    pub fork: Place,
    /// The property list; of length 0 where there is none.
    pub plist: Place,
    /// Over the data fork.
    pub data_checksum: Checksum,
    /// Over the tables' checksums.
    pub master_checksum: Checksum,
    /// 1 for a whole device, 2 for a partition.
    pub variant: u32,
    /// Sectors of the disk.
    pub sectors: u64,
}

/// Whether a trailer begins where one can, in the first or the last bytes of a file.
pub fn is_in(head: &[u8], tail: &[u8]) -> bool {
    find(tail).is_some() || head.starts_with(SIGNATURE)
}

/// Where in the last bytes of a file the trailer begins, from their end.
fn find(tail: &[u8]) -> Option<u64> {
    let searched = tail.get(tail.len().saturating_sub(SEARCHED as usize)..)?;
    let at_end = searched.len().checked_sub(SIZE as usize)?;
    // Where it belongs first: the bytes before it are anyone's.
    if searched.get(at_end..)?.starts_with(SIGNATURE) {
        return Some(SIZE);
    }
    let before = searched.get(..at_end + SIGNATURE.len())?;
    let at = before.windows(SIGNATURE.len()).rposition(|part| part == SIGNATURE)?;
    Some((searched.len() - at) as u64)
}

impl Trailer {
    /// Finds and reads the trailer of `source`.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] where there is none, [`Error::Unsupported`] for a
    /// segment of an image, [`Error::Corrupt`] for places outside of the file.
    pub fn read(source: &dyn Source) -> Result<Self> {
        let size = source.size();
        let searched = size.min(SEARCHED);
        let tail = source.read(size - searched, searched as usize)?;
        let offset = match find(&tail) {
            Some(back) => size - back,
            None => 0,
        };
        if size < SIZE {
            return Err(Error::Unrecognised);
        }
        let raw: RawTrailer = read_struct(source, offset, "trailer")?;
        if &raw.signature != b"koly" || raw.version.get() != 4 || u64::from(raw.size.get()) != SIZE
        {
            return Err(Error::Unrecognised);
        }
        let (segment, segments) = (raw.segment.get(), raw.segments.get());
        if segments > 1 {
            let what = format!("an image in segments: this is number {segment} of {segments}");
            return Err(Error::Unsupported(what));
        }
        let place = |at: u64, offset: U64, length: U64, what: &str| {
            let place = Place { offset: offset.get(), length: length.get() };
            if place.offset.checked_add(place.length).is_none_or(|end| end > size) {
                let Place { offset, length } = place;
                let what = format!("{what} of {length} bytes at {offset} in a file of {size}");
                return Err(Error::corrupt(at, what));
            }
            Ok(place)
        };
        Ok(Self {
            offset,
            data: place(offset + 24, raw.data_offset, raw.data_length, "a data fork")?,
            fork: place(offset + 40, raw.fork_offset, raw.fork_length, "a resource fork")?,
            plist: place(offset + 216, raw.plist_offset, raw.plist_length, "a property list")?,
            data_checksum: raw.data_checksum.get(),
            master_checksum: raw.master_checksum.get(),
            variant: raw.variant.get(),
            sectors: raw.sectors.get(),
        })
    }
}
