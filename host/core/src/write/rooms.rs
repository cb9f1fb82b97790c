//! Room that plugins placed for writes to come. A plugin gives the same room again
//! when asked again, so that entries may be dropped at any time.

use alloc::collections::BTreeMap;
use core::ops::Range;

/// The most rooms that are kept.
const ROOMS_LIMIT: usize = 1 << 16;

/// Rooms by the disk offset at which they begin; they do not overlap.
#[derive(Default)]
pub(super) struct Rooms {
    by_offset: BTreeMap<u64, Room>,
}

/// A run of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// The disk offset at which it ends.
    pub end: u64,
    /// The source it lies in.
    pub source: u32,
    /// The byte offset of its beginning there.
    pub source_offset: u64,
    /// Whether it reads as zeroes.
    pub zeroed: bool,
}

impl Room {
    /// The part of it from `skip` bytes on.
    fn behind(self, skip: u64) -> Self {
        Self { source_offset: self.source_offset + skip, ..self }
    }
}

impl Rooms {
    /// The room from `offset` on.
    pub(super) fn find(&self, offset: u64) -> Option<Room> {
        let (start, room) = self.by_offset.range(..=offset).next_back()?;
        (room.end > offset).then(|| room.behind(offset - start))
    }

    /// Keeps a room that begins at `offset`.
    pub(super) fn insert(&mut self, offset: u64, room: Room) {
        if self.by_offset.len() >= ROOMS_LIMIT {
            self.by_offset.clear();
        }
        self.remove(offset..room.end);
        self.by_offset.insert(offset, room);
    }

    /// Forgets the rooms in `range`.
    pub(super) fn remove(&mut self, range: Range<u64>) {
        while let Some((&start, last)) = self.by_offset.range_mut(..range.end).next_back() {
            if last.end <= range.start {
                return;
            }
            let room = *last;
            let reaches_before = start < range.start;
            if reaches_before {
                last.end = range.start;
            } else {
                self.by_offset.remove(&start);
            }
            if room.end > range.end {
                self.by_offset.insert(range.end, room.behind(range.end - start));
            }
            if reaches_before {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(end: u64, source_offset: u64) -> Room {
        Room { end, source: 0, source_offset, zeroed: true }
    }

    #[test]
    fn a_hole_in_a_room_leaves_both_ends() {
        let mut rooms = Rooms::default();
        rooms.insert(100, room(200, 1000));
        rooms.remove(120..150);
        assert_eq!(rooms.find(100), Some(room(120, 1000)));
        assert_eq!(rooms.find(119), Some(room(120, 1019)));
        assert_eq!(rooms.find(120), None);
        assert_eq!(rooms.find(149), None);
        assert_eq!(rooms.find(150), Some(room(200, 1050)));
        assert_eq!(rooms.find(200), None);
    }

    #[test]
    fn a_room_takes_the_place_of_what_it_overlaps() {
        let mut rooms = Rooms::default();
        for start in [0, 100, 200] {
            rooms.insert(start, room(start + 100, start));
        }
        rooms.insert(50, room(250, 7000));
        assert_eq!(rooms.find(49), Some(room(50, 49)));
        assert_eq!(rooms.find(50), Some(room(250, 7000)));
        assert_eq!(rooms.find(250), Some(room(300, 250)));
    }
}
