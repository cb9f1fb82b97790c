//! Which ranges of a disk are being changed: requests that overlap take turns, in
//! the order in which they came.

use alloc::vec::Vec;
use core::ops::Range;

use crate::sync::{Mutex, Waiters};

/// The ranges that are locked or waited for, oldest first.
#[derive(Default)]
pub(crate) struct RangeLocks {
    queue: Mutex<Queue>,
    waiters: Waiters,
}

#[derive(Default)]
struct Queue {
    next_ticket: u64,
    entries: Vec<Entry>,
}

struct Entry {
    ticket: u64,
    range: Range<u64>,
}

impl Queue {
    /// Whether nothing older overlaps the entry with this ticket.
    fn is_first(&self, ticket: u64) -> bool {
        let Some(place) = self.entries.iter().position(|entry| entry.ticket == ticket) else {
            return true;
        };
        let wanted = &self.entries[place].range;
        !self.entries[..place]
            .iter()
            .any(|older| older.range.start < wanted.end && wanted.start < older.range.end)
    }
}

impl RangeLocks {
    /// Waits until no older request overlaps `range`, and holds later ones off.
    pub(crate) fn lock(&self, range: Range<u64>) -> RangeGuard<'_> {
        let mut queue = self.queue.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.entries.push(Entry { ticket, range });
        while !queue.is_first(ticket) {
            queue = self.waiters.wait(&self.queue, queue);
        }
        RangeGuard { locks: self, ticket }
    }
}

/// A locked range; unlocked when dropped.
pub struct RangeGuard<'a> {
    locks: &'a RangeLocks,
    ticket: u64,
}

impl Drop for RangeGuard<'_> {
    fn drop(&mut self) {
        let mut queue = self.locks.queue.lock();
        queue.entries.retain(|entry| entry.ticket != self.ticket);
        if !queue.entries.is_empty() {
            self.locks.waiters.wake_all();
        }
    }
}
