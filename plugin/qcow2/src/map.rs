//! The map from the disk to the file: walks L1 and L2 tables over a window and
//! answers with extents. What an entry means is decided in [`crate::l2`].

use alloc::vec::Vec;

use fumehood_plugin::{Codec, Content, Encoded, Error, Extent, Extents, Result, Stored};

use crate::fixed::FixedAreas;
use crate::geometry::Geometry;
use crate::l1::{L1Table, L2Table};
use crate::l2::{EntryRules, Mapping, Subclusters, clamp_compressed};
use crate::tables::Tables;

/// An answer stops short at this many extents.
const EXTENT_LIMIT: usize = 16_384;
/// An answer stops short after this many entries: L1 entries that share one L2
/// table can make a huge disk of a small file, all of it one extent.
const ENTRY_LIMIT: u64 = 1 << 20;

/// Where host clusters lie: the main source, or an external data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSource {
    /// The source's number.
    pub id: u32,
    /// Its length in bytes.
    pub size: u64,
}

/// One disk state: the active one or a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Map {
    /// Cluster size and what follows from it.
    pub geometry: Geometry,
    /// How entries are read.
    pub rules: EntryRules,
    /// The state's L1 table, which maps at least `disk_size`.
    pub l1: L1Table,
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// Where host clusters lie.
    pub data: DataSource,
    /// How compressed clusters are encoded.
    pub codec: Codec,
    /// Whether the host may write in place where nothing else uses a cluster.
    pub writable: bool,
    /// What it may not write even then.
    pub fixed: FixedAreas,
}

impl Map {
    /// Extents from the cluster that holds `offset` to at least one, at most about
    /// `length` bytes on; fewer where an entry is corrupt, which is then the next
    /// answer's error.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the disk, [`Error::Corrupt`] by the entry's offset.
    pub fn extents(&self, tables: &mut Tables, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if offset >= self.disk_size {
            return Err(Error::OutOfRange);
        }
        let mut walk = Walk {
            map: *self,
            answer: Extents::new(),
            offset,
            at: self.geometry.cluster_start(offset),
            end: offset.saturating_add(length.max(1)).min(self.disk_size),
            budget: ENTRY_LIMIT,
            copied: false,
        };
        match walk.run(tables) {
            Err(error) if walk.answer.is_empty() => Err(error),
            _ => Ok(walk.answer.finish()),
        }
    }
}

struct Walk {
    map: Map,
    answer: Extents,
    /// What was asked for; the walk begins with the cluster that holds it.
    offset: u64,
    at: u64,
    end: u64,
    budget: u64,
    /// Whether the cluster that is looked at is used by nothing else.
    copied: bool,
}

impl Walk {
    fn run(&mut self, tables: &mut Tables) -> Result<()> {
        let Map { geometry, l1, .. } = self.map;
        let span = geometry.table_span();
        while self.at < self.end && self.answer.len() < EXTENT_LIMIT && self.budget > 0 {
            let index = self.at / span;
            match l1.l2_table(tables, geometry, index)? {
                Some(table) => self.run_table(tables, table)?,
                None => {
                    self.budget -= 1;
                    self.push((index + 1).saturating_mul(span) - self.at, Content::Absent);
                }
            }
        }
        Ok(())
    }

    /// Walks what one page holds of an L2 table, as far as the window goes.
    fn run_table(&mut self, tables: &mut Tables, table: L2Table) -> Result<()> {
        let Map { geometry, rules, .. } = self.map;
        let index = self.at / geometry.cluster_size() % geometry.table_entries();
        let wanted = geometry
            .clusters(self.end - self.at)
            .min(geometry.table_entries() - index)
            .min(self.budget);
        let size = geometry.entry_size();
        let mut entry_offset = table.offset.saturating_add(index * size);
        let file_size = tables.file_size();
        let entries = tables.entries(entry_offset, wanted * size, size, "L2 table")?;
        for entry in entries.chunks_exact(size as usize).filter_map(|entry| rules.parse(entry)) {
            if self.answer.len() >= EXTENT_LIMIT {
                break;
            }
            self.copied = table.copied && entry.copied();
            match rules.decode(entry, entry_offset)? {
                Mapping::Absent => self.push(geometry.cluster_size(), Content::Absent),
                Mapping::Zero(_) => self.push(geometry.cluster_size(), Content::Zero),
                Mapping::Data(host) => self.push_stored(geometry.cluster_size(), host),
                Mapping::Compressed { offset, length } => {
                    let length = clamp_compressed(offset, length, file_size, entry_offset)?;
                    self.push_encoded(offset, length);
                }
                Mapping::Subclusters(subclusters) => self.push_subclusters(subclusters),
            }
            self.budget -= 1;
            entry_offset += size;
        }
        Ok(())
    }

    /// Adds `length` bytes of `content`, less what would lie past the disk. Parts of
    /// the first cluster that end before the asked offset are no part of the answer.
    fn push(&mut self, length: u64, content: Content) {
        let length = length.min(self.map.disk_size - self.at);
        let end = self.at + length;
        if end > self.offset {
            self.answer.push(self.at, length, content);
        }
        self.at = end;
    }

    /// A file may end before the clusters it has given out: what is not there yet
    /// reads as zeroes.
    fn push_stored(&mut self, length: u64, host: u64) {
        let DataSource { id, size } = self.map.data;
        let there = size.saturating_sub(host).min(length);
        if there > 0 {
            let own = self.map.writable && self.copied;
            let writable = own && self.map.fixed.overlapped(host, there).is_none();
            let stored = Stored { source: id, offset: host, writable };
            self.push(there, Content::Stored(stored));
        }
        self.push(length - there, Content::Zero);
    }

    fn push_encoded(&mut self, offset: u64, stored_length: u32) {
        let cluster_size = self.map.geometry.cluster_size();
        // At most 2 MiB.
        let decoded_length = cluster_size as u32;
        let encoded = Encoded::new(0, offset, stored_length, self.map.codec, decoded_length);
        self.push(cluster_size, Content::Encoded(encoded));
    }

    fn push_subclusters(&mut self, subclusters: Subclusters) {
        let size = self.map.geometry.granularity();
        for number in 0..32u64 {
            match subclusters.host {
                Some(host) if subclusters.allocated >> number & 1 != 0 => {
                    self.push_stored(size, host.saturating_add(number * size));
                }
                _ if subclusters.zero >> number & 1 != 0 => self.push(size, Content::Zero),
                _ => self.push(size, Content::Absent),
            }
        }
    }
}
