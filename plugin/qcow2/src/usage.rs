//! Which host clusters are in use, by what, and how many times: bitmaps over the
//! file, and counts over a window of it, so that memory stays bounded at any size.

use alloc::vec;
use alloc::vec::Vec;

/// Bytes that the bitmaps together may take.
const MEMORY_LIMIT: u64 = 8 << 20;
/// The most clusters two bitmaps within the limit can tell apart.
pub const CLUSTER_LIMIT: u64 = MEMORY_LIMIT / 2 * 8;
/// Clusters counted at once.
pub const COUNT_WINDOW: u64 = 8 << 20;

struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    fn new(bits: u64) -> Self {
        Self { words: vec![0; bits.div_ceil(64) as usize] }
    }

    fn contains(&self, bit: u64) -> bool {
        let word = usize::try_from(bit / 64).ok().and_then(|index| self.words.get(index));
        word.is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    /// Sets the bit; whether it was clear before. Bits past the end are always clear.
    fn insert(&mut self, bit: u64) -> bool {
        let word = usize::try_from(bit / 64).ok().and_then(|index| self.words.get_mut(index));
        let Some(word) = word else { return true };
        let mask = 1 << (bit % 64);
        let was_clear = *word & mask == 0;
        *word |= mask;
        was_clear
    }
}

/// What uses the clusters of a file.
pub struct Usage {
    /// By metadata, or as a whole by one cluster of the active state.
    exclusive: Bitmap,
    /// By compressed clusters of the active state, which may share it.
    packed: Bitmap,
    /// The first cluster that is counted.
    first: u64,
    counts: Vec<u16>,
}

impl Usage {
    /// Nothing in use yet among `clusters`, the first [`CLUSTER_LIMIT`] of which are
    /// told apart; uses are counted in a window from `first` on.
    pub fn new(clusters: u64, first: u64) -> Self {
        let [exclusive, packed] = [(); 2].map(|()| Bitmap::new(clusters.min(CLUSTER_LIMIT)));
        let counted = clusters.saturating_sub(first).min(COUNT_WINDOW);
        Self { exclusive, packed, first, counts: vec![0; counted as usize] }
    }

    /// Takes a cluster for one use alone; whether that was free to take.
    pub fn take(&mut self, cluster: u64) -> bool {
        self.count(cluster);
        let free = !self.packed.contains(cluster);
        self.exclusive.insert(cluster) && free
    }

    /// Takes part of a cluster for a compressed one; whether it was free for that.
    pub fn pack(&mut self, cluster: u64) -> bool {
        self.count(cluster);
        self.packed.insert(cluster);
        !self.exclusive.contains(cluster)
    }

    /// Counts a use that may share the cluster with any other.
    pub fn count(&mut self, cluster: u64) {
        let index = cluster.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(count) = index.and_then(|index| self.counts.get_mut(index)) {
            *count = count.saturating_add(1);
        }
    }

    /// How many times a cluster is used; `None` outside the window, and for more
    /// times than can be counted.
    pub fn counted(&self, cluster: u64) -> Option<u64> {
        let index = usize::try_from(cluster.checked_sub(self.first)?).ok()?;
        self.counts.get(index).filter(|count| **count < u16::MAX).map(|count| u64::from(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_packed_many_times_and_taken_once() {
        let mut usage = Usage::new(100, 71);
        assert!(usage.take(70) && !usage.take(70) && !usage.pack(70));
        assert!(usage.pack(71) && usage.pack(71) && !usage.take(71));
        usage.count(72);
        assert!(usage.take(72));
        assert_eq!([70, 71, 72, 73].map(|at| usage.counted(at)), [None, Some(3), Some(2), Some(0)]);
        assert_eq!(usage.counted(100), None);
    }
}
