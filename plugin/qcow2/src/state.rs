//! What an opened image is in memory: its tables, its map, the books of its clusters,
//! and what was placed and not linked yet. The operations are in [`crate::place`],
//! [`crate::encoded`], [`crate::commit`], [`crate::zero`], [`crate::resize`] and
//! [`crate::rebase`]; here is what they share.
//!
//! The order that keeps every crash harmless: counts and rooms are written when they
//! are placed, and durable when `commit` comes; `commit` and `zero` write links only;
//! `flush` makes those durable and counts down what they no longer refer to.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use fumehood_plugin::{Access, Error, Extent, Result};

use crate::edit;
use crate::encoded::Packing;
use crate::header::Header;
use crate::l1::L2Table;
use crate::l2::{Entry, Mapping};
use crate::map::Map;
use crate::place::Sequence;
use crate::refcount::{ClusterRun, Refcounts};
use crate::rooms::{Room, Rooms};
use crate::snapshots::Snapshots;
use crate::space::Space;
use crate::tables::Tables;

/// Entries of an L2 table that are looked at together.
const WINDOW: u64 = 4096;
/// Bytes of an L2 table that are copied at once.
const COPY_STEP: u64 = 64 << 10;

/// An opened image.
pub struct State {
    /// The file.
    pub tables: Tables,
    /// What the header says now.
    pub header: Header,
    /// The snapshot table.
    pub snapshots: Snapshots,
    /// The disk that is shown.
    pub map: Map,
    /// Who has which cluster.
    pub space: Space,
    /// What was placed and not linked.
    pub rooms: Rooms,
    /// L2 tables that are written and not linked, by their place in the L1 table.
    pub fresh_tables: BTreeMap<u64, u64>,
    /// Subclusters that were linked at the last flush or later, and read as zeroes
    /// now, though their host cluster is still there for them; by its offset.
    pub hidden: BTreeMap<u64, u32>,
    /// Where the next compressed cluster goes.
    pub packing: Packing,
    /// How the disk was written so far.
    pub sequence: Sequence,
    /// What the host granted.
    pub access: Access,
    /// Whether the first change was announced in the header.
    pub prepared: bool,
}

/// Entries that follow each other in an L2 table, or would if there were one.
pub struct Window {
    /// The table; without one all entries are absent.
    pub table: Option<L2Table>,
    /// Offset of the first entry in the file.
    pub at: u64,
    /// The entries.
    pub entries: Vec<Entry>,
}

impl Window {
    /// Whether the host cluster of `entry`, which is one of these, is its own.
    pub fn owns(&self, entry: Entry) -> bool {
        self.table.is_some_and(|table| table.copied) && entry.copied()
    }
}

impl State {
    /// The state of an image with nothing placed in it.
    pub fn new(
        tables: Tables,
        header: Header,
        snapshots: Snapshots,
        map: Map,
        access: Access,
    ) -> Self {
        let refcounts = Refcounts::new(header.refcounts, map.geometry);
        let space = Space::new(refcounts, map.geometry, map.fixed, tables.file_size());
        Self {
            tables,
            header,
            snapshots,
            map,
            space,
            rooms: Rooms::new(map.geometry.cluster_size()),
            fresh_tables: BTreeMap::new(),
            hidden: BTreeMap::new(),
            packing: Packing::default(),
            sequence: Sequence::default(),
            access,
            prepared: false,
        }
    }

    /// Where a range of the disk lies.
    ///
    /// # Errors
    /// As [`Map::extents`].
    pub fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let mut map = self.map;
        if !self.header.features.data_file() {
            map.data.size = self.tables.file_size();
        }
        // Native writes would leave the persistent bitmaps behind.
        let writes = self.prepared || self.header.features.autoclear == 0;
        map.writable = self.access == Access::ReadWrite && writes;
        map.fixed = self.space.fixed;
        map.extents(&mut self.tables, offset, length)
    }

    /// Refuses what was not granted and ranges outside the disk.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::OutOfRange`].
    pub fn check_range(&self, offset: u64, length: u64) -> Result<()> {
        if self.access != Access::ReadWrite {
            return Err(Error::ReadOnly);
        }
        let inside = offset.checked_add(length).is_some_and(|end| end <= self.map.disk_size);
        if inside && length > 0 { Ok(()) } else { Err(Error::OutOfRange) }
    }

    /// As [`State::check_range`], for multiples of the granularity or up to the
    /// disk's end.
    ///
    /// # Errors
    /// The same.
    pub fn check_granules(&self, offset: u64, length: u64) -> Result<()> {
        self.check_range(offset, length)?;
        let (end, granularity) = (offset + length, self.map.geometry.granularity());
        let aligned = offset.is_multiple_of(granularity)
            && (end.is_multiple_of(granularity) || end == self.map.disk_size);
        if aligned { Ok(()) } else { Err(Error::OutOfRange) }
    }

    /// Before the first change of the disk: clears the autoclear bits, as none of what
    /// they stand for is kept up to date here, and completes the file's last cluster.
    ///
    /// # Errors
    /// What the source answers.
    pub fn prepare(&mut self) -> Result<()> {
        if !self.prepared {
            self.prepare_keeping(0)?;
            self.prepared = true;
        }
        Ok(())
    }

    /// The same, but for these autoclear bits, which the change does not concern.
    ///
    /// # Errors
    /// What the source answers.
    pub fn prepare_keeping(&mut self, bits: u64) -> Result<()> {
        let geometry = self.map.geometry;
        self.tables
            .resize(geometry.clusters(self.tables.file_size()) << geometry.cluster_bits())?;
        let mut features = self.header.features;
        features.autoclear &= bits;
        if features != self.header.features {
            edit::set_features(&mut self.tables, features)?;
            self.tables.flush()?;
            self.header.features = features;
        }
        Ok(())
    }

    /// The entries of up to `most` clusters of the disk from `cluster` on: at least
    /// one, all of one L2 table. A table that is not linked yet counts.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the tables contradict the format.
    pub fn window(&mut self, cluster: u64, most: u64) -> Result<Window> {
        let Map { geometry, rules, .. } = self.map;
        let (index, first) =
            (cluster / geometry.table_entries(), cluster % geometry.table_entries());
        let most = most.min(geometry.table_entries() - first).clamp(1, WINDOW);
        let Some(table) = self.l2_table(index)? else {
            let entries = alloc::vec![Entry::ABSENT; most as usize];
            return Ok(Window { table: None, at: 0, entries });
        };
        let size = geometry.entry_size();
        let at = table.offset + first * size;
        let bytes = self.tables.entries(at, most * size, size, "L2 table")?;
        let entries = bytes.chunks_exact(size as usize).filter_map(|entry| rules.parse(entry));
        Ok(Window { table: Some(table), at, entries: entries.collect() })
    }

    /// Replaces the entry at `at` of the file.
    ///
    /// # Errors
    /// As [`Tables::write`].
    pub fn write_entry(&mut self, at: u64, entry: Entry) -> Result<()> {
        let mut bytes = alloc::vec![0; self.map.geometry.entry_size() as usize];
        self.map.rules.write(entry, &mut bytes);
        self.tables.write(at, &bytes)
    }

    /// The L2 table at `index` of the L1 table, linked or not.
    ///
    /// # Errors
    /// As [`crate::l1::L1Table::l2_table`].
    pub fn l2_table(&mut self, index: u64) -> Result<Option<L2Table>> {
        if let Some(offset) = self.fresh_tables.get(&index) {
            return Ok(Some(L2Table { offset: *offset, copied: true }));
        }
        let geometry = self.map.geometry;
        let table = self.map.l1.l2_table(&mut self.tables, geometry, index)?;
        if let Some(table) = table {
            // Changing it must not change what the header names.
            self.space.fixed.keep_out((table.offset, geometry.cluster_size()), "an L2 table")?;
        }
        Ok(table)
    }

    /// Makes sure that there is an L2 table at `index` that can be changed: a new one
    /// of zeroes, or a copy of one that a snapshot shares.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or what the source answers.
    pub fn ensure_table(&mut self, index: u64) -> Result<()> {
        let shared = match self.l2_table(index)? {
            Some(table) if table.copied => return Ok(()),
            Some(table) => Some(table.offset),
            None => None,
        };
        let fresh = self.space.take_zeroed(&mut self.tables)?;
        if let Some(shared) = shared
            && let Err(error) = self.copy_table(shared, fresh)
        {
            self.space.give_back(self.cluster_run(fresh));
            return Err(error);
        }
        self.fresh_tables.insert(index, fresh);
        Ok(())
    }

    fn copy_table(&mut self, from: u64, to: u64) -> Result<()> {
        let Map { geometry, rules, .. } = self.map;
        let (mut done, size) = (0, geometry.entry_size());
        while done < geometry.cluster_size() {
            let step = COPY_STEP.min(geometry.cluster_size() - done);
            let mut bytes = self.tables.bytes(from + done, step, "L2 table")?;
            for entry in bytes.chunks_exact_mut(size as usize) {
                // What a snapshot shares is nobody's own.
                if let Some(old) = rules.parse(entry).filter(|old| old.copied()) {
                    rules.write(old.with_copied(false), entry);
                }
            }
            self.tables.write(to + done, &bytes)?;
            done += step;
        }
        Ok(())
    }

    /// Links the new L2 table at `index`, if there is one. Its count and what it held
    /// before `commit` or `zero` changed it are durable.
    ///
    /// # Errors
    /// What the source answers.
    pub fn link_table(&mut self, index: u64) -> Result<()> {
        let Some(fresh) = self.fresh_tables.get(&index).copied() else { return Ok(()) };
        let (l1, geometry) = (self.map.l1, self.map.geometry);
        let shared = l1.l2_table(&mut self.tables, geometry, index)?;
        l1.set(&mut self.tables, index, Some(fresh))?;
        self.fresh_tables.remove(&index);
        if let Some(shared) = shared {
            self.space.drop_reference(self.cluster_run(shared.offset));
        }
        Ok(())
    }

    /// The cluster at `offset` of the file.
    pub fn cluster_run(&self, offset: u64) -> ClusterRun {
        ClusterRun { first: offset >> self.map.geometry.cluster_bits(), count: 1 }
    }

    /// The clusters of the file that `mapping` refers to.
    pub fn references(&self, mapping: Mapping) -> Option<ClusterRun> {
        match mapping {
            Mapping::Compressed { offset, length } => {
                Some(ClusterRun::touched(self.map.geometry, offset, u64::from(length)))
            }
            other => other.subclusters()?.host.map(|host| self.cluster_run(host)),
        }
    }

    /// Forgets the rooms of whole clusters of the disk.
    pub fn forget_rooms(&mut self, first: u64, clusters: u64) {
        for (clusters, room) in self.rooms.remove(first, clusters) {
            self.release_room(clusters, room);
        }
    }

    fn release_room(&mut self, clusters: u64, room: Room) {
        match room {
            Room::Plain(offset) => {
                let first = self.cluster_run(offset).first;
                self.space.give_back(ClusterRun { first, count: clusters });
            }
            Room::Encoded { offset, length } => {
                let run = ClusterRun::touched(self.map.geometry, offset, u64::from(length));
                self.space.drop_reference(run);
            }
        }
    }

    /// Makes all links durable, and then gives back what they no longer refer to.
    ///
    /// # Errors
    /// What the source answers.
    pub fn flush(&mut self) -> Result<()> {
        self.tables.flush()?;
        self.hidden.clear();
        self.space.settle(&mut self.tables)
    }

    /// Gives back what was placed and never linked, and what the file grew by in
    /// advance.
    ///
    /// # Errors
    /// What the source answers.
    pub fn close(&mut self) -> Result<()> {
        if self.access != Access::ReadWrite {
            return Ok(());
        }
        self.tables.flush()?;
        self.forget_rooms(0, u64::MAX);
        for (_, offset) in core::mem::take(&mut self.fresh_tables) {
            self.space.give_back(self.cluster_run(offset));
        }
        self.close_packing();
        self.space.drop_reserve();
        self.space.settle(&mut self.tables)?;
        self.space.trim(&mut self.tables)?;
        self.tables.flush()
    }
}
