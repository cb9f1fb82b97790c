//! The header: declared as it is on disk, checked once, and from then on a [`Header`]
//! whose L1 table lies in the file.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::read::{parse_struct, read_bytes, read_struct};
use fumehood_plugin::two_level::{ENTRY_SIZE, Shape};
use fumehood_plugin::{Confidence, Error, Result, Source};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const MAGIC: [u8; 4] = [b'Q', b'F', b'I', 0xfb];
const VERSION: u32 = 1;

/// Clusters of 512 bytes to 64 KiB.
const CLUSTER_BITS: core::ops::RangeInclusive<u8> = 9..=16;
/// Entries of an L2 table: 64 to 8192.
const L2_BITS: core::ops::RangeInclusive<u8> = 6..=13;
/// The longest name of a backing file, in bytes.
const NAME_LIMIT: u32 = 1023;

const NAME_OFFSET_AT: u64 = 8;
const DISK_SIZE_AT: u64 = 24;
const CLUSTER_BITS_AT: u64 = 32;
const L2_BITS_AT: u64 = 33;
const L1_OFFSET_AT: u64 = 40;

/// Bytes of the header.
pub const LENGTH: u64 = size_of::<RawHeader>() as u64;

/// What every version begins with.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Start {
    magic: [u8; 4],
    version: U32,
}

/// The header as it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    start: Start,
    name_offset: U64,
    name_length: U32,
    modified: U32,
    disk_size: U64,
    cluster_bits: u8,
    l2_bits: u8,
    padding: U16,
    encryption_method: U32,
    l1_offset: U64,
}

/// A header that passed every check that needs nothing but itself and the file's size.
#[derive(Debug)]
pub struct Header {
    /// How the disk is divided: clusters of 512 bytes to 64 KiB, and L2 tables of 64 to
    /// 8192 entries, powers of two both.
    pub shape: Shape,
    /// When the backing file was last changed, in seconds since 1970; 0 where that was
    /// not noted.
    pub modified: u32,
    /// The backing file's name.
    pub backing_file: Option<String>,
}

/// Whether a file that begins with `head` is an image of this version.
pub fn probe(head: &[u8]) -> Confidence {
    match parse_struct::<Start>(head, 0, 0, "header") {
        Ok(start) if start.magic == MAGIC && start.version.get() == VERSION => Confidence::Certain,
        _ => Confidence::No,
    }
}

impl Header {
    /// Reads and checks the header of `main`.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] without the magic and for other versions,
    /// [`Error::Unsupported`] for an encrypted image, [`Error::Corrupt`] by the field
    /// that contradicts the format or the file.
    pub fn read(main: &dyn Source) -> Result<Self> {
        if main.size() < LENGTH {
            return Err(Error::Unrecognised);
        }
        let raw: RawHeader = read_struct(main, 0, "header")?;
        if raw.start.magic != MAGIC || raw.start.version.get() != VERSION {
            return Err(Error::Unrecognised);
        }
        match raw.encryption_method.get() {
            0 => {}
            1 => return Err(Error::Unsupported("an image encrypted with AES (method 1)".into())),
            other => {
                let what = format!("an image encrypted with the unknown method {other}");
                return Err(Error::Unsupported(what));
            }
        }
        raw.check_bits()?;
        let header = Self {
            shape: Shape {
                disk_size: raw.disk_size.get(),
                cluster_size: 1 << raw.cluster_bits,
                table_entries: 1 << raw.l2_bits,
                l1_offset: raw.l1_offset.get(),
            },
            modified: raw.modified.get(),
            backing_file: raw.backing_file(main)?,
        };
        header.check_l1(main.size())?;
        Ok(header)
    }

    /// Bytes of the L1 table.
    pub fn l1_length(&self) -> u64 {
        // At most 2^63 / 2^15 entries.
        self.shape.l1_entries() * ENTRY_SIZE
    }

    fn check_l1(&self, file_size: u64) -> Result<()> {
        let size = self.shape.disk_size;
        if size > i64::MAX as u64 {
            let what = format!("expected a disk below 2^63 bytes, found {size}");
            return Err(Error::corrupt(DISK_SIZE_AT, what));
        }
        let (offset, length) = (self.shape.l1_offset, self.l1_length());
        let end = offset.checked_add(length);
        if offset < LENGTH || end.is_none_or(|end| end > file_size) {
            let what = format!(
                "expected the L1 table between the header and the file's end at {file_size}, \
                 found {length} bytes at {offset}"
            );
            return Err(Error::corrupt(L1_OFFSET_AT, what));
        }
        Ok(())
    }
}

impl RawHeader {
    fn check_bits(&self) -> Result<()> {
        if !CLUSTER_BITS.contains(&self.cluster_bits) {
            let what =
                format!("expected clusters of 2^9 to 2^16 bytes, found 2^{}", self.cluster_bits);
            return Err(Error::corrupt(CLUSTER_BITS_AT, what));
        }
        if !L2_BITS.contains(&self.l2_bits) {
            let what =
                format!("expected L2 tables of 2^6 to 2^13 entries, found 2^{}", self.l2_bits);
            return Err(Error::corrupt(L2_BITS_AT, what));
        }
        Ok(())
    }

    fn backing_file(&self, main: &dyn Source) -> Result<Option<String>> {
        let (offset, length) = (self.name_offset.get(), self.name_length.get());
        if offset == 0 || length == 0 {
            return Ok(None);
        }
        if offset < LENGTH || length > NAME_LIMIT {
            let what = format!(
                "expected a backing file's name of up to {NAME_LIMIT} bytes behind the header, \
                 found {length} at {offset}"
            );
            return Err(Error::corrupt(NAME_OFFSET_AT, what));
        }
        let name = read_bytes(main, offset, length.into(), "backing file's name")?;
        Ok(Some(String::from_utf8_lossy(&name).into_owned()))
    }
}
