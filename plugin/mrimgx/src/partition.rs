//! A partition as it is stored: blocks before the first cluster, and those from there on.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, SourceHandle};

use crate::chain::PartitionChain;
use crate::element::{Element, MOST_BLOCK, Place, Storing, Which};
use crate::layout::{Disk, Partition};
use crate::metadata::Block;
use crate::tables::Table;

/// Bytes of a block before the first cluster.
const RESERVED_BLOCK: u64 = 4 << 20;
/// Such blocks, at most: 64 GiB.
const MOST_RESERVED: u32 = 16384;

/// Where a partition's blocks belong, in bytes of the disk.
#[derive(Debug, Clone)]
pub struct Measures {
    /// Windows' number of the disk.
    pub disk: i32,
    /// The program's number of the partition.
    pub partition: i32,
    /// Where blocks before the first cluster begin.
    pub reserved_start: u64,
    /// Their bytes in all.
    pub reserved_length: u64,
    /// Where the first cluster is.
    pub data_start: u64,
    /// Bytes a block.
    pub block_size: u64,
    /// Blocks from the first cluster on, as the JSON tells.
    pub block_count: u64,
    /// Where the partition begins.
    pub start: u64,
    /// Where it ends: on the disk, and not before its first cluster.
    pub end: u64,
}

impl Measures {
    /// Checks what the JSON says of a partition.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for numbers that make no sense on this disk.
    pub fn new(disk: &Disk, partition: &Partition) -> Result<Self> {
        let number = partition.header.partition_number;
        let wrong = |what: String| {
            let disk = disk.header.disk_number;
            Error::corrupt(0, format!("partition {number} of disk {disk}: {what}"))
        };
        let (geometry, system) = (&partition.geometry, &partition.file_system);
        let size = disk.geometry.disk_size;
        let end = geometry.start.checked_add(geometry.length).filter(|end| *end <= size);
        let Some(end) = end else {
            let (start, length) = (geometry.start, geometry.length);
            return Err(wrong(format!("{length} bytes at {start} of a disk of {size}")));
        };
        let block_size = partition.header.block_size;
        if !(1..=MOST_BLOCK).contains(&block_size) {
            return Err(wrong(format!("blocks of {block_size} bytes")));
        }
        let first_cluster = system.lcn0_offset.checked_sub(system.start);
        let data_start = first_cluster.and_then(|offset| geometry.start.checked_add(offset));
        let block_count = partition.header.block_count;
        // Blocks need room, or they would all be taken for what a shrink left over.
        let fits = |start: &u64| *start < end || (*start == end && block_count == 0);
        let Some(data_start) = data_start.filter(fits) else {
            let (cluster, start) = (system.lcn0_offset, system.start);
            return Err(wrong(format!("its first cluster at {cluster}, its beginning at {start}")));
        };
        let reserved_length = system.reserved_sectors_byte_length;
        let reserved_start = geometry.start.checked_add(geometry.boot_sector_offset);
        let reserved_end = reserved_start.and_then(|start| start.checked_add(reserved_length));
        let (Some(reserved_start), Some(_)) =
            (reserved_start, reserved_end.filter(|end| *end <= size))
        else {
            return Err(wrong(format!("{reserved_length} reserved bytes on a disk of {size}")));
        };
        Ok(Self {
            disk: disk.header.disk_number,
            partition: number,
            reserved_start,
            reserved_length,
            data_start,
            block_size,
            block_count,
            start: geometry.start,
            end,
        })
    }

    /// Where `count` blocks end. The last is cut off where the partition ends; those that
    /// begin behind that are left over from before it shrank, and do not count.
    pub fn data_end(&self, count: u64) -> u64 {
        let length = count.saturating_mul(self.block_size);
        self.data_start.saturating_add(length).min(self.end)
    }

    /// How many blocks have room in the partition.
    fn room(&self) -> u64 {
        self.end.saturating_sub(self.data_start).div_ceil(self.block_size)
    }

    /// The name of a block, for its vector.
    pub fn which(&self, index: u32) -> Which {
        Which { disk: self.disk, partition: self.partition, index }
    }
}

/// A block before the first cluster.
#[derive(Debug, Clone)]
pub struct ReservedBlock {
    /// Where it begins on the disk.
    pub start: u64,
    /// Its bytes that belong there.
    pub length: u64,
    /// Where it is stored.
    pub place: Place,
}

/// A partition, ready to be mapped.
pub struct Stored {
    /// Where its blocks belong.
    pub measures: Measures,
    /// Blocks before the first cluster, in order.
    pub reserved: Vec<ReservedBlock>,
    /// Why those before the first cluster cannot be read.
    pub reserved_flaw: Option<String>,
    /// All blocks, of the full index.
    pub base: Table,
    /// Blocks in all.
    pub count: u64,
    /// How many blocks there were in each file of the set, and how many there are now,
    /// in order: the last of so many may be short.
    ends: Vec<u64>,
    /// All indexes that are used, with the files they are in.
    pub indexes: Vec<(SourceHandle, Block)>,
}

impl Stored {
    /// Reads the elements of the blocks before the first cluster. `changed` is one more
    /// than the highest block that deltas hold.
    ///
    /// # Errors
    /// What the source answers.
    pub fn new(
        measures: Measures,
        chain: &PartitionChain,
        storing: &Storing,
        changed: u64,
    ) -> Result<Self> {
        let count = changed.max(chain.base.count.into());
        let mut ends = chain.counts.clone();
        ends.extend([count, chain.base.count.into(), measures.room()]);
        ends.sort_unstable();
        ends.dedup();
        let mut stored = Self {
            measures,
            reserved: Vec::new(),
            reserved_flaw: None,
            base: chain.base.clone(),
            count,
            ends,
            indexes: chain.indexes.clone(),
        };
        let table = &chain.own.reserved;
        let length = stored.measures.reserved_length;
        if table.count > MOST_RESERVED || (table.count > 0 && length == 0) {
            let count = table.count;
            let what = format!("{count} blocks before the first cluster, for {length} bytes");
            stored.reserved_flaw = Some(what);
        } else {
            stored.read_reserved(table, storing)?;
        }
        Ok(stored)
    }

    /// Whether a block may be shorter than others: it was the last when it was stored.
    pub fn may_be_short(&self, block: u32) -> bool {
        self.ends.binary_search(&(u64::from(block) + 1)).is_ok()
    }

    fn read_reserved(&mut self, table: &Table, storing: &Storing) -> Result<()> {
        let mut at = self.measures.reserved_start;
        let end = at.saturating_add(self.measures.reserved_length);
        let elements: Vec<Element> = table.read(0, table.count)?;
        for (index, element) in (0..).zip(&elements) {
            if at >= end {
                break;
            }
            let which = self.measures.which(index);
            let most = if storing.compressed { MOST_BLOCK } else { RESERVED_BLOCK };
            let usual = RESERVED_BLOCK.min(end - at);
            let place = element.place_and_measure(storing, which, usual, most)?;
            let length = match &place {
                // One that is not stored takes no room: so the published reader has it.
                Place::Nowhere => continue,
                Place::At(encoded) => u64::from(encoded.decoded_length),
                Place::Damaged(_) => RESERVED_BLOCK,
            };
            let length = length.min(end - at);
            self.reserved.push(ReservedBlock { start: at, length, place });
            at += length;
        }
        Ok(())
    }
}
