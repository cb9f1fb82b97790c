//! What makes writes last: commit, flush, zeroing, and changes of size and parent.

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Recent;
use crate::contract::format as wit;
use crate::disk::{Disk, Layer};
use crate::error::{Error, Result};

/// So many runs above the cache take some 20 MiB; committing them holds a writer up for
/// as long as their bytes take to storage.
const RUNS_LIMIT: usize = 1 << 18;
/// Plugins keep a note of every granule that is placed and not committed, in their
/// own small memory.
const PENDING_GRANULES_LIMIT: u64 = 1 << 18;
/// Ranges of one call of `commit`.
const COMMIT_LIMIT: usize = 1 << 15;
/// Bytes of the disk of one call of `zero`: a plugin may have to touch its tables
/// for all of them within the time of one call.
const ZERO_LIMIT: u64 = 4 << 30;

/// Counts flushes, so that those who wait for one need not do another.
#[derive(Default)]
pub(super) struct Flushes {
    started: AtomicU64,
    /// The number of the last one that succeeded.
    completed: AtomicU64,
}

impl Disk {
    /// Everything written so far survives a crash from here on.
    ///
    /// # Errors
    /// What sources and plugins answered; nothing of it then counts as durable.
    pub fn flush(&self) -> Result<()> {
        match self.check_writable() {
            Err(Error::ReadOnly) => return Ok(()),
            other => other?,
        }
        let flushes = &self.writing.flushes;
        let before = flushes.started.load(Ordering::SeqCst);
        let _structure = self.writing.structure.lock();
        if flushes.completed.load(Ordering::SeqCst) > before {
            // One that began after this call has done it all.
            return Ok(());
        }
        let number = flushes.started.fetch_add(1, Ordering::SeqCst) + 1;
        self.commit_pending()?;
        self.call_top(|disk, store, this| disk.call_flush(store, this))?;
        flushes.completed.store(number, Ordering::SeqCst);
        Ok(())
    }

    /// Links what was placed and written, once it is durable.
    ///
    /// # Errors
    /// What sources and plugins answered; what was not linked is pending still.
    pub fn commit(&self) -> Result<()> {
        let _structure = self.writing.structure.lock();
        self.commit_pending()
    }

    /// Whether enough is pending for an embedder to call [`Disk::commit`] on a thread of
    /// its own, while writers go on. Where none does, the writer that finds twice as much
    /// commits it, and waits for storage.
    pub fn wants_commit(&self) -> bool {
        self.writing.wants_commit.load(Ordering::Relaxed)
    }

    /// Notes how much is above the cache; answers whether it is too much to be kept there.
    pub(super) fn note_backlog(&self, recent: &Recent) -> bool {
        let granules = recent.pending_bytes() / u64::from(self.info().granularity);
        let exceeds = |share| {
            recent.len() >= RUNS_LIMIT / share as usize
                || granules >= PENDING_GRANULES_LIMIT / share
        };
        self.writing.wants_commit.store(exceeds(2), Ordering::Relaxed);
        exceeds(1)
    }

    /// Makes all payload durable, then links what is pending. To be called with the
    /// lock of the structure held.
    fn commit_pending(&self) -> Result<()> {
        // The batch first: what is written after it was taken may not be durable.
        let batch = self.writing.state.read().recent.pending();
        self.top().flush_sources()?;
        for ranges in batch.chunks(COMMIT_LIMIT) {
            // What the plugin wrote for room given meanwhile, and for the links before
            // these, is durable too when it links: little by now, and no more comes.
            let _placing = self.writing.placing.lock();
            self.top().flush_sources()?;
            self.call_top(|disk, store, this| disk.call_commit(store, this, ranges))?;
            self.writing.state.write().recent.committed(ranges);
        }
        self.shrink_recent();
        self.note_backlog(&self.writing.state.read().recent);
        Ok(())
    }

    /// Lets the cache learn anew what stood above it, where that is much.
    pub(super) fn shrink_recent(&self) {
        if self.writing.state.read().recent.len() < RUNS_LIMIT / 2 {
            return;
        }
        let mut state = self.writing.state.write();
        self.writing.generation.fetch_add(1, Ordering::Release);
        for range in state.recent.drain_committed() {
            self.cache.forget(range.start, range.end - range.start);
        }
    }

    /// The whole granules within `range`; the last one ends with the disk. Empty
    /// where there is none.
    pub fn granules_within(&self, range: Range<u64>) -> Range<u64> {
        let granularity = u64::from(self.info().granularity);
        let start = range.start.next_multiple_of(granularity);
        let end = match range.end {
            end if end == self.size() => end,
            end => end / granularity * granularity,
        };
        start..end.max(start)
    }

    /// Makes whole granules ([`Disk::granules_within`]) read as zeroes; with `drop`,
    /// their storage is given back.
    ///
    /// # Errors
    /// [`crate::Error::ReadOnly`], [`crate::Error::OutOfRange`], and what the plugin
    /// answered; a part may read as zeroes then.
    pub fn zero(&self, range: Range<u64>, drop: bool) -> Result<()> {
        self.check_writable()?;
        let _range = self.writing.locks.lock(range.clone());
        self.check_writable()?;
        self.check_range(range.start, range.end - range.start)?;
        let _structure = self.writing.structure.lock();
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min((at / ZERO_LIMIT + 1) * ZERO_LIMIT);
            let placing = self.writing.placing.lock();
            self.call_top(|disk, store, this| disk.call_zero(store, this, at, end - at, drop))?;
            let mut state = self.writing.state.write();
            state.rooms.remove(at..end);
            state.recent.insert(at..end, super::Content::Zero, false);
            core::mem::drop((state, placing));
            self.shrink_recent();
            at = end;
        }
        Ok(())
    }

    /// Grows the disk, or shrinks it. Answers the range behind the old end in which
    /// parents hold something that was never on this disk: the embedder zeroes it.
    ///
    /// # Errors
    /// [`crate::Error::ReadOnly`], and what the plugin answered.
    pub fn resize(&self, size: u64) -> Result<Range<u64>> {
        self.check_writable()?;
        let _writes = self.hold_writes();
        self.check_writable()?;
        let _structure = self.writing.structure.lock();
        self.commit_pending()?;
        self.call_top(|disk, store, this| disk.call_resize(store, this, size))?;
        let old = self.set_size(size);
        let mut state = self.writing.state.write();
        // The plugin has given back all room that was not used.
        state.rooms.remove(0..u64::MAX);
        self.writing.generation.fetch_add(1, Ordering::Release);
        state.recent.remove(old.min(size)..u64::MAX);
        self.cache.forget_from(old.min(size));
        let parents = self.layers().iter().skip(1).map(Layer::size);
        Ok(old..parents.max().unwrap_or(0).min(size).max(old))
    }

    /// Records another parent, or none, in the top image. The chain of this disk
    /// stays as it is.
    ///
    /// # Errors
    /// [`crate::Error::ReadOnly`], and what the plugin answered.
    pub fn rebase(&self, parent: Option<wit::Parent>) -> Result<()> {
        self.check_writable()?;
        let _structure = self.writing.structure.lock();
        self.call_top(|disk, store, this| disk.call_rebase(store, this, parent.as_ref()))
    }

    /// Lets the plugin look for contradictions and mend those that it can without
    /// losing anything.
    ///
    /// # Errors
    /// [`crate::Error::ReadOnly`], and what the plugin answered.
    pub fn repair(&self) -> Result<Vec<wit::Finding>> {
        let _writes = self.hold_writes();
        self.check_writable()?;
        let _structure = self.writing.structure.lock();
        self.commit_pending()?;
        let findings = self.call_top(|disk, store, this| disk.call_check(store, this, true));
        let mut state = self.writing.state.write();
        state.rooms.remove(0..u64::MAX);
        self.writing.generation.fetch_add(1, Ordering::Release);
        state.recent.remove(0..u64::MAX);
        self.cache.forget_from(0);
        findings
    }

    /// Ranges that are not committed yet, for tests and for an embedder that shows
    /// them.
    pub fn pending(&self) -> Vec<wit::Range> {
        self.writing.state.read().recent.pending()
    }
}
