//! The check: walks everything the image refers to, notes it in a [`Ledger`], and has
//! [`crate::recount`] compare that with the reference counts.
//!
//! Time is bounded by the file's size (every L2 table is walked once for each L1
//! table that refers to it), and memory by [`crate::usage`]: a file of more clusters
//! than that can count at once is walked several times.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Access, Error, Finding, Result};

use crate::bitmaps;
use crate::edit;
use crate::features::{BITMAPS, DIRTY, Features, INCOMPATIBLE_OFFSET};
use crate::geometry::Geometry;
use crate::l1::{L1Table, L2Table};
use crate::l2::{Entry, EntryRules, Mapping, clamp_compressed};
use crate::ledger::Ledger;
use crate::rooms::Room;
use crate::state::State;
use crate::usage::COUNT_WINDOW;

impl State {
    /// Contradictions in the image's metadata. With `repair`, reference counts and
    /// the flags that follow from them are put right, unless something worse is wrong.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], or what the source answers; what is wrong with the image
    /// is a finding.
    pub fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        if self.access == Access::ReadWrite {
            self.space.drop_reserve();
            self.flush()?;
        } else if repair {
            return Err(Error::ReadOnly);
        }
        if repair {
            // Bitmaps are of the disk, which stays as it is.
            self.prepare_keeping(BITMAPS)?;
        }
        let ledger = Ledger::new(self.map.geometry, self.tables.file_size());
        let (geometry, rules) = (self.map.geometry, EntryRules::new(&self.header));
        let mut checker = Checker { state: self, geometry, rules, ledger, repair };
        let mut first = 0;
        loop {
            checker.walk_all()?;
            if !checker.ledger.complete() {
                // Without all the uses, every count would look like a leak.
                break;
            }
            checker.repair &= first > 0 || checker.ledger.findings.is_empty();
            checker.compare_window(first)?;
            first += COUNT_WINDOW;
            if first >= checker.ledger.clusters() {
                break;
            }
            checker.ledger.restart(first);
            checker.ledger.muted = true;
        }
        Ok(checker.ledger.findings)
    }

    /// Makes the reference counts of an image that was not closed right again.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where there is more to repair than that.
    pub fn recover(&mut self) -> Result<()> {
        let findings = self.check(true)?;
        if let Some(finding) = findings.iter().find(|finding| !finding.repaired) {
            let what =
                format!("the image was not closed, and cannot be repaired: {}", finding.what);
            return Err(Error::corrupt(INCOMPATIBLE_OFFSET, what));
        }
        self.tables.flush()?;
        let features = self.header.features;
        let features = Features { incompatible: features.incompatible & !DIRTY, ..features };
        edit::set_features(&mut self.tables, features)?;
        self.header.features = features;
        self.tables.flush()
    }
}

/// A check under way.
pub(crate) struct Checker<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) geometry: Geometry,
    pub(crate) rules: EntryRules,
    pub(crate) ledger: Ledger,
    pub(crate) repair: bool,
}

/// What an L2 table is walked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    /// What the active state uses.
    Active,
    /// What a snapshot uses.
    Snapshot,
    /// The active state's flags, now that uses are counted.
    Flags,
}

impl Checker<'_> {
    fn walk_all(&mut self) -> Result<()> {
        self.take_metadata()?;
        self.take_placed();
        self.walk_l1(self.state.header.l1, Walk::Active)?;
        self.walk_snapshots()?;
        self.ledger.muted = false;
        Ok(())
    }

    fn take_metadata(&mut self) -> Result<()> {
        let location = self.state.space.refcounts.location();
        self.ledger.take((0, 1), "the header", 0);
        self.ledger.take((location.offset, location.length), "the refcount table", 0);
        let refcounts = self.state.space.refcounts;
        for index in 0..refcounts.blocks() {
            let block = refcounts.block(&mut self.state.tables, index);
            if let Some(Some(block)) = self.ledger.noted(0, block)? {
                self.ledger.take((block, self.geometry.cluster_size()), "a refcount block", 0);
            }
        }
        let l1 = self.state.header.l1;
        self.ledger.take((l1.offset(), l1.length()), "the L1 table", 0);
        if let Some(location) = self.state.header.snapshots {
            let length = self.state.snapshots.length;
            self.ledger.take((location.offset, length), "the snapshot table", 0);
        }
        self.take_bitmaps()
    }

    fn take_bitmaps(&mut self) -> Result<()> {
        let header = &self.state.header;
        let Some(directory) = header.extensions.bitmaps else { return Ok(()) };
        if !header.features.bitmaps() {
            return Ok(());
        }
        let (ledger, cluster_size) = (&mut self.ledger, self.geometry.cluster_size());
        let tables = &mut self.state.tables;
        let walked = bitmaps::for_each_run(tables, directory, cluster_size, &mut |run| {
            ledger.take(run, "a persistent bitmap", 0);
        });
        self.ledger.noted(0, walked).map(drop)
    }

    /// What was placed and not linked is in use too.
    fn take_placed(&mut self) {
        let (bits, size) = (self.geometry.cluster_bits(), self.geometry.cluster_size());
        for (guest, clusters, room) in self.state.rooms.iter() {
            match room {
                Room::Plain(offset) => {
                    self.ledger.take((offset, clusters << bits), "room for a write", guest << bits);
                }
                Room::Encoded { offset, length } => {
                    for cluster in
                        offset >> bits..self.geometry.clusters(offset + u64::from(length))
                    {
                        self.ledger.usage.pack(cluster);
                    }
                }
            }
        }
        if let Some(packing) = self.state.packing.cluster(self.geometry) {
            self.ledger.usage.pack(packing);
        }
        for offset in self.state.fresh_tables.values() {
            self.ledger.take((*offset, size), "a new L2 table", 0);
        }
    }

    fn walk_snapshots(&mut self) -> Result<()> {
        for number in 0..self.state.snapshots.list.len() {
            let Some(snapshot) = self.state.snapshots.list.get(number) else { break };
            let l1 = snapshot.l1(self.geometry, self.state.tables.file_size());
            if let Some(l1) = self.ledger.noted(0, l1)? {
                self.ledger.take((l1.offset(), l1.length()), "a snapshot's L1 table", 0);
                self.walk_l1(l1, Walk::Snapshot)?;
            }
        }
        Ok(())
    }

    pub(crate) fn walk_l1(&mut self, l1: L1Table, walk: Walk) -> Result<()> {
        let (bits, size) = (self.geometry.cluster_bits(), self.geometry.cluster_size());
        for index in 0..l1.entries() {
            if !self.ledger.step(1) {
                return Ok(());
            }
            let guest = index.saturating_mul(self.geometry.table_span());
            let table = l1.l2_table(&mut self.state.tables, self.geometry, index);
            let Some(Some(table)) = self.ledger.noted(guest, table)? else { continue };
            let wanted = match walk {
                Walk::Active => self.ledger.take((table.offset, size), "an L2 table", guest),
                Walk::Snapshot => {
                    self.ledger.usage.count(table.offset >> bits);
                    true
                }
                Walk::Flags => {
                    self.check_table_flag(l1, index, table)?;
                    true
                }
            };
            if wanted {
                self.walk_l2(table, guest, walk)?;
            }
        }
        Ok(())
    }

    fn walk_l2(&mut self, table: L2Table, mut guest: u64, walk: Walk) -> Result<()> {
        let size = self.geometry.entry_size();
        let (mut at, end) =
            (table.offset, table.offset.saturating_add(self.geometry.cluster_size()));
        while at < end {
            let entries = self.state.tables.entries(at, end - at, size, "L2 table");
            let entries = entries.map(|bytes| bytes.to_vec());
            let Some(entries) = self.ledger.noted(guest, entries)? else { break };
            if !self.ledger.step(entries.len() as u64 / size) {
                break;
            }
            for bytes in entries.chunks_exact(size as usize) {
                // Most entries of most tables: nothing to decode.
                if let Some(entry) = self.rules.parse(bytes).filter(|entry| *entry != Entry::ABSENT)
                {
                    let mapping = self.rules.decode(entry, at);
                    if let Some(mapping) = self.ledger.noted(guest, mapping)? {
                        self.use_entry((entry, mapping), (guest, at), walk)?;
                    }
                }
                at += size;
                guest = guest.saturating_add(self.geometry.cluster_size());
            }
        }
        Ok(())
    }

    /// Notes what the entry at `at`, which maps `guest`, uses.
    fn use_entry(
        &mut self,
        (entry, mapping): (Entry, Mapping),
        (guest, at): (u64, u64),
        walk: Walk,
    ) -> Result<()> {
        if let Mapping::Compressed { offset, length } = mapping {
            return self.use_compressed((offset, length), (guest, at), walk);
        }
        let host = mapping.subclusters().and_then(|subclusters| subclusters.host);
        // The clusters of an external data file are not counted.
        let data_file = self.state.header.features.data_file();
        let Some(host) = host.filter(|_| !data_file) else { return Ok(()) };
        match walk {
            Walk::Active => {
                self.ledger.take((host, self.geometry.cluster_size()), "a data cluster", guest);
            }
            Walk::Snapshot => self.ledger.usage.count(host >> self.geometry.cluster_bits()),
            Walk::Flags => self.check_entry_flag(entry, host, (guest, at))?,
        }
        Ok(())
    }

    fn use_compressed(
        &mut self,
        (offset, length): (u64, u32),
        (guest, at): (u64, u64),
        walk: Walk,
    ) -> Result<()> {
        let inside = clamp_compressed(offset, length, self.state.tables.file_size(), at);
        let Some(length) = self.ledger.noted(guest, inside)? else { return Ok(()) };
        let bits = self.geometry.cluster_bits();
        for cluster in offset >> bits..self.geometry.clusters(offset + u64::from(length)) {
            match walk {
                Walk::Flags => {}
                Walk::Snapshot => self.ledger.usage.count(cluster),
                Walk::Active if self.ledger.usage.pack(cluster) => {}
                Walk::Active => {
                    let what = format!(
                        "a compressed cluster at file offset {offset} overlaps something else"
                    );
                    self.ledger.note(guest, what);
                }
            }
        }
        Ok(())
    }
}
