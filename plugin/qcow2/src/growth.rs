//! How the file grows, and its reference counts with it: new clusters at the end, new
//! refcount blocks where theirs are counted, and a larger refcount table
//! (specification, "Host cluster management").

use fumehood_plugin::{Error, Result};

use crate::edit;
use crate::geometry::OFFSET_LIMIT;
use crate::header::{REFCOUNT_TABLE_LIMIT, RefcountLocation};
use crate::refcount::{ClusterRun, ENTRY_SIZE, Refcounts};
use crate::space::Space;
use crate::tables::Tables;

/// Bytes of a table that are copied at once.
const COPY_STEP: u64 = 64 << 10;

impl Space {
    /// From one to `wanted` clusters at the end of the file, which read as zeroes,
    /// counted once each.
    ///
    /// # Errors
    /// [`Error::NoSpace`] where the format or the source has no more room.
    pub(crate) fn extend(&mut self, tables: &mut Tables, wanted: u64) -> Result<ClusterRun> {
        let bits = self.geometry.cluster_bits();
        loop {
            if self.end >= (OFFSET_LIMIT >> bits) - wanted {
                return Err(Error::NoSpace);
            }
            let per_block = self.refcounts.clusters_per_block();
            let index = self.end / per_block;
            if index >= self.refcounts.blocks() {
                self.grow_table(tables)?;
                continue;
            }
            let Some(block) = self.refcounts.block(tables, index)? else {
                self.add_block_at_end(tables, index)?;
                continue;
            };
            let room = ClusterRun {
                first: self.end,
                count: wanted.min((index + 1) * per_block - self.end),
            };
            let (used, free) = self.first_free(tables, (index, block), room)?;
            self.end += used;
            if free == 0 {
                continue;
            }
            let run = ClusterRun { first: self.end, count: free };
            self.reach(tables, run.end())?;
            self.refcounts.change(tables, run, &mut |_, _| 1)?;
            self.end = run.end();
            return Ok(run);
        }
    }

    /// `count` clusters in a row at the end of the file, which read as zeroes, counted
    /// once each. Blocks that are missing for them come before them.
    ///
    /// # Errors
    /// As [`Space::extend`].
    pub fn extend_row(&mut self, tables: &mut Tables, count: u64) -> Result<ClusterRun> {
        let per_block = self.refcounts.clusters_per_block();
        loop {
            let first_index = self.end / per_block;
            let start = self.refcounts.block(tables, first_index)?;
            // All blocks but perhaps the first are missing: nothing lies behind the end.
            let (mut blocks, mut all);
            let mut last_index = first_index;
            loop {
                blocks = last_index + 1 - first_index - u64::from(start.is_some());
                all = ClusterRun { first: self.end, count: blocks + count };
                let last = (all.end() - 1) / per_block;
                if last == last_index {
                    break;
                }
                last_index = last;
            }
            if last_index >= self.refcounts.blocks() {
                self.grow_table(tables)?;
                continue;
            }
            let existing = self.count_row(tables, (first_index, start), all)?;
            if existing > 0 {
                self.end += existing;
                continue;
            }
            let first_index = first_index + u64::from(start.is_some());
            self.add_blocks(tables, all, (all.first, first_index..last_index + 1))?;
            self.end = all.end();
            return Ok(ClusterRun { first: all.end() - count, count });
        }
    }

    /// Counts the part of `all` that the block `start` counts, unless a part of that
    /// is counted already: how many clusters are to be passed over then.
    fn count_row(
        &self,
        tables: &mut Tables,
        (index, start): (u64, Option<u64>),
        all: ClusterRun,
    ) -> Result<u64> {
        self.reach(tables, all.end())?;
        let Some(block) = start else { return Ok(0) };
        let room = self.refcounts.clusters_per_block() * (index + 1) - all.first;
        let part = ClusterRun { first: all.first, count: room.min(all.count) };
        let (used, free) = self.first_free(tables, (index, block), part)?;
        if free == part.count {
            self.refcounts.change(tables, part, &mut |_, _| 1)?;
            return Ok(0);
        }
        Ok(used + free)
    }

    /// Writes the blocks with these indices into clusters from `at` on, counting what
    /// they count of `all`, and links them once they are durable.
    fn add_blocks(
        &mut self,
        tables: &mut Tables,
        all: ClusterRun,
        (at, indices): (u64, core::ops::Range<u64>),
    ) -> Result<()> {
        if indices.is_empty() {
            return Ok(());
        }
        for (at, index) in (at..).zip(indices.clone()) {
            self.write_block(tables, index, at, all)?;
        }
        tables.flush()?;
        for (at, index) in (at..).zip(indices) {
            self.refcounts.set_block(tables, index, at << self.geometry.cluster_bits())?;
        }
        Ok(())
    }

    /// A block for the counts of clusters inside the file that has none so far.
    ///
    /// # Errors
    /// As [`Space::extend`].
    pub fn add_block(&mut self, tables: &mut Tables, index: u64) -> Result<()> {
        let run = self.extend(tables, 1)?;
        // What the file grew by may itself have been given this block.
        if self.refcounts.block(tables, index)?.is_some() {
            self.give_back(run);
            return Ok(());
        }
        tables.flush()?;
        self.refcounts.set_block(tables, index, run.first << self.geometry.cluster_bits())
    }

    /// How many clusters at the start of `room` are counted, against all
    /// expectation past the end, and how many behind those are not.
    fn first_free(
        &self,
        tables: &mut Tables,
        (index, block): (u64, u64),
        room: ClusterRun,
    ) -> Result<(u64, u64)> {
        let (mut used, mut free) = (0, 0);
        self.refcounts.for_each(tables, (index, Some(block)), room, &mut |_, count| {
            match (count > 0, free > 0) {
                (true, true) => return false,
                (true, false) => used += 1,
                (false, _) => free += 1,
            }
            true
        })?;
        Ok((used, free))
    }

    /// Makes the file reach to the cluster `end`.
    fn reach(&self, tables: &mut Tables, end: u64) -> Result<()> {
        let size = end << self.geometry.cluster_bits();
        if size > tables.file_size() { tables.resize(size) } else { Ok(()) }
    }

    /// A block at the end of the file, which counts itself. It is on storage before
    /// the table names it: a block that does not count itself is an error.
    fn add_block_at_end(&mut self, tables: &mut Tables, index: u64) -> Result<()> {
        self.reach(tables, self.end + 1)?;
        let own = ClusterRun { first: self.end, count: 1 };
        self.add_blocks(tables, own, (self.end, index..index + 1))?;
        self.end += 1;
        Ok(())
    }

    /// Writes the `index`-th block into the cluster `at`, with the clusters of `used`
    /// that it counts; its offset.
    fn write_block(
        &self,
        tables: &mut Tables,
        index: u64,
        at: u64,
        used: ClusterRun,
    ) -> Result<u64> {
        let offset = at << self.geometry.cluster_bits();
        tables.zero(offset, self.geometry.cluster_size())?;
        let base = index * self.refcounts.clusters_per_block();
        let first = used.first.max(base);
        let end = used.end().min(base + self.refcounts.clusters_per_block());
        let part = ClusterRun { first: first - base, count: end.saturating_sub(first) };
        self.refcounts.change_part(tables, offset, part, &mut |_, _| 1)?;
        Ok(offset)
    }

    /// Moves the refcount table to the end of the file, twice as long, with the blocks
    /// that count it.
    fn grow_table(&mut self, tables: &mut Tables) -> Result<()> {
        let bits = self.geometry.cluster_bits();
        let old = self.refcounts.location();
        let plan = self.plan_table()?;
        self.reach(tables, plan.all.end())?;
        let location =
            RefcountLocation { offset: plan.all.first << bits, length: plan.length, ..old };
        let new = Refcounts::new(location, self.geometry);
        let mut copied = 0;
        while copied < old.length {
            let step = COPY_STEP.min(old.length - copied);
            let bytes = tables.bytes(old.offset + copied, step, "refcount table")?;
            tables.write(location.offset + copied, &bytes)?;
            copied += step;
        }
        tables.zero(location.offset + copied, plan.length - copied)?;
        let first_block = plan.all.first + (plan.length >> bits);
        for (at, index) in (first_block..plan.all.end()).zip(plan.first_index..) {
            let offset = self.write_block(tables, index, at, plan.all)?;
            new.set_block(tables, index, offset)?;
        }
        tables.flush()?;
        edit::set_refcount_table(tables, location, self.geometry)?;
        self.refcounts = new;
        self.fixed.refcount_table = (location.offset, location.length);
        self.end = plan.all.end();
        self.drop_reference(ClusterRun::touched(self.geometry, old.offset, old.length));
        Ok(())
    }

    fn plan_table(&self) -> Result<TablePlan> {
        let bits = self.geometry.cluster_bits();
        let per_block = self.refcounts.clusters_per_block();
        let first_index = self.end / per_block;
        let mut length = self.refcounts.location().length * 2;
        loop {
            if length > REFCOUNT_TABLE_LIMIT {
                return Err(Error::NoSpace);
            }
            let table = length >> bits;
            let mut blocks = 1;
            let mut last_index = (self.end + table + blocks - 1) / per_block;
            while last_index - first_index >= blocks {
                blocks += 1;
                last_index = (self.end + table + blocks - 1) / per_block;
            }
            if last_index < length / ENTRY_SIZE {
                let all = ClusterRun { first: self.end, count: table + blocks };
                return Ok(TablePlan { length, first_index, all });
            }
            length *= 2;
        }
    }
}

/// A larger refcount table, and behind it the blocks that count the two.
struct TablePlan {
    /// Bytes of the table.
    length: u64,
    /// Number of the first block.
    first_index: u64,
    /// The table's clusters and the blocks'.
    all: ClusterRun,
}
