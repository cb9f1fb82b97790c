//! Who may have which cluster of the file: clusters are taken in chunks, counted when
//! they are taken, and counted down when they are given back and no link to them can
//! come back.
//!
//! ```text
//!   free ──┐ scan finds them
//!          ├─▶ reserve (counted on disk) ─▶ take ─▶ a room, a table ─▶ linked
//!   end ───┘ growth                                                      │
//!     ▲                                                                  ▼
//!     └──────── settle, after a flush ◀──────── drops ◀──────────── not linked
//! ```
//!
//! A crash at any point leaves clusters that are counted and not used, never the
//! reverse. How the file grows, and its counts with it, is for [`crate::growth`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem::take;

use fumehood_plugin::{Error, Result};

use crate::fixed::FixedAreas;
use crate::geometry::Geometry;
use crate::refcount::{ClusterRun, Refcounts};
use crate::tables::Tables;

/// Bytes of the smallest and the largest chunk.
const SMALLEST_CHUNK: u64 = 1 << 20;
const LARGEST_CHUNK: u64 = 64 << 20;
/// A chunk is this part of all that was taken so far.
const CHUNK_PART: u64 = 8;
/// Bytes of counts that are searched for free clusters before the file grows.
const SCAN_STEP: u64 = 64 << 10;
/// Runs of free clusters that are remembered.
const FREE_LIMIT: usize = 16_384;
/// Runs to be counted down that are remembered.
const DROP_LIMIT: usize = 65_536;
/// Less than this is not worth giving back to the file system.
const SMALLEST_DISCARD: u64 = 4096;

/// Clusters that were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub run: ClusterRun,
    /// Whether they read as zeroes.
    pub zeroed: bool,
}

/// The books of the file's clusters.
pub struct Space {
    /// The counts.
    pub refcounts: Refcounts,
    /// What must not be overwritten.
    pub fixed: FixedAreas,
    pub(crate) geometry: Geometry,
    /// The first cluster past all that was ever used.
    pub(crate) end: u64,
    /// What the file held at first: it is not made shorter than that.
    floor: u64,
    reserve: Vec<Taken>,
    free: BTreeMap<u64, u64>,
    /// The first cluster that was not searched yet.
    cursor: u64,
    drops: Vec<ClusterRun>,
    taken: u64,
}

impl Space {
    /// The books of a file of `file_size` bytes.
    pub fn new(refcounts: Refcounts, geometry: Geometry, fixed: FixedAreas, size: u64) -> Self {
        let end = geometry.clusters(size);
        Self {
            refcounts,
            fixed,
            geometry,
            end,
            floor: end,
            reserve: Vec::new(),
            free: BTreeMap::new(),
            cursor: 0,
            drops: Vec::new(),
            taken: 0,
        }
    }

    /// From one to `wanted` clusters in a row, counted once each.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or what the source answers; nothing is taken then.
    pub fn take(&mut self, tables: &mut Tables, wanted: u64) -> Result<Taken> {
        if self.reserve.is_empty() {
            self.refill(tables, wanted)?;
        }
        let Some(last) = self.reserve.last_mut() else { return Err(Error::NoSpace) };
        let run = ClusterRun { first: last.run.first, count: last.run.count.min(wanted) };
        let taken = Taken { run, zeroed: last.zeroed };
        last.run = ClusterRun { first: run.end(), count: last.run.count - run.count };
        if last.run.count == 0 {
            self.reserve.pop();
        }
        self.taken += run.count;
        Ok(taken)
    }

    /// One cluster that reads as zeroes; its offset.
    ///
    /// # Errors
    /// As [`Space::take`].
    pub fn take_zeroed(&mut self, tables: &mut Tables) -> Result<u64> {
        let taken = self.take(tables, 1)?;
        let offset = taken.run.first << self.geometry.cluster_bits();
        if !taken.zeroed
            && let Err(error) = tables.zero(offset, self.geometry.cluster_size())
        {
            self.give_back(taken.run);
            return Err(error);
        }
        Ok(offset)
    }

    /// Makes the file reach past a host cluster that the image refers to and that lies
    /// behind the file's end.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it is not counted, or what the source answers.
    pub fn grow_to(&mut self, tables: &mut Tables, host: u64) -> Result<()> {
        let cluster = host >> self.geometry.cluster_bits();
        if self.refcounts.count(tables, cluster)? == 0 {
            let what = "expected a data cluster in the file or at least counted, found neither";
            return Err(Error::corrupt(host, what));
        }
        tables.resize((cluster + 1) << self.geometry.cluster_bits())?;
        self.end = self.end.max(cluster + 1);
        Ok(())
    }

    /// Takes back clusters that were taken and never linked.
    pub fn give_back(&mut self, run: ClusterRun) {
        self.reserve.push(Taken { run, zeroed: false });
    }

    /// Notes that one reference to each of these clusters is gone from the image.
    /// They are counted down by [`Space::settle`].
    pub fn drop_reference(&mut self, run: ClusterRun) {
        push(&mut self.drops, run);
    }

    /// Whether so many references are gone that it is time to settle.
    pub fn is_crowded(&self) -> bool {
        self.drops.len() >= DROP_LIMIT
    }

    /// Counts down what was dropped. A flush must have come between, so that no crash
    /// can bring a link to it back.
    ///
    /// # Errors
    /// What the source answers; what was not counted down then stays counted.
    pub fn settle(&mut self, tables: &mut Tables) -> Result<()> {
        let mut drops = take(&mut self.drops);
        drops.sort_unstable_by_key(|run| run.first);
        let mut joined = Vec::new();
        drops.into_iter().for_each(|run| push(&mut joined, run));
        for run in joined {
            let mut freed: Vec<ClusterRun> = Vec::new();
            self.refcounts.change(tables, run, &mut |cluster, count| {
                if count == 1 {
                    push(&mut freed, ClusterRun { first: cluster, count: 1 });
                }
                count.saturating_sub(1)
            })?;
            for run in freed {
                self.discard(tables, run)?;
                self.remember_free(run);
            }
        }
        Ok(())
    }

    fn discard(&self, tables: &mut Tables, run: ClusterRun) -> Result<()> {
        let bits = self.geometry.cluster_bits();
        let (offset, length) = (run.first << bits, run.count << bits);
        let inside = tables.file_size().saturating_sub(offset).min(length);
        if inside < SMALLEST_DISCARD {
            return Ok(());
        }
        tables.discard(offset, inside)
    }

    /// Notes all that was taken in advance as dropped.
    pub fn drop_reserve(&mut self) {
        for taken in take(&mut self.reserve) {
            self.drop_reference(taken.run);
        }
    }

    /// Cuts off the end of the file that nothing uses, as far as it was added since
    /// the image was opened.
    ///
    /// # Errors
    /// What the source answers.
    pub fn trim(&mut self, tables: &mut Tables) -> Result<()> {
        while self.end > self.floor && self.refcounts.count(tables, self.end - 1)? == 0 {
            self.end -= 1;
        }
        self.free.split_off(&self.end);
        if let Some(mut last) = self.free.last_entry() {
            let most = self.end - last.key();
            *last.get_mut() = most.min(*last.get());
        }
        self.cursor = self.cursor.min(self.end);
        let size = self.end << self.geometry.cluster_bits();
        if size < tables.file_size() { tables.resize(size) } else { Ok(()) }
    }

    fn refill(&mut self, tables: &mut Tables, wanted: u64) -> Result<()> {
        let bits = self.geometry.cluster_bits();
        let ahead = (self.taken << bits) / CHUNK_PART;
        let chunk = ahead.clamp(SMALLEST_CHUNK, LARGEST_CHUNK) >> bits;
        let chunk = chunk.max(wanted.min(LARGEST_CHUNK >> bits)).max(1);
        if let Some(run) = self.take_free(tables, chunk)? {
            self.reserve.push(Taken { run, zeroed: false });
            return Ok(());
        }
        let mut grown = self.extend(tables, chunk);
        if grown == Err(Error::NoSpace) {
            grown = self.extend(tables, 1);
        }
        if grown == Err(Error::NoSpace) {
            // The file cannot grow: now the whole of it is searched.
            while self.cursor < self.end {
                if let Some(run) = self.take_free(tables, chunk)? {
                    self.reserve.push(Taken { run, zeroed: false });
                    return Ok(());
                }
            }
        }
        self.reserve.push(Taken { run: grown?, zeroed: true });
        Ok(())
    }

    /// Up to `most` clusters that were free so far, counted now.
    fn take_free(&mut self, tables: &mut Tables, most: u64) -> Result<Option<ClusterRun>> {
        if self.free.is_empty() {
            self.scan(tables)?;
        }
        let Some((first, count)) = self.free.pop_first() else { return Ok(None) };
        let run = ClusterRun { first, count: count.min(most) };
        if let Err(error) = self.refcounts.change(tables, run, &mut |_, _| 1) {
            self.free.insert(first, count);
            return Err(error);
        }
        if count > run.count {
            self.free.insert(run.end(), count - run.count);
        }
        Ok(Some(run))
    }

    /// Searches a bounded number of counts for free clusters.
    fn scan(&mut self, tables: &mut Tables) -> Result<()> {
        let per_block = self.refcounts.clusters_per_block();
        let step = (SCAN_STEP * 8) >> self.refcounts.location().order;
        let end = self.end.min(self.cursor.saturating_add(step));
        while self.cursor < end {
            let index = self.cursor / per_block;
            let block_end = end.min((index + 1) * per_block);
            // A block that is missing says nothing of what its clusters hold.
            if let Some(block) = self.refcounts.block(tables, index)? {
                let part = ClusterRun { first: self.cursor, count: block_end - self.cursor };
                let mut found = Vec::new();
                let bits = self.geometry.cluster_bits();
                let fixed = self.fixed;
                self.refcounts.for_each(tables, (index, Some(block)), part, &mut |at, count| {
                    if count == 0 && fixed.overlapped(at << bits, 1 << bits).is_none() {
                        push(&mut found, ClusterRun { first: at, count: 1 });
                    }
                    true
                })?;
                found.into_iter().for_each(|run| self.add_free(run));
            }
            self.cursor = block_end;
        }
        Ok(())
    }

    /// Remembers clusters that were freed, or where to find them again.
    fn remember_free(&mut self, run: ClusterRun) {
        if self.free.len() < FREE_LIMIT {
            self.add_free(run);
        } else {
            self.cursor = self.cursor.min(run.first);
        }
    }

    fn add_free(&mut self, run: ClusterRun) {
        let before = self.free.range_mut(..run.first).next_back();
        match before.filter(|(first, count)| **first + **count == run.first) {
            Some((_, count)) => *count += run.count,
            None => drop(self.free.insert(run.first, run.count)),
        }
    }
}

/// Appends a run, joined to the last one where it continues that.
fn push(runs: &mut Vec<ClusterRun>, run: ClusterRun) {
    match runs.last_mut() {
        Some(last) if last.end() == run.first => last.count += run.count,
        _ => runs.push(run),
    }
}
