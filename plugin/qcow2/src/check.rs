//! The check: walks everything the image refers to, notes it in a [`Ledger`], and
//! compares that with the reference counts. It changes nothing.
//!
//! Time is bounded by the file's size (every L2 table is walked once for the active
//! state and once for all snapshots together), and memory by [`crate::usage`].

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Finding, Result};

use crate::bitmaps;
use crate::geometry::Geometry;
use crate::header::Header;
use crate::l1::L1Table;
use crate::l2::{EntryRules, Mapping, clamp_compressed};
use crate::ledger::{FINDING_LIMIT, Ledger};
use crate::refcount::Refcounts;
use crate::snapshots::Snapshots;
use crate::tables::Tables;

/// Contradictions in the image's metadata.
///
/// # Errors
/// What the source answers; what is wrong with the image is a finding.
pub fn check(tables: &mut Tables, header: &Header, snapshots: &Snapshots) -> Result<Vec<Finding>> {
    let mut checker = Checker {
        ledger: Ledger::new(header.geometry, tables.file_size()),
        tables,
        header,
        geometry: header.geometry,
        rules: EntryRules::new(header),
    };
    checker.take_metadata(snapshots)?;
    checker.walk_active()?;
    checker.walk_snapshots(snapshots)?;
    checker.compare_refcounts()?;
    Ok(checker.ledger.findings)
}

struct Checker<'a> {
    tables: &'a mut Tables,
    header: &'a Header,
    geometry: Geometry,
    rules: EntryRules,
    ledger: Ledger,
}

/// Whose L2 table is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Active,
    Snapshot,
}

impl Checker<'_> {
    fn take_metadata(&mut self, snapshots: &Snapshots) -> Result<()> {
        self.ledger.take((0, 1), "the header", 0);
        let location = self.header.refcounts;
        self.ledger.take((location.offset, location.length), "the refcount table", 0);
        let refcounts = Refcounts::new(location, self.geometry);
        for index in 0..refcounts.blocks() {
            let block = refcounts.block(self.tables, index);
            if let Some(Some(block)) = self.ledger.noted(0, block)? {
                self.ledger.take((block, self.geometry.cluster_size()), "a refcount block", 0);
            }
        }
        let l1 = self.header.l1;
        self.ledger.take((l1.offset(), l1.length()), "the L1 table", 0);
        if let Some(location) = self.header.snapshots {
            self.ledger.take((location.offset, snapshots.length), "the snapshot table", 0);
        }
        self.take_bitmaps()
    }

    fn take_bitmaps(&mut self) -> Result<()> {
        let Some(directory) = self.header.extensions.bitmaps else { return Ok(()) };
        if !self.header.features.bitmaps() {
            return Ok(());
        }
        let (ledger, cluster_size) = (&mut self.ledger, self.geometry.cluster_size());
        let walked = bitmaps::for_each_run(self.tables, directory, cluster_size, &mut |run| {
            ledger.take(run, "a persistent bitmap", 0);
        });
        self.ledger.noted(0, walked).map(drop)
    }

    fn walk_active(&mut self) -> Result<()> {
        self.walk_l1(self.header.l1, Owner::Active)
    }

    fn walk_snapshots(&mut self, snapshots: &Snapshots) -> Result<()> {
        for snapshot in &snapshots.list {
            let l1 = snapshot.l1(self.geometry, self.tables.file_size());
            if let Some(l1) = self.ledger.noted(0, l1)? {
                self.ledger.take((l1.offset(), l1.length()), "a snapshot's L1 table", 0);
                self.walk_l1(l1, Owner::Snapshot)?;
            }
        }
        Ok(())
    }

    fn walk_l1(&mut self, l1: L1Table, owner: Owner) -> Result<()> {
        let (bits, size) = (self.geometry.cluster_bits(), self.geometry.cluster_size());
        for index in 0..l1.entries() {
            if !self.ledger.step(1) {
                return Ok(());
            }
            let guest = index.saturating_mul(self.geometry.table_span());
            let table = l1.l2_table(self.tables, self.geometry, index);
            let Some(Some(table)) = self.ledger.noted(guest, table)? else { continue };
            let first_time = match owner {
                Owner::Snapshot => self.ledger.usage.walk(table >> bits),
                Owner::Active => self.ledger.take((table, size), "an L2 table", guest),
            };
            if first_time {
                self.walk_l2(table, guest, owner)?;
            }
        }
        Ok(())
    }

    fn walk_l2(&mut self, table: u64, mut guest: u64, owner: Owner) -> Result<()> {
        let size = self.geometry.entry_size();
        let (mut at, end) = (table, table.saturating_add(self.geometry.cluster_size()));
        while at < end {
            let entries = self.tables.entries(at, end - at, size, "L2 table");
            let entries = entries.map(|bytes| bytes.to_vec());
            let Some(entries) = self.ledger.noted(guest, entries)? else { break };
            if !self.ledger.step(entries.len() as u64 / size) {
                break;
            }
            for bytes in entries.chunks_exact(size as usize) {
                if let Some(entry) = self.rules.parse(bytes) {
                    let mapping = self.rules.decode(entry, at);
                    if let Some(mapping) = self.ledger.noted(guest, mapping)? {
                        self.use_mapping(mapping, (guest, at), owner)?;
                    }
                }
                at += size;
                guest = guest.saturating_add(self.geometry.cluster_size());
            }
        }
        Ok(())
    }

    /// Notes what the entry at `at`, which maps `guest`, uses.
    fn use_mapping(
        &mut self,
        mapping: Mapping,
        (guest, at): (u64, u64),
        owner: Owner,
    ) -> Result<()> {
        let host = match mapping {
            Mapping::Absent => None,
            Mapping::Zero(host) => host,
            Mapping::Data(host) => Some(host),
            Mapping::Subclusters(subclusters) => subclusters.host,
            Mapping::Compressed { offset, length } => {
                return self.use_compressed((offset, length), (guest, at), owner);
            }
        };
        // The clusters of an external data file are not counted.
        let Some(host) = host.filter(|_| !self.header.features.data_file()) else { return Ok(()) };
        match owner {
            Owner::Active => {
                self.ledger.take((host, self.geometry.cluster_size()), "a data cluster", guest);
            }
            Owner::Snapshot => self.ledger.usage.save(host >> self.geometry.cluster_bits()),
        }
        Ok(())
    }

    fn use_compressed(
        &mut self,
        (offset, length): (u64, u32),
        (guest, at): (u64, u64),
        owner: Owner,
    ) -> Result<()> {
        let inside = clamp_compressed(offset, length, self.tables.file_size(), at);
        let Some(length) = self.ledger.noted(guest, inside)? else { return Ok(()) };
        let bits = self.geometry.cluster_bits();
        for cluster in offset >> bits..self.geometry.clusters(offset + u64::from(length)) {
            if owner == Owner::Snapshot {
                self.ledger.usage.save(cluster);
            } else if !self.ledger.usage.pack(cluster) {
                let what =
                    format!("a compressed cluster at file offset {offset} overlaps something else");
                self.ledger.note(guest, what);
            }
        }
        Ok(())
    }

    fn compare_refcounts(&mut self) -> Result<()> {
        if !self.ledger.complete() {
            // Without all the uses, every count would look like a leak.
            return Ok(());
        }
        let refcounts = Refcounts::new(self.header.refcounts, self.geometry);
        let clusters = self.ledger.usage.clusters();
        let mut leaked = 0u64;
        for index in 0..clusters.div_ceil(refcounts.clusters_per_block()) {
            if !self.ledger.complete() {
                return Ok(());
            }
            // A block that is no cluster of the file is a finding already.
            let block = refcounts.block(self.tables, index).unwrap_or(None);
            let (usage, mut uncounted) = (&self.ledger.usage, Vec::new());
            let counted = refcounts.for_each(
                self.tables,
                (index, block),
                clusters,
                &mut |cluster, counted| match (usage.contains(cluster), counted) {
                    (true, false) if uncounted.len() <= FINDING_LIMIT => uncounted.push(cluster),
                    (false, true) => leaked += 1,
                    _ => {}
                },
            );
            self.ledger.noted(0, counted)?;
            for cluster in uncounted {
                let at = cluster << self.geometry.cluster_bits();
                self.ledger.note(
                    0,
                    format!("the cluster at file offset {at} is used but counted as free"),
                );
            }
        }
        if leaked > 0 {
            self.ledger.note(
                0,
                format!("{leaked} clusters are counted as used but nothing refers to them"),
            );
        }
        Ok(())
    }
}
