//! What was placed and not linked yet: which part of the disk has which room in the
//! file. Linking is for [`crate::commit`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Room for a cluster of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// A host cluster at this offset.
    Plain(u64),
    /// Part of one or two host clusters, for the cluster in compressed form.
    Encoded {
        /// Offset of the first byte.
        offset: u64,
        /// Length in bytes.
        length: u32,
    },
}

/// A run of clusters whose rooms follow each other; an encoded one stands alone.
#[derive(Debug, Clone, Copy)]
struct RoomRun {
    clusters: u64,
    room: Room,
}

/// The rooms by number of the disk's cluster.
pub struct Rooms {
    runs: BTreeMap<u64, RoomRun>,
    cluster_size: u64,
}

impl Rooms {
    /// None yet, for clusters of this size.
    pub fn new(cluster_size: u64) -> Self {
        Self { runs: BTreeMap::new(), cluster_size }
    }

    /// The room of a cluster, and how many clusters from it on lie in one run.
    pub fn get(&self, cluster: u64) -> Option<(Room, u64)> {
        let (first, run) = self.runs.range(..=cluster).next_back()?;
        let skip = cluster - first;
        (skip < run.clusters).then(|| (self.advance(run.room, skip), run.clusters - skip))
    }

    /// All rooms: (first cluster, clusters, room).
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, Room)> + '_ {
        self.runs.iter().map(|(first, run)| (*first, run.clusters, run.room))
    }

    /// The first cluster from `cluster` on that has a room.
    pub fn next(&self, cluster: u64) -> Option<u64> {
        match self.get(cluster) {
            Some(_) => Some(cluster),
            None => self.runs.range(cluster..).next().map(|(first, _)| *first),
        }
    }

    /// Adds rooms for clusters that have none.
    pub fn insert(&mut self, first: u64, clusters: u64, room: Room) {
        let size = self.cluster_size;
        if let Some((before, run)) = self.runs.range_mut(..first).next_back()
            && before + run.clusters == first
            && let (Room::Plain(earlier), Room::Plain(offset)) = (run.room, room)
            && earlier + run.clusters * size == offset
        {
            run.clusters += clusters;
            return;
        }
        self.runs.insert(first, RoomRun { clusters, room });
    }

    /// Takes out the rooms of `clusters` from `first` on: runs of (clusters, room).
    pub fn remove(&mut self, first: u64, clusters: u64) -> Vec<(u64, Room)> {
        let end = first.saturating_add(clusters);
        let mut removed = Vec::new();
        let mut at = first;
        while let Some(start) = self.next(at).filter(|start| *start < end) {
            let Some((run_first, run)) = self.runs.range(..=start).next_back() else { break };
            let (run_first, run) = (*run_first, *run);
            let run_end = run_first + run.clusters;
            let cut = run_end.min(end);
            self.runs.remove(&run_first);
            if run_first < start {
                let clusters = start - run_first;
                self.runs.insert(run_first, RoomRun { clusters, room: run.room });
            }
            if cut < run_end {
                let room = self.advance(run.room, cut - run_first);
                self.runs.insert(cut, RoomRun { clusters: run_end - cut, room });
            }
            removed.push((cut - start, self.advance(run.room, start - run_first)));
            at = cut;
        }
        removed
    }

    fn advance(&self, room: Room, clusters: u64) -> Room {
        match room {
            Room::Plain(offset) => Room::Plain(offset + clusters * self.cluster_size),
            encoded => encoded,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn runs_are_joined_and_cut() {
        let mut rooms = Rooms::new(512);
        rooms.insert(10, 5, Room::Plain(5120));
        rooms.insert(15, 5, Room::Plain(7680));
        rooms.insert(21, 1, Room::Encoded { offset: 77, length: 5 });
        assert_eq!(rooms.runs.len(), 2);
        assert_eq!(rooms.get(12), Some((Room::Plain(6144), 8)));
        assert_eq!((rooms.get(9), rooms.get(20), rooms.next(0)), (None, None, Some(10)));
        let encoded = Room::Encoded { offset: 77, length: 5 };
        assert_eq!(rooms.remove(13, 10), vec![(7, Room::Plain(6656)), (1, encoded)]);
        assert_eq!(rooms.remove(11, 1), vec![(1, Room::Plain(5632))]);
        assert_eq!(rooms.get(10), Some((Room::Plain(5120), 1)));
        assert_eq!(rooms.get(12), Some((Room::Plain(6144), 1)));
        assert_eq!((rooms.get(11), rooms.get(13), rooms.next(13)), (None, None, None));
    }
}
