//! The snapshot table (specification, "Snapshots"): what internal snapshots there
//! are and where each keeps its L1 table. That table is checked when it is opened.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Error, Result, SnapshotInfo};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::geometry::Geometry;
use crate::header::{Header, SnapshotLocation, Version};
use crate::l1::L1Table;
use crate::tables::Tables;

/// Bytes of an entry without its names and its extra data.
pub const SMALLEST_ENTRY: u64 = size_of::<SnapshotEntry>() as u64;

/// The longest table read. The names are kept in memory, and 65536 snapshots with
/// names of ordinary length fit.
const TABLE_LIMIT: u64 = 8 << 20;
const EXTRA_LIMIT: u32 = 1024;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SnapshotEntry {
    l1_table_offset: U64,
    l1_entries: U32,
    id_length: U16,
    name_length: U16,
    created_seconds: U32,
    created_nanoseconds: U32,
    guest_clock: U64,
    vm_state_size: U32,
    extra_length: U32,
}

/// The parts of the extra data that say something of the disk. An entry's extra
/// data may end after any of its fields.
struct Extra {
    vm_state_size: Option<u64>,
    disk_size: Option<u64>,
}

/// An internal snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What is shown of it.
    pub info: SnapshotInfo,
    /// Where its entry stands in the file.
    pub entry_offset: u64,
    l1_offset: u64,
    l1_entries: u32,
}

impl Snapshot {
    /// Its own L1 table.
    ///
    /// # Errors
    /// As [`L1Table::new`].
    pub fn l1(&self, geometry: Geometry, file_size: u64) -> Result<L1Table> {
        let table = (self.l1_offset, self.l1_entries);
        L1Table::new(geometry, self.entry_offset, table, self.info.disk_size, file_size)
    }
}

/// The snapshot table as it was read.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// Snapshots in the table's order.
    pub list: Vec<Snapshot>,
    /// Length of the table in bytes.
    pub length: u64,
}

impl Snapshots {
    /// Reads the table that `header` names.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where entries leave the file or break a limit,
    /// [`Error::Unsupported`] for a table above 8 MiB.
    pub fn read(tables: &mut Tables, header: &Header) -> Result<Self> {
        let mut snapshots = Self::default();
        let Some(SnapshotLocation { offset, count }) = header.snapshots else {
            return Ok(snapshots);
        };
        for _ in 0..count {
            let at = offset.saturating_add(snapshots.length);
            let (snapshot, length) = read_entry(tables, header, at)?;
            snapshots.length += length;
            if snapshots.length > TABLE_LIMIT {
                let what = format!("a snapshot table of more than {TABLE_LIMIT} bytes");
                return Err(Error::Unsupported(what));
            }
            snapshots.list.push(snapshot);
        }
        Ok(snapshots)
    }

    /// The snapshot with this id, or else the first with this name.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn find(&self, id_or_name: &str) -> Result<&Snapshot> {
        let by_id = self.list.iter().find(|snapshot| snapshot.info.id == id_or_name);
        let found =
            by_id.or_else(|| self.list.iter().find(|snapshot| snapshot.info.name == id_or_name));
        found.ok_or_else(|| Error::Missing(format!("the image's snapshot \"{id_or_name}\"")))
    }
}

/// The entry at `at` and its length with padding.
fn read_entry(tables: &mut Tables, header: &Header, at: u64) -> Result<(Snapshot, u64)> {
    let bytes = tables.bytes(at, SMALLEST_ENTRY, "snapshot table")?;
    let raw: SnapshotEntry = parse_struct(&bytes, 0, at, "snapshot entry")?;
    let extra_length = raw.extra_length.get();
    let smallest = if header.version == Version::Three { 16 } else { 0 };
    if !(smallest..=EXTRA_LIMIT).contains(&extra_length) {
        let what = format!(
            "expected {smallest} to {EXTRA_LIMIT} bytes of a snapshot's extra data, \
             found {extra_length}"
        );
        return Err(Error::corrupt(at, what));
    }
    let id_length = u64::from(raw.id_length.get());
    let name_length = u64::from(raw.name_length.get());
    let rest_length = u64::from(extra_length) + id_length + name_length;
    let rest = tables.bytes(at + SMALLEST_ENTRY, rest_length, "snapshot table")?;
    let (extra, names) = rest.split_at_checked(extra_length as usize).unwrap_or_default();
    let (id, name) = names.split_at_checked(id_length as usize).unwrap_or_default();
    let extra = Extra::parse(extra);
    let info = SnapshotInfo {
        id: String::from_utf8_lossy(id).into_owned(),
        name: String::from_utf8_lossy(name).into_owned(),
        created: Some(u64::from(raw.created_seconds.get())).filter(|seconds| *seconds > 0),
        disk_size: extra.disk_size.unwrap_or(header.disk_size),
        vm_state_size: extra.vm_state_size.unwrap_or(raw.vm_state_size.get().into()),
    };
    let (l1_offset, l1_entries) = (raw.l1_table_offset.get(), raw.l1_entries.get());
    let snapshot = Snapshot { info, entry_offset: at, l1_offset, l1_entries };
    Ok((snapshot, (SMALLEST_ENTRY + rest_length).next_multiple_of(8)))
}

impl Extra {
    fn parse(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            let bytes = bytes.get(at..at + size_of::<U64>())?;
            U64::read_from_bytes(bytes).ok().map(U64::get)
        };
        Self { vm_state_size: word(0), disk_size: word(8) }
    }
}
