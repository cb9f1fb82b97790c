//! The second half of a check: what was counted while walking, against the counts on
//! disk and against the flags that say that a count is exactly one.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Finding, Result};

use crate::check::{Checker, Walk};
use crate::l1::{L1Table, L2Table};
use crate::l2::Entry;
use crate::refcount::ClusterRun;
use crate::usage::COUNT_WINDOW;

/// A cluster whose count is wrong.
struct Difference {
    cluster: u64,
    stored: u64,
    used: u64,
}

/// Clusters that are compared at once.
const PART: u64 = 65_536;

impl Checker<'_> {
    /// Compares the window of counts that begins at the cluster `first`.
    pub(crate) fn compare_window(&mut self, first: u64) -> Result<()> {
        let count = (self.ledger.clusters() - first).min(COUNT_WINDOW);
        let window = ClusterRun { first, count };
        let per_block = self.state.space.refcounts.clusters_per_block();
        let mut leaked = 0;
        let mut at = first;
        while at < window.end() {
            if !self.ledger.complete() {
                return Ok(());
            }
            let index = at / per_block;
            let end = window.end().min((index + 1) * per_block).min(at + PART);
            self.compare_part(index, ClusterRun { first: at, count: end - at }, &mut leaked)?;
            at = end;
        }
        if leaked > 0 {
            let what = format!("{leaked} clusters are counted as used but nothing refers to them");
            self.ledger.add(Finding { offset: 0, what, repaired: self.repair });
        }
        self.walk_l1(self.state.header.l1, Walk::Flags)
    }

    /// Compares `part`, all of which the `index`-th block counts.
    fn compare_part(&mut self, index: u64, part: ClusterRun, leaked: &mut u64) -> Result<()> {
        let refcounts = self.state.space.refcounts;
        // A block that is no cluster of the file is a finding already.
        let block = refcounts.block(&mut self.state.tables, index).unwrap_or(None);
        let mut differences = Vec::new();
        let (tables, usage) = (&mut self.state.tables, &self.ledger.usage);
        let walked = refcounts.for_each(tables, (index, block), part, &mut |cluster, stored| {
            if let Some(used) = usage.counted(cluster).filter(|used| *used != stored) {
                differences.push(Difference { cluster, stored, used });
            }
            true
        });
        self.ledger.noted(0, walked)?;
        for difference in &differences {
            self.report(difference, leaked);
        }
        if !self.repair || differences.is_empty() {
            return Ok(());
        }
        if block.is_none() {
            self.state.space.add_block(&mut self.state.tables, index)?;
        }
        self.put_right(&differences)
    }

    fn report(&mut self, difference: &Difference, leaked: &mut u64) {
        let Difference { cluster, stored, used } = *difference;
        if used == 0 {
            *leaked += 1;
            return;
        }
        let at = cluster << self.geometry.cluster_bits();
        let what = if stored == 0 {
            format!("the cluster at file offset {at} is used but counted as free")
        } else {
            format!("the cluster at file offset {at} is used {used} times and counted {stored}")
        };
        let repaired = self.repair && used <= self.state.space.refcounts.most();
        self.ledger.add(Finding { offset: 0, what, repaired });
    }

    /// Writes what was counted over the differences, a row of clusters at once.
    fn put_right(&mut self, differences: &[Difference]) -> Result<()> {
        let refcounts = self.state.space.refcounts;
        let mut rest = differences;
        while let Some(start) = rest.first() {
            let row = rest.iter().zip(start.cluster..);
            let count = row.take_while(|(next, expected)| next.cluster == *expected).count();
            let (row, after) = rest.split_at(count);
            let run = ClusterRun { first: start.cluster, count: count as u64 };
            refcounts.change(&mut self.state.tables, run, &mut |cluster, stored| {
                let difference = row.get((cluster - run.first) as usize);
                difference.map_or(stored, |found| found.used.min(refcounts.most()))
            })?;
            rest = after;
        }
        Ok(())
    }

    /// Whether the L1 entry at `index` says rightly that its table is its own.
    pub(crate) fn check_table_flag(
        &mut self,
        l1: L1Table,
        index: u64,
        table: L2Table,
    ) -> Result<()> {
        let used = self.ledger.usage.counted(table.offset >> self.geometry.cluster_bits());
        let Some(used) = used.filter(|used| (*used == 1) != table.copied) else { return Ok(()) };
        if self.repair {
            l1.set_flag(&mut self.state.tables, index, table.offset, used == 1)?;
        }
        let what = format!("the L2 table at file offset {} has a wrong flag", table.offset);
        let offset = index.saturating_mul(self.geometry.table_span());
        self.ledger.add(Finding { offset, what, repaired: self.repair });
        Ok(())
    }

    /// Whether the L2 entry at `at` says rightly that its host cluster is its own.
    pub(crate) fn check_entry_flag(
        &mut self,
        entry: Entry,
        host: u64,
        (guest, at): (u64, u64),
    ) -> Result<()> {
        let used = self.ledger.usage.counted(host >> self.geometry.cluster_bits());
        let Some(used) = used.filter(|used| (*used == 1) != entry.copied()) else { return Ok(()) };
        if self.repair {
            self.state.write_entry(at, entry.with_copied(used == 1))?;
        }
        let what = format!("the data cluster at file offset {host} has a wrong flag");
        self.ledger.add(Finding { offset: guest, what, repaired: self.repair });
        Ok(())
    }
}
