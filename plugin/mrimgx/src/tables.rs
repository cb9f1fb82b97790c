//! Where the metadata of disks and partitions lie in one file: the tables of its indexes.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::{read_struct, read_table};
use fumehood_plugin::{Error, Result, SourceHandle};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::element::{DeltaElement, Element};
use crate::layout::Layout;
use crate::metadata::{Block, EXTENDED, INDEX, TRACK0, read_list};
use crate::set::Member;

/// Elements that follow each other in a file.
#[derive(Clone)]
pub struct Table {
    /// The file.
    pub source: SourceHandle,
    /// Offset of the first.
    pub offset: u64,
    /// How many.
    pub count: u32,
}

impl Table {
    /// Elements from `first` on, at most `count` and no more than there are.
    ///
    /// # Errors
    /// What the source answers.
    pub fn read<T>(&self, first: u32, count: u32) -> Result<Vec<T>>
    where
        T: FromBytes + KnownLayout + Immutable + Unaligned + Clone,
    {
        let count = count.min(self.count.saturating_sub(first));
        if count == 0 {
            // Its place may be past the file's end.
            return Ok(Vec::new());
        }
        let offset = self.offset + u64::from(first) * size_of::<T>() as u64;
        read_table(&*self.source, offset, count.into(), "index")
    }
}

/// The tables of a partition.
#[derive(Clone)]
pub struct PartitionTables {
    /// The index as a whole.
    pub index: Block,
    /// Blocks before the first cluster.
    pub reserved: Table,
    /// Blocks from the first cluster on: of [`Element`], or of [`DeltaElement`].
    pub data: Table,
}

/// The metadata of a disk.
#[derive(Clone)]
pub struct DiskTables {
    /// Sectors from its beginning on.
    pub track0: Block,
    /// Boot records of logical drives.
    pub extended: Option<Block>,
    /// In the order of the JSON.
    pub partitions: Vec<PartitionTables>,
}

/// Finds all tables of a file that has an index.
///
/// # Errors
/// [`Error::Corrupt`] for lists that run out of the file or lack what they must have,
/// [`Error::Unsupported`] for an index that does not lie in the file as it is.
pub fn read_tables(member: &Member, layout: &Layout) -> Result<Vec<DiskTables>> {
    let source = &member.source;
    let mut at = layout.header.index_file_position;
    let mut disks = Vec::new();
    for disk in &layout.disks.0 {
        let list = read_list(&**source, at)?;
        at = list.end;
        let Some(track0) = list.find(TRACK0).copied() else {
            return Err(Error::corrupt_in(source.id(), at, "a disk without $TRACK0"));
        };
        let mut partitions = Vec::new();
        for _ in &disk.partitions.0 {
            let list = read_list(&**source, at)?;
            at = list.end;
            let Some(index) = list.find(INDEX).copied() else {
                return Err(Error::corrupt_in(source.id(), at, "a partition without $INDEX"));
            };
            partitions.push(split(source, index, member.delta)?);
        }
        disks.push(DiskTables { track0, extended: list.find(EXTENDED).copied(), partitions });
    }
    Ok(disks)
}

/// The two tables in an index, each behind its count.
fn split(source: &SourceHandle, index: Block, delta: bool) -> Result<PartitionTables> {
    if !index.is_plain() {
        return Err(Error::Unsupported("an index that is compressed or encrypted".into()));
    }
    let end = index.offset + u64::from(index.length);
    let take = |at: u64, size: usize| -> Result<(Table, u64)> {
        let count: U32 = read_struct(&**source, at, "count of an index")?;
        let offset = at + size_of::<U32>() as u64;
        let behind = offset + u64::from(count.get()) * size as u64;
        if behind > end {
            let what = format!("{} elements up to {behind} in an index up to {end}", count.get());
            return Err(Error::corrupt_in(source.id(), at, what));
        }
        Ok((Table { source: source.clone(), offset, count: count.get() }, behind))
    };
    let (reserved, at) = take(index.offset, size_of::<Element>())?;
    let size = if delta { size_of::<DeltaElement>() } else { size_of::<Element>() };
    let (data, _) = take(at, size)?;
    Ok(PartitionTables { index, reserved, data })
}
