//! Another size of the disk. The header changes in one write; what must be zero
//! behind the new end is so before it grows, and what lies behind it is given back
//! after it shrank.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Access, Error, Result};

use crate::edit;
use crate::l1::{ENTRY_SIZE, SIZE_LIMIT};
use crate::l2::{Entry, Mapping, Subclusters};
use crate::place::carried_over;
use crate::refcount::ClusterRun;
use crate::state::State;

const SECTOR: u64 = 512;
/// Bytes of the L1 table that are copied at once.
const COPY_STEP: u64 = 64 << 10;

impl State {
    /// Makes the disk this long.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what the format cannot do, [`Error::NoSpace`], or
    /// what the source answers.
    pub fn resize(&mut self, size: u64) -> Result<()> {
        if self.access != Access::ReadWrite {
            return Err(Error::ReadOnly);
        }
        if !size.is_multiple_of(SECTOR) {
            return Err(Error::OutOfRange);
        }
        self.prepare()?;
        self.forget_rooms(0, u64::MAX);
        let old = self.map.disk_size;
        if size > old {
            self.grow(old, size)
        } else if size < old {
            self.shrink(old, size)
        } else {
            Ok(())
        }
    }

    fn grow(&mut self, old: u64, size: u64) -> Result<()> {
        let geometry = self.map.geometry;
        let entries = size.div_ceil(geometry.table_span());
        if entries > SIZE_LIMIT / ENTRY_SIZE {
            let what = format!(
                "a disk of {size} bytes in clusters of {} bytes needs {entries} L1 entries, \
                 more than {}",
                geometry.cluster_size(),
                SIZE_LIMIT / ENTRY_SIZE
            );
            return Err(Error::Unsupported(what));
        }
        self.zero_tail(old)?;
        if entries > self.map.l1.entries() {
            self.move_l1(entries)?;
        }
        // A crash while the disk shrank may have left something there.
        self.zero_range(old.next_multiple_of(geometry.granularity()), size, true)?;
        self.tables.flush()?;
        self.record_size(size)
    }

    fn record_size(&mut self, size: u64) -> Result<()> {
        edit::set_disk(&mut self.tables, size, self.map.l1)?;
        self.map.disk_size = size;
        self.header.disk_size = size;
        Ok(())
    }

    /// Moves the L1 table to where it has room for `entries`.
    fn move_l1(&mut self, entries: u64) -> Result<()> {
        let (old, geometry) = (self.map.l1, self.map.geometry);
        let clusters = geometry.clusters(entries * ENTRY_SIZE);
        let run = self.space.extend_row(&mut self.tables, clusters)?;
        let new = old.moved(run.first << geometry.cluster_bits(), entries);
        let mut done = 0;
        while done < old.length() {
            let step = COPY_STEP.min(old.length() - done);
            let bytes = self.tables.bytes(old.offset() + done, step, "L1 table")?;
            self.tables.write(new.offset() + done, &bytes)?;
            done += step;
        }
        let length = clusters << geometry.cluster_bits();
        self.tables.zero(new.offset() + done, length - done)?;
        self.tables.flush()?;
        edit::set_disk(&mut self.tables, self.map.disk_size, new)?;
        self.map.l1 = new;
        self.header.l1 = new;
        self.space.fixed.l1 = (new.offset(), new.length());
        let old = ClusterRun::touched(geometry, old.offset(), old.length());
        self.space.drop_reference(old);
        Ok(())
    }

    /// Zeroes what the granule that the disk ends in holds behind that end.
    fn zero_tail(&mut self, end: u64) -> Result<()> {
        let geometry = self.map.geometry;
        let granule_end = end.next_multiple_of(geometry.granularity());
        if granule_end == end {
            return Ok(());
        }
        let start = geometry.cluster_start(end);
        let window = self.window(start >> geometry.cluster_bits(), 1)?;
        let entry = window.entries.first().copied().unwrap_or(Entry::ABSENT);
        let mapping = self.map.rules.decode(entry, window.at)?;
        let own = window.owns(entry);
        let granule = geometry.subclusters_touched(end - start, granule_end - start);
        let (skip, length) = (end - start, granule_end - end);
        match mapping.subclusters() {
            Some(old) if old.zero & granule == granule => Ok(()),
            Some(old) if old.allocated & granule == 0 && !self.shows_parent() => Ok(()),
            Some(old) if old.allocated & granule == 0 => Err(Error::Unsupported(
                "the disk's last cluster is partly the parent's: write to it, then grow".into(),
            )),
            Some(Subclusters { host: Some(host), .. }) if own => {
                let at = host + skip;
                let there = self.tables.file_size().saturating_sub(at).min(length);
                self.tables.zero(at, there)
            }
            _ => self.zero_shared_tail(start, mapping, (skip, length)),
        }
    }

    /// The same where the cluster at `start` of the disk has to be copied for it.
    fn zero_shared_tail(
        &mut self,
        start: u64,
        old: Mapping,
        (skip, length): (u64, u64),
    ) -> Result<()> {
        let geometry = self.map.geometry;
        let index = start / geometry.table_span();
        self.ensure_table(index)?;
        let host = self.take_copy(old)?;
        self.tables.zero(host + skip, length)?;
        self.tables.flush()?;
        let window = self.window(start >> geometry.cluster_bits(), 1)?;
        let kept = Subclusters { host: Some(host), ..carried_over(old) };
        self.write_entry(window.at, self.map.rules.entry(kept, true))?;
        self.link_table(index)?;
        if let Some(run) = self.references(old) {
            self.space.drop_reference(run);
        }
        Ok(())
    }

    fn shrink(&mut self, old: u64, size: u64) -> Result<()> {
        if !self.snapshots.list.is_empty() {
            let what = "shrinking an image that has internal snapshots";
            return Err(Error::Unsupported(what.into()));
        }
        self.record_size(size)?;
        self.tables.flush()?;
        let geometry = self.map.geometry;
        let span = geometry.table_span();
        let mut at = geometry.clusters(size) << geometry.cluster_bits();
        while at < old {
            let index = at / span;
            let end = (index + 1).saturating_mul(span);
            self.clear_entries(at >> geometry.cluster_bits(), end >> geometry.cluster_bits())?;
            if at.is_multiple_of(span) {
                self.unlink_table(index)?;
            }
            if self.space.is_crowded() {
                self.flush()?;
            }
            at = end;
        }
        Ok(())
    }

    /// Makes the clusters from `at` to `end`, all of one L2 table, absent.
    fn clear_entries(&mut self, mut at: u64, end: u64) -> Result<()> {
        let size = self.map.geometry.entry_size();
        while at < end {
            let window = self.window(at, end - at)?;
            if window.table.is_none() {
                return Ok(());
            }
            let (mut entry_at, mut dropped) = (window.at, Vec::new());
            for entry in &window.entries {
                let mapping = self.map.rules.decode(*entry, entry_at)?;
                dropped.extend(self.references(mapping));
                entry_at += size;
            }
            self.tables.zero(window.at, entry_at - window.at)?;
            dropped.into_iter().for_each(|run| self.space.drop_reference(run));
            at += window.entries.len() as u64;
        }
        Ok(())
    }

    fn unlink_table(&mut self, index: u64) -> Result<()> {
        let (l1, geometry) = (self.map.l1, self.map.geometry);
        if let Some(fresh) = self.fresh_tables.remove(&index) {
            self.space.give_back(self.cluster_run(fresh));
        }
        if let Some(table) = l1.l2_table(&mut self.tables, geometry, index)? {
            l1.set(&mut self.tables, index, None)?;
            self.space.drop_reference(self.cluster_run(table.offset));
        }
        Ok(())
    }
}
