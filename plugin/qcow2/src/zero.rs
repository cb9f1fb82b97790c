//! Makes parts of the disk read as zeroes, and gives their storage back. Version 3
//! has a flag for that (specification, "Standard Cluster Descriptor" and "Extended L2
//! Entries"); in version 2 a cluster is unallocated where no parent shows through, and
//! filled with zeroes where one does.

use alloc::vec::Vec;

use fumehood_plugin::Result;

use crate::l2::{ALL, Entry, Mapping, Subclusters};
use crate::refcount::ClusterRun;
use crate::state::{State, Window};

/// Clusters with hidden subclusters that are remembered between flushes.
const HIDDEN_LIMIT: usize = 65_536;

/// New L2 tables that are linked together.
const LATER_LIMIT: usize = 1024;

/// What changing entries brought along.
#[derive(Default)]
struct Effects {
    /// References that are gone once the entries are linked.
    dropped: Vec<ClusterRun>,
    /// Host clusters that the entries refer to and that nothing did before.
    taken: Vec<ClusterRun>,
    /// Subclusters that are hidden now, by their host cluster's offset.
    hidden: Vec<(u64, u32)>,
}

/// What is to become of a cluster of the disk.
#[derive(Clone, Copy)]
struct Task {
    /// These of its subclusters are to read as zeroes.
    subclusters: u32,
    /// Storage is given back.
    drop: bool,
}

impl State {
    /// Makes a range of whole granules read as zeroes.
    ///
    /// # Errors
    /// [`fumehood_plugin::Error::NoSpace`], or what the source answers; a part may be done then.
    pub fn zero(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        self.check_granules(offset, length)?;
        self.prepare()?;
        let geometry = self.map.geometry;
        let end = offset + length;
        // Rooms are forgotten by whole clusters; a part of one is placed there again.
        let first = geometry.clusters(offset);
        let last = if end == self.map.disk_size {
            geometry.clusters(end)
        } else {
            end >> geometry.cluster_bits()
        };
        if first < last {
            self.forget_rooms(first, last - first);
        }
        self.zero_range(offset, end, drop)
    }

    /// As [`State::zero`], whatever the disk's size.
    ///
    /// # Errors
    /// The same.
    pub fn zero_range(&mut self, offset: u64, end: u64, drop: bool) -> Result<()> {
        let span = self.map.geometry.table_span();
        let mut later = Vec::new();
        let mut at = offset;
        while at < end {
            let index = at / span;
            let next = end.min((index + 1).saturating_mul(span));
            self.zero_table(index, (at, next), drop, &mut later)?;
            if later.len() >= LATER_LIMIT {
                self.link_later(&mut later)?;
            }
            if self.space.is_crowded() || self.hidden.len() >= HIDDEN_LIMIT {
                self.flush()?;
            }
            at = next;
        }
        self.link_later(&mut later)
    }

    /// Links new tables once they, and their counts, are durable.
    fn link_later(&mut self, later: &mut Vec<(u64, Vec<ClusterRun>)>) -> Result<()> {
        if later.is_empty() {
            return Ok(());
        }
        self.tables.flush()?;
        for (index, dropped) in later.drain(..) {
            self.link_table(index)?;
            dropped.into_iter().for_each(|run| self.space.drop_reference(run));
        }
        Ok(())
    }

    /// Zeroes what one L2 table maps of a range. A table that is new is left to be
    /// linked `later`, with what is dropped then.
    fn zero_table(
        &mut self,
        index: u64,
        (offset, end): (u64, u64),
        drop: bool,
        later: &mut Vec<(u64, Vec<ClusterRun>)>,
    ) -> Result<()> {
        match self.l2_table(index)? {
            None if !self.shows_parent() => return Ok(()),
            Some(table) if table.copied => {}
            _ => self.ensure_table(index)?,
        }
        let bits = self.map.geometry.cluster_bits();
        let mut dropped = Vec::new();
        let mut at = offset;
        while at < end {
            let cluster = at >> bits;
            let window = self.window(cluster, self.map.geometry.clusters(end) - cluster)?;
            let next = end.min((cluster + window.entries.len() as u64) << bits);
            dropped.extend(self.zero_window(&window, (at, next), drop)?);
            at = next;
        }
        if self.fresh_tables.contains_key(&index) {
            later.push((index, dropped));
        } else {
            dropped.into_iter().for_each(|run| self.space.drop_reference(run));
        }
        Ok(())
    }

    /// Whether what is absent here shows the parent's bytes.
    pub fn shows_parent(&self) -> bool {
        self.header.backing_file.is_some()
    }

    /// Changes the entries of `window`; the references that are gone then.
    fn zero_window(
        &mut self,
        window: &Window,
        (offset, end): (u64, u64),
        drop: bool,
    ) -> Result<Vec<ClusterRun>> {
        let mut effects = Effects::default();
        let written = self.write_zeroed(window, (offset, end), drop, &mut effects);
        if let Err(error) = written {
            effects.taken.iter().for_each(|run| self.space.give_back(*run));
            return Err(error);
        }
        for (host, subclusters) in effects.hidden {
            *self.hidden.entry(host).or_default() |= subclusters;
        }
        Ok(effects.dropped)
    }

    fn write_zeroed(
        &mut self,
        window: &Window,
        (offset, end): (u64, u64),
        drop: bool,
        effects: &mut Effects,
    ) -> Result<()> {
        let geometry = self.map.geometry;
        let size = geometry.entry_size();
        let mut changed: Option<(u64, u64)> = None;
        let mut bytes = alloc::vec![0; window.entries.len() * size as usize];
        let mut start = geometry.cluster_start(offset);
        let mut at = window.at;
        // What lies behind the disk's end is nobody's.
        let whole = end == self.map.disk_size;
        let last = if whole { end.next_multiple_of(geometry.cluster_size()) } else { end };
        for (entry, out) in window.entries.iter().zip(bytes.chunks_exact_mut(size as usize)) {
            let from = offset.max(start) - start;
            let to = (last.max(start) - start).min(geometry.cluster_size());
            let task = Task { subclusters: geometry.subclusters_touched(from, to), drop };
            let new = self.zeroed(*entry, window.owns(*entry), task, at, effects)?;
            effects.hidden.extend(self.hidden_by(*entry, new, at));
            self.map.rules.write(new, out);
            if new != *entry {
                changed = Some((changed.map_or(at, |(first, _)| first), at + size));
            }
            at += size;
            start += geometry.cluster_size();
        }
        let Some((first, end)) = changed else { return Ok(()) };
        if !effects.taken.is_empty() {
            // Links are for what is durable.
            self.tables.flush()?;
        }
        let range = (first - window.at) as usize..(end - window.at) as usize;
        self.tables.write(first, bytes.get(range).unwrap_or_default())
    }

    /// What `entry`, which stands at `at`, becomes.
    fn zeroed(
        &mut self,
        entry: Entry,
        own: bool,
        task: Task,
        at: u64,
        effects: &mut Effects,
    ) -> Result<Entry> {
        let mapping = self.map.rules.decode(entry, at)?;
        if task.subclusters == 0 || (mapping == Mapping::Absent && !self.shows_parent()) {
            return Ok(entry);
        }
        if !self.map.rules.has_zero_flag() {
            return self.zeroed_without_flag(entry, mapping, own, task, effects);
        }
        let whole = task.subclusters == ALL;
        let (old, own) = match mapping.subclusters() {
            Some(old) => (old, own),
            None if whole => (Subclusters { host: None, allocated: 0, zero: 0 }, false),
            None => {
                // No entry can say that a part of a compressed cluster is zero.
                let host = self.take_copy(mapping)?;
                effects.taken.push(self.cluster_run(host));
                (Subclusters { host: Some(host), allocated: ALL, zero: 0 }, true)
            }
        };
        let (allocated, zero) = (old.allocated & !task.subclusters, old.zero | task.subclusters);
        // The rest of the cluster may have been placed, even where nothing is in it.
        let kept = allocated != 0 || (own && !(task.drop && whole));
        let host = old.host.filter(|_| kept);
        if mapping.subclusters().is_none() || host.is_none() {
            effects.dropped.extend(self.references(mapping));
        }
        Ok(self.map.rules.entry(Subclusters { host, allocated, zero }, own && host.is_some()))
    }

    /// The host cluster that `old`, which stands at `at`, and `new` have in common, and
    /// what `new` hides of it.
    fn hidden_by(&self, old: Entry, new: Entry, at: u64) -> Option<(u64, u32)> {
        let old = self.map.rules.decode(old, at).ok()?.subclusters()?;
        let new = self.map.rules.decode(new, at).ok()?.subclusters()?;
        let hidden = old.allocated & !new.allocated;
        let host = old.host.filter(|host| new.host == Some(*host))?;
        (hidden != 0).then_some((host, hidden))
    }

    /// As [`State::zeroed`] in version 2, where clusters have no subclusters either.
    fn zeroed_without_flag(
        &mut self,
        entry: Entry,
        mapping: Mapping,
        own: bool,
        task: Task,
        effects: &mut Effects,
    ) -> Result<Entry> {
        let size = self.map.geometry.cluster_size();
        match mapping {
            Mapping::Data(host) if own && (self.shows_parent() || !task.drop) => {
                self.space.fixed.keep_out((host, size), "a data cluster")?;
                let there = self.tables.file_size().saturating_sub(host).min(size);
                self.tables.zero(host, there)?;
                return Ok(entry);
            }
            _ => effects.dropped.extend(self.references(mapping)),
        }
        if !self.shows_parent() {
            return Ok(Entry::ABSENT);
        }
        let host = self.space.take_zeroed(&mut self.tables)?;
        effects.taken.push(self.cluster_run(host));
        let data = Subclusters { host: Some(host), allocated: ALL, zero: 0 };
        Ok(self.map.rules.entry(data, true))
    }
}
