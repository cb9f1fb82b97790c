//! The index: for each cluster of each disk, where its blocks lie. A record has eight
//! bytes, so that 4 TiB need 512 MiB of scratch; few of its pages are in memory.

use alloc::vec::Vec;

use fumehood_plugin::scratch::{Identity, Table};
use fumehood_plugin::{Error, Result, Source, SourceHandle};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use zerocopy::little_endian::U64;

use crate::extent::BLOCK;
use crate::header::{Device, Header, Kind};

/// Of the records and the summary.
const VERSION: u8 = 1;
/// Bits of an offset in the archive: 256 TiB.
const OFFSET_BITS: u32 = 48;

/// Where the blocks of a cluster lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// Offset of the first stored one in the archive.
    pub offset: u64,
    /// Which are stored; see [`crate::extent::Slot::mask`].
    pub mask: u16,
}

impl Cluster {
    /// The record of the cluster: 48 bits of offset, 16 of mask. It is never 0, which
    /// stands for a cluster that is not there, since no data lies at offset 0.
    fn record(self) -> Result<U64> {
        if self.offset >> OFFSET_BITS != 0 {
            return Err(Error::Unsupported("an archive of more than 256 TiB".into()));
        }
        Ok(U64::new(self.offset << u16::BITS | u64::from(self.mask)))
    }

    fn of(record: U64) -> Option<Self> {
        let record = record.get();
        let cluster = Self { offset: record >> u16::BITS, mask: record as u16 };
        (record != 0).then_some(cluster)
    }
}

/// What is known of one device when all extents have been seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Its clusters that are there.
    pub found: u64,
    /// Blocks that are stored.
    pub blocks: u64,
    /// The first cluster that is not there; its count of clusters if all are.
    pub first_missing: u64,
    /// For the machine's memory: some cluster is not where it belongs.
    pub disordered: bool,
}

/// What is known of the archive when all extents have been seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many extents it has.
    pub extents: u64,
    /// Where the last one ends that is whole.
    pub end: u64,
    /// By device.
    pub tallies: Vec<Tally>,
}

/// The index of an archive.
pub struct Index {
    table: Table<U64>,
    identity: Identity,
    /// Length of the archive, which is not asked for again with every cluster.
    size: u64,
}

/// What the scratch must belong to.
fn identity(header: &Header, size: u64) -> Identity {
    let mut digest = Md5::new();
    digest.update(header.uuid);
    digest.update(size.to_le_bytes());
    let mut identity = [0; 32];
    let (own, stated) = identity.split_at_mut(16);
    own.copy_from_slice(&digest.finalize());
    stated.copy_from_slice(&header.md5);
    identity
}

impl Index {
    /// An empty index of the archive `main`.
    pub fn new(
        main: &dyn Source,
        header: &Header,
        scratch: Option<SourceHandle>,
        seed: &[u8; 32],
    ) -> Self {
        let size = main.size();
        Self { table: Table::new(scratch, seed), identity: identity(header, size), size }
    }

    /// The index that an earlier open left in the scratch.
    pub fn load(
        main: &dyn Source,
        header: &Header,
        scratch: &SourceHandle,
    ) -> Option<(Self, Summary)> {
        let size = main.size();
        let identity = identity(header, size);
        let (table, summary): (_, Summary) = Table::load(scratch, VERSION, &identity)?;
        let sane = |(tally, device): (&Tally, &Device)| match device.kind {
            Kind::Disk(_) => {
                let clusters = device.clusters();
                let complete = tally.found == clusters && tally.first_missing == clusters;
                complete || tally.found < clusters && tally.first_missing < clusters
            }
            Kind::State => true,
        };
        let fits = summary.tallies.len() == header.devices.len()
            && summary.tallies.iter().zip(&header.devices).all(sane);
        fits.then_some((Self { table, identity, size }, summary))
    }

    /// Leaves it in the scratch.
    ///
    /// # Errors
    /// What the scratch answers.
    pub fn finish(&mut self, summary: &Summary) -> Result<()> {
        self.table.finish(VERSION, &self.identity, summary)
    }

    /// Notes where a cluster lies. False where that was known already.
    ///
    /// # Errors
    /// What the scratch answers; [`Error::Unsupported`] for an index that has no room.
    pub fn add(&mut self, number: u64, cluster: Cluster) -> Result<bool> {
        if self.table.get(number)?.get() != 0 {
            return Ok(false);
        }
        self.table.set(number, &cluster.record()?)?;
        Ok(true)
    }

    /// Where a cluster lies, if it is there.
    ///
    /// # Errors
    /// What the scratch answers; [`Error::Io`] where it cannot be believed.
    pub fn get(&mut self, number: u64) -> Result<Option<Cluster>> {
        let Some(cluster) = Cluster::of(self.table.get(number)?) else { return Ok(None) };
        let length = u64::from(cluster.mask.count_ones()) * BLOCK;
        let end = cluster.offset.checked_add(length);
        if end.is_none_or(|end| end > self.size) {
            return Err(self.table.distrust());
        }
        Ok(Some(cluster))
    }

    /// The first number from `number` on before which no cluster is there.
    pub fn skip_missing(&self, number: u64) -> u64 {
        self.table.next_used(number).unwrap_or(u64::MAX)
    }

    /// What steps of work are measured by: pages moved so far.
    pub fn moved(&self) -> u64 {
        self.table.moved()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_a_cluster() {
        for cluster in [
            Cluster { offset: 12800, mask: 0 },
            Cluster { offset: (1 << 48) - 1, mask: u16::MAX },
            Cluster { offset: 13312, mask: 0x8001 },
        ] {
            assert_eq!(Cluster::of(cluster.record().unwrap()), Some(cluster));
        }
        assert_eq!(Cluster::of(U64::new(0)), None);
        let far = Cluster { offset: 1 << 48, mask: 0 };
        assert!(matches!(far.record(), Err(Error::Unsupported(_))));
    }
}
