//! The L1 table (specification, "L1 table entry"): which L2 table maps which part
//! of the disk. Entries are looked up where they are needed, and changed one by one;
//! the table is never kept as a whole.

use alloc::format;

use fumehood_plugin::{Error, Result};
use zerocopy::big_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use crate::geometry::Geometry;
use crate::tables::Tables;

/// Bytes an entry.
pub const ENTRY_SIZE: u64 = 8;
/// The longest table, in bytes.
pub const SIZE_LIMIT: u64 = 32 << 20;

/// Bits 0–8 and 56–62 are reserved; bit 63 says that the refcount is exactly one.
const RESERVED: u64 = 0x7f00_0000_0000_01ff;
const COPIED: u64 = 1 << 63;
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

/// Where an L2 table lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L2Table {
    /// Offset in the file.
    pub offset: u64,
    /// Whether this L1 table alone refers to it, so that it is changed in place.
    pub copied: bool,
}

/// An L1 table that lies in the file and maps at least its disk's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L1Table {
    offset: u64,
    entries: u64,
}

impl L1Table {
    /// Checks the table that the field at `field` describes as (offset, entries)
    /// for a disk of `disk_size` bytes in a file of `file_size` bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a table above 32 MiB, too small for the disk,
    /// unaligned, or outside the file.
    pub fn new(
        geometry: Geometry,
        field: u64,
        (offset, entries): (u64, u32),
        disk_size: u64,
        file_size: u64,
    ) -> Result<Self> {
        let entries = u64::from(entries);
        let needed = disk_size.div_ceil(geometry.table_span());
        let most = SIZE_LIMIT / ENTRY_SIZE;
        if entries < needed || entries > most {
            let what = format!("expected {needed} to {most} L1 entries, found {entries}");
            return Err(Error::corrupt(field, what));
        }
        if entries > 0 {
            geometry.check_table("L1 table", field, offset, entries * ENTRY_SIZE, file_size)?;
        }
        Ok(Self { offset, entries })
    }

    /// Offset in the file.
    pub fn offset(self) -> u64 {
        self.offset
    }

    /// Entries in the table; there may be more than the disk needs.
    pub fn entries(self) -> u64 {
        self.entries
    }

    /// Length in bytes.
    pub fn length(self) -> u64 {
        self.entries * ENTRY_SIZE
    }

    /// Offset of entry `index`, which must be one of the table's.
    pub fn entry_offset(self, index: u64) -> u64 {
        self.offset + index * ENTRY_SIZE
    }

    /// The same table with room for `entries` at `offset`, where it was moved.
    pub fn moved(self, offset: u64, entries: u64) -> Self {
        Self { offset, entries }
    }

    /// Makes entry `index` refer to the L2 table at `offset`, which is its own; or to
    /// none.
    ///
    /// # Errors
    /// As [`Tables::write`].
    pub fn set(self, tables: &mut Tables, index: u64, offset: Option<u64>) -> Result<()> {
        match offset {
            Some(offset) => self.set_flag(tables, index, offset, true),
            None => tables.write(self.entry_offset(index), U64::ZERO.as_bytes()),
        }
    }

    /// Makes entry `index` refer to the L2 table at `offset`, which is its own or not.
    ///
    /// # Errors
    /// As [`Tables::write`].
    pub fn set_flag(
        self,
        tables: &mut Tables,
        index: u64,
        offset: u64,
        copied: bool,
    ) -> Result<()> {
        let entry = if copied { offset | COPIED } else { offset };
        tables.write(self.entry_offset(index), U64::new(entry).as_bytes())
    }

    /// The L2 table at `index`; `None` where nothing is allocated.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the table, [`Error::Corrupt`] for an entry with
    /// reserved bits, an unaligned one, or one that points past the file.
    pub fn l2_table(
        self,
        tables: &mut Tables,
        geometry: Geometry,
        index: u64,
    ) -> Result<Option<L2Table>> {
        if index >= self.entries {
            return Err(Error::OutOfRange);
        }
        let at = self.entry_offset(index);
        let bytes = tables.entries(at, ENTRY_SIZE, ENTRY_SIZE, "L1 table")?;
        let entry = U64::read_from_bytes(bytes).map_err(|_| Error::OutOfRange)?.get();
        if entry & RESERVED != 0 {
            let what = format!("expected an L1 entry without reserved bits, found {entry:#018x}");
            return Err(Error::corrupt(at, what));
        }
        let offset = entry & OFFSET;
        if offset == 0 {
            return Ok(None);
        }
        if !geometry.is_aligned(offset) || offset >= tables.file_size() {
            let what = format!(
                "expected an L2 table on a cluster boundary before {}, found {offset}",
                tables.file_size()
            );
            return Err(Error::corrupt(at, what));
        }
        Ok(Some(L2Table { offset, copied: entry & COPIED != 0 }))
    }
}
