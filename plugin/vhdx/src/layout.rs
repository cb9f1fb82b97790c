//! Places and sizes that the format fixes ([MS-VHDX] 2.1), and ranges of the file.
//! Nothing here reads the image.

use alloc::format;

use fumehood_plugin::{Error, Result};

/// 64 KiB: the distance of the structures in the first MiB.
pub const KIB_64: u64 = 64 << 10;
/// 1 MiB: regions and blocks are aligned to it.
pub const MIB: u64 = 1 << 20;
/// A page of the log, and the unit in which metadata is changed.
pub const PAGE: u64 = 4096;
/// The file's first eight bytes.
pub const SIGNATURE: [u8; 8] = *b"vhdxfile";
/// Where the two headers stand.
pub const HEADERS: [u64; 2] = [KIB_64, 2 * KIB_64];
/// Where the two region tables stand.
pub const REGION_TABLES: [u64; 2] = [3 * KIB_64, 4 * KIB_64];
/// The largest disk: 64 TiB ([MS-VHDX] 2.6.2.2).
pub const DISK_LIMIT: u64 = 64 << 40;
/// No file need be larger than this: the largest disk, its tables, and as much waste.
pub const FILE_LIMIT: u64 = 2 * DISK_LIMIT;

/// A run of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Byte offset in the file.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

impl Region {
    /// The offset just past it.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// Whether the two share a byte.
    pub fn overlaps(self, other: Region) -> bool {
        self.offset < other.end() && other.offset < self.end()
    }

    /// Checks that it is whole MiB behind the first one and ends inside the file;
    /// `field` is where it is described and `name` what it is called.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at `field`.
    pub fn check(self, name: &str, field: u64, file_size: u64) -> Result<()> {
        let Region { offset, length } = self;
        let aligned = offset.is_multiple_of(MIB) && length.is_multiple_of(MIB);
        if !aligned || offset < MIB || length == 0 {
            let what = format!(
                "expected the {name} in whole MiB from 1 MiB on, found {length} bytes at {offset}"
            );
            return Err(Error::corrupt(field, what));
        }
        if offset.checked_add(length).is_none_or(|end| end > file_size) {
            let what = format!(
                "expected the {name} inside the file's {file_size} bytes, \
                 found {length} bytes at {offset}"
            );
            return Err(Error::corrupt(field, what));
        }
        Ok(())
    }
}
