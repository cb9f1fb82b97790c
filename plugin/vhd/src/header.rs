//! The dynamic disk header (specification, "Dynamic Disk Header Format"), checked
//! once, and the sizes that follow from it.

use alloc::format;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bat::ENTRY_SIZE;
use crate::footer::checksum;
use crate::geometry::SECTOR;

const COOKIE: [u8; 8] = *b"cxsparse";
const VERSION: u32 = 0x0001_0000;

/// Bytes of the header.
pub const LENGTH: u64 = size_of::<DynamicHeader>() as u64;
/// The largest block taken.
pub const BLOCK_LIMIT: u32 = 256 << 20;
/// Parent locators in a header.
pub const LOCATORS: usize = 8;

/// Where one name of the parent lies (specification, "Parent Locator").
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Locator {
    /// What kind of name it is.
    pub platform: [u8; 4],
    /// Room for the name; writers disagree on the unit.
    pub data_space: U32,
    /// Bytes of the name.
    pub data_length: U32,
    reserved: U32,
    /// Where in the file it lies.
    pub data_offset: U64,
}

impl Locator {
    /// No name.
    pub const NONE: Self = Self::new([0; 4], 0, 0, 0);

    /// A name of `length` bytes in `space` bytes at `offset`.
    pub const fn new(platform: [u8; 4], space: u32, length: u32, offset: u64) -> Self {
        Self {
            platform,
            data_space: U32::new(space),
            data_length: U32::new(length),
            reserved: U32::new(0),
            data_offset: U64::new(offset),
        }
    }
}

/// The header as it lies on disk.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DynamicHeader {
    cookie: [u8; 8],
    data_offset: U64,
    /// Where the block allocation table is.
    pub table_offset: U64,
    version: U32,
    /// Entries of the table.
    pub table_entries: U32,
    /// Bytes a block.
    pub block_size: U32,
    checksum: U32,
    /// The parent's unique id.
    pub parent_id: [u8; 16],
    /// The parent's time of modification.
    pub parent_timestamp: U32,
    reserved: U32,
    /// The parent's name, UTF-16, big-endian.
    pub parent_name: [u8; 512],
    /// Where the parent may be found.
    pub locators: [Locator; LOCATORS],
    reserved_end: [u8; 256],
}

impl DynamicHeader {
    /// The header of an image without a parent.
    pub fn new(table_offset: u64, table_entries: u32, block_size: u32) -> Self {
        let mut header = Self {
            cookie: COOKIE,
            data_offset: U64::new(u64::MAX),
            table_offset: U64::new(table_offset),
            version: U32::new(VERSION),
            table_entries: U32::new(table_entries),
            block_size: U32::new(block_size),
            checksum: U32::new(0),
            parent_id: [0; 16],
            parent_timestamp: U32::new(0),
            reserved: U32::new(0),
            parent_name: [0; 512],
            locators: [Locator::NONE; LOCATORS],
            reserved_end: [0; 256],
        };
        header.seal();
        header
    }

    /// Sets the checksum, after a change.
    pub fn seal(&mut self) {
        self.checksum = U32::new(0);
        self.checksum = U32::new(checksum(self.as_bytes()));
    }

    /// Reads the header at `offset`, for a disk of `disk_size` bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] by the field that contradicts the format or the file.
    pub fn read(main: &dyn Source, offset: u64, disk_size: u64) -> Result<Self> {
        let header: Self = read_struct(main, offset, "dynamic header")?;
        if header.cookie != COOKIE {
            let what = format!("expected \"cxsparse\", found {:02x?}", header.cookie);
            return Err(Error::corrupt(offset, what));
        }
        let mut sealed = header;
        sealed.seal();
        if sealed.checksum != header.checksum {
            let (expected, found) = (sealed.checksum.get(), header.checksum.get());
            let what = format!("expected the checksum {expected:#010x}, found {found:#010x}");
            return Err(Error::corrupt(offset + 36, what));
        }
        if header.version.get() >> 16 != VERSION >> 16 {
            let version = header.version.get();
            return Err(Error::Unsupported(format!("version {version:#x} of a dynamic header")));
        }
        header.check_blocks(offset, disk_size, main.size())?;
        Ok(header)
    }

    fn check_blocks(&self, offset: u64, disk_size: u64, file_size: u64) -> Result<()> {
        let block_size = self.block_size.get();
        if !block_size.is_power_of_two() || !(SECTOR as u32..=BLOCK_LIMIT).contains(&block_size) {
            let what = format!(
                "expected a block size of a power of two from {SECTOR} to {BLOCK_LIMIT} bytes, \
                 found {block_size}"
            );
            return Err(Error::corrupt(offset + 32, what));
        }
        let entries = u64::from(self.table_entries.get());
        let needed = disk_size.div_ceil(u64::from(block_size));
        if entries < needed {
            let what = format!("expected {needed} or more table entries, found {entries}");
            return Err(Error::corrupt(offset + 28, what));
        }
        let (table, length) = (self.table_offset.get(), entries * ENTRY_SIZE);
        if table.checked_add(length).is_none_or(|end| end > file_size) || table < SECTOR {
            let what = format!(
                "expected the table inside the file's {file_size} bytes, \
                 found {length} bytes at {table}"
            );
            return Err(Error::corrupt(offset + 16, what));
        }
        Ok(())
    }
}

/// The sizes of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockShape {
    /// Bytes of the disk a block.
    pub size: u64,
    /// Bytes of the sector bitmap before them.
    pub bitmap: u64,
}

impl BlockShape {
    /// The sizes that follow from a block size.
    pub fn new(block_size: u32) -> Self {
        let size = u64::from(block_size);
        Self { size, bitmap: size.div_ceil(SECTOR * 8).next_multiple_of(SECTOR) }
    }

    /// Bytes of a block in the file.
    pub fn stored(self) -> u64 {
        self.bitmap + self.size
    }

    /// Sectors a block.
    pub fn sectors(self) -> u64 {
        self.size / SECTOR
    }
}
