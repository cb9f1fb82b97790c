//! Which host clusters are in use, and by what: bitmaps over the file. They say
//! nothing of how many times a cluster is used.

use alloc::vec;
use alloc::vec::Vec;

/// Bytes that all the bitmaps together may take.
const MEMORY_LIMIT: u64 = 24 << 20;
/// The most clusters four bitmaps within the limit can tell apart.
pub const CLUSTER_LIMIT: u64 = MEMORY_LIMIT / 4 * 8;

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
    clusters: u64,
    /// By metadata, or as a whole by one cluster of the active state.
    exclusive: Bitmap,
    /// By compressed clusters of the active state, which may share it.
    packed: Bitmap,
    /// By a snapshot, which may share it with anything but metadata.
    saved: Bitmap,
    /// As an L2 table that a snapshot's walk has been through.
    walked: Bitmap,
}

impl Usage {
    /// Nothing in use yet among `clusters`, at most [`CLUSTER_LIMIT`].
    pub fn new(clusters: u64) -> Self {
        let clusters = clusters.min(CLUSTER_LIMIT);
        let [exclusive, packed, saved, walked] = [(); 4].map(|()| Bitmap::new(clusters));
        Self { clusters, exclusive, packed, saved, walked }
    }

    /// Clusters that are told apart.
    pub fn clusters(&self) -> u64 {
        self.clusters
    }

    /// Takes a cluster for one use alone; whether that was free to take.
    pub fn take(&mut self, cluster: u64) -> bool {
        let free = !self.packed.contains(cluster);
        self.exclusive.insert(cluster) && free
    }

    /// Takes part of a cluster for a compressed one; whether it was free for that.
    pub fn pack(&mut self, cluster: u64) -> bool {
        self.packed.insert(cluster);
        !self.exclusive.contains(cluster)
    }

    /// Notes a snapshot's use.
    pub fn save(&mut self, cluster: u64) {
        self.saved.insert(cluster);
    }

    /// Notes that a snapshot's walk is going through this L2 table; whether it is
    /// the first to do so.
    pub fn walk(&mut self, cluster: u64) -> bool {
        self.saved.insert(cluster);
        self.walked.insert(cluster)
    }

    /// Whether anything uses the cluster.
    pub fn contains(&self, cluster: u64) -> bool {
        [&self.exclusive, &self.packed, &self.saved].iter().any(|bitmap| bitmap.contains(cluster))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_packed_many_times_and_taken_once() {
        let mut usage = Usage::new(100);
        assert!(usage.take(70) && !usage.take(70) && !usage.pack(70));
        assert!(usage.pack(71) && usage.pack(71) && !usage.take(71));
        usage.save(72);
        assert!(usage.take(72));
        assert!(usage.walk(73) && !usage.walk(73));
        assert!((70..=73).all(|cluster| usage.contains(cluster)) && !usage.contains(69));
    }
}
