//! Memory for reads that are being decoded or wait to be sent, for all connections of a
//! server together.
//!
//! A client that does not take its replies keeps their memory, so nobody may ever have
//! to wait for another's: what is left is given out, and who gets none goes on within
//! the little that each connection has of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What each connection may use beside the shared memory, one buffer at a time.
pub(super) const OWN: usize = 1 << 20;
/// The most bytes of buffers that are kept for later.
const SPARE_LIMIT: usize = 16 << 20;

/// The memory that connections share.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    spare: Vec<Vec<u8>>,
    spare_bytes: usize,
}

/// Room for a piece of a read, given back when dropped.
///
/// Its bytes come when they are first asked for. A piece that waits to be decoded has
/// none, so a few buffers go round, and stay in the processor's cache from decoding to
/// sending.
#[derive(Debug)]
pub(super) struct Buffer {
    length: usize,
    bytes: Vec<u8>,
    taken: usize,
    memory: Arc<Memory>,
}

impl Memory {
    /// Memory of which all connections together take at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// A buffer out of the shared memory, with whatever in it, if there is enough left.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Option<Buffer> {
        let mut state = self.state();
        let taken = state.taken.checked_add(length).filter(|taken| *taken <= self.limit)?;
        state.taken = taken;
        drop(state);
        Some(self.buffer(length, length))
    }

    /// A buffer of at most [`OWN`] bytes beside it. A connection has one at a time.
    pub(super) fn own(self: &Arc<Self>, length: usize) -> Buffer {
        self.buffer(length.min(OWN), 0)
    }

    /// How much of the shared memory is taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.state().taken
    }

    fn buffer(self: &Arc<Self>, length: usize, taken: usize) -> Buffer {
        Buffer { length, bytes: Vec::new(), taken, memory: Arc::clone(self) }
    }

    /// The bytes that were given back last, which the processor's cache most likely has.
    fn spare(&self) -> Vec<u8> {
        let mut state = self.state();
        let bytes = state.spare.pop().unwrap_or_default();
        state.spare_bytes = state.spare_bytes.saturating_sub(bytes.capacity());
        bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// How many bytes there are.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// All bytes, with whatever in them.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        if self.bytes.len() != self.length {
            self.bytes = self.memory.spare();
            self.bytes.resize(self.length, 0);
        }
        &mut self.bytes
    }

    /// The first `length` bytes, or all if there are fewer.
    pub(super) fn part(&mut self, length: u64) -> &mut [u8] {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.length);
        self.bytes().get_mut(..length).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.memory.state();
        state.taken = state.taken.saturating_sub(self.taken);
        // A longer one would be more than whoever gets it next has asked for.
        let kept = state.spare_bytes.saturating_add(bytes.capacity());
        if (1..=OWN).contains(&bytes.capacity()) && kept <= SPARE_LIMIT {
            state.spare_bytes = kept;
            state.spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_given_than_there_is_and_all_comes_back() {
        let memory = Arc::new(Memory::new(100));
        let first = memory.take(60).unwrap();
        assert!(memory.take(41).is_none());
        assert!(memory.take(usize::MAX).is_none());
        let second = memory.take(40).unwrap();
        assert_eq!((first.length(), second.length(), memory.taken()), (60, 40, 100));
        assert_eq!(memory.own(7).bytes().len(), 7);
        assert_eq!(memory.own(OWN + 1).bytes().len(), OWN);
        assert_eq!(memory.taken(), 100);
        drop(first);
        assert_eq!(memory.taken(), 40);
        drop(second);
        assert_eq!(memory.taken(), 0);
    }

    #[test]
    fn few_buffers_are_kept_and_no_long_one() {
        let memory = Arc::new(Memory::new(usize::MAX));
        let used = |length| memory.take(length).inspect(|buffer| assert!(buffer.bytes.is_empty()));
        let filled = |mut buffer: Buffer| {
            buffer.bytes().fill(1);
            buffer
        };
        drop(used(OWN + 1).map(filled));
        assert_eq!(memory.state().spare.len(), 0);
        let buffers: Vec<_> = (0..100).filter_map(|_| used(OWN).map(filled)).collect();
        assert_eq!(buffers.len(), 100);
        drop(buffers);
        assert_eq!(memory.state().spare_bytes, SPARE_LIMIT);
        assert_eq!(memory.state().spare.len(), SPARE_LIMIT / OWN);
        let waiting = memory.own(5);
        assert_eq!(memory.state().spare_bytes, SPARE_LIMIT, "one that waits has no bytes");
        let again = filled(waiting);
        assert_eq!(memory.state().spare_bytes, SPARE_LIMIT - OWN);
        drop(again);
        assert_eq!(memory.state().spare_bytes, SPARE_LIMIT);
    }
}
