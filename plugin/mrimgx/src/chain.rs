//! From the file whose state is shown back to the one with a full index: the deltas in
//! between.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, SourceHandle};

use crate::layout::{Disk, Layout, Partition};
use crate::metadata::{Block, read_layout};
use crate::set::{Found, Member};
use crate::tables::{DiskTables, PartitionTables, Table, read_tables};
use crate::text::brief;

/// A file of the chain, and what it holds.
struct Link {
    member: Member,
    layout: Layout,
    tables: Vec<DiskTables>,
}

/// The tables for a partition of the state that is shown.
#[derive(Clone)]
pub struct PartitionChain {
    /// Of the file whose state is shown.
    pub own: PartitionTables,
    /// All blocks, of the full index.
    pub base: Table,
    /// Changes since, newest first.
    pub deltas: Vec<Table>,
    /// How many blocks the partition had in each file of the set, as they tell.
    pub counts: Vec<u64>,
    /// All indexes that are used, with the files they are in.
    pub indexes: Vec<(SourceHandle, Block)>,
}

/// The tables of a disk.
#[derive(Clone)]
pub struct DiskChain {
    /// Of the file whose state is shown.
    pub own: DiskTables,
    /// For each partition.
    pub partitions: Vec<PartitionChain>,
}

/// The members of the chain, newest first, the one with the full index last.
///
/// # Errors
/// [`Error::Missing`] for a number that no file answers for.
fn members(found: &Found) -> Result<Vec<Member>> {
    let missing = |number: u32| {
        let id = brief(&found.layout.header.imageid);
        Error::Missing(format!("file number {number} of set {id}"))
    };
    let target = found.set.own(found.target).ok_or_else(|| missing(found.target))?;
    let mut chain = vec![target.clone()];
    if !target.delta {
        return Ok(chain);
    }
    for number in (0..found.target).rev() {
        match found.set.own(number) {
            Some(member) if member.split => (),
            Some(member) => {
                chain.push(member.clone());
                if !member.delta {
                    return Ok(chain);
                }
            }
            // Its changes are in the file that it was merged into.
            None if found.set.answers_for(number).is_some() => (),
            None => return Err(missing(number)),
        }
    }
    Err(Error::corrupt(0, "a set of incremental backups without a full one"))
}

/// Finds the tables of all disks.
///
/// # Errors
/// [`Error::Missing`] for a file that is needed and not there, [`Error::Corrupt`] for
/// files that do not fit together.
pub fn build(found: &Found) -> Result<Vec<DiskChain>> {
    let mut links = Vec::new();
    for member in members(found)? {
        let layout = read_layout(&*member.source)?;
        let tables = read_tables(&member, &layout)?;
        links.push(Link { member, layout, tables });
    }
    let Some((target, older)) = links.split_first() else { return Ok(Vec::new()) };
    let mut disks = Vec::new();
    for (disk, own) in target.layout.disks.0.iter().zip(&target.tables) {
        let mut partitions = Vec::new();
        for (partition, own) in disk.partitions.0.iter().zip(&own.partitions) {
            let mut chain = chain(target, older, (disk, partition), own)?;
            let place = (disk.header.disk_number, partition.header.partition_number);
            chain.counts = found.set.counts(place);
            partitions.push(chain);
        }
        disks.push(DiskChain { own: own.clone(), partitions });
    }
    Ok(disks)
}

fn chain(
    target: &Link,
    older: &[Link],
    place: (&Disk, &Partition),
    own: &PartitionTables,
) -> Result<PartitionChain> {
    let mut base = own.data.clone();
    let mut indexes = vec![(target.member.source.clone(), own.index)];
    let mut deltas = Vec::new();
    if target.member.delta {
        deltas.push(own.data.clone());
    }
    for link in older {
        let tables = link.find(place)?;
        indexes.push((link.member.source.clone(), tables.index));
        let table = tables.data.clone();
        if link.member.delta { deltas.push(table) } else { base = table }
    }
    Ok(PartitionChain { own: own.clone(), base, deltas, counts: Vec::new(), indexes })
}

impl Link {
    /// The tables of the same partition of the same disk.
    fn find(&self, (disk, partition): (&Disk, &Partition)) -> Result<&PartitionTables> {
        let number = disk.header.disk_number;
        let disks = self.layout.disks.0.iter().zip(&self.tables);
        let found = disks.into_iter().find(|(other, _)| other.header.disk_number == number);
        let found = found.and_then(|(other, tables)| {
            let number = partition.header.partition_number;
            let mut partitions = other.partitions.0.iter().zip(&tables.partitions);
            partitions.find(|(other, _)| other.header.partition_number == number)
        });
        let corrupt = |what| Error::corrupt_in(self.member.source.id(), self.member.metadata, what);
        let own = partition.header.partition_number;
        let Some((other, tables)) = found else {
            let name = &self.member.name;
            return Err(corrupt(format!("{name} has no partition {own} of disk {number}")));
        };
        let (size, due) = (other.header.block_size, partition.header.block_size);
        if size != due {
            let name = &self.member.name;
            return Err(corrupt(format!("blocks of {size} bytes in {name}, not {due}")));
        }
        Ok(tables)
    }
}
