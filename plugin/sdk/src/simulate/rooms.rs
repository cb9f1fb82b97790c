//! What the host remembers of rooms that [`crate::Disk::place`] gave it, granule by
//! granule.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::extent::{Placement, Stored};

/// What has become of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The host dropped it from its table; the plugin must give the same again.
    Forgotten,
    /// Known and unused.
    Known,
    /// Holds bytes that are to be committed.
    Pending,
}

/// The room of one granule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub stored: Stored,
    pub zeroed: bool,
    pub state: State,
}

/// Rooms that were placed and not committed.
#[derive(Debug)]
pub(super) struct Rooms {
    granularity: u64,
    rooms: BTreeMap<u64, Room>,
    /// Which granule has the room at (source, offset).
    owners: BTreeMap<(u32, u64), u64>,
}

impl Rooms {
    pub fn new(granularity: u64) -> Self {
        Self { granularity, rooms: BTreeMap::new(), owners: BTreeMap::new() }
    }

    /// The room at `offset` of the disk, if the host knows one.
    pub fn at(&self, offset: u64) -> Option<Room> {
        let room = self.rooms.get(&(offset / self.granularity)).copied();
        room.filter(|room| room.state != State::Forgotten)
    }

    /// Where on the disk the first room from `offset` on begins that is in one of
    /// `states`.
    pub fn next(&self, offset: u64, states: &[State]) -> Option<u64> {
        let mut rooms = self.rooms.range(offset / self.granularity..);
        let found = rooms.find(|(_, room)| states.contains(&room.state));
        found.map(|(granule, _)| granule * self.granularity)
    }

    /// Marks the room at `offset` as holding bytes to commit.
    pub fn use_at(&mut self, offset: u64) {
        if let Some(room) = self.rooms.get_mut(&(offset / self.granularity)) {
            room.state = State::Pending;
            room.zeroed = false;
        }
    }

    /// Takes up a fresh placement, whose rooms may be new or given before.
    pub fn take_up(&mut self, placement: &Placement) -> Result<(), String> {
        let first = placement.offset / self.granularity;
        let count = placement.length.div_ceil(self.granularity);
        for number in 0..count {
            let offset = placement.stored.offset + number * self.granularity;
            let stored = Stored { offset, ..placement.stored };
            self.take_up_granule(first + number, stored, placement.zeroed)?;
        }
        Ok(())
    }

    fn take_up_granule(
        &mut self,
        granule: u64,
        stored: Stored,
        zeroed: bool,
    ) -> Result<(), String> {
        let offset = granule * self.granularity;
        if let Some(room) = self.rooms.get_mut(&granule) {
            let (old, new) = (room.stored, stored);
            if (old.source, old.offset) != (new.source, new.offset) || zeroed {
                return Err(format!(
                    "disk offset {offset} was placed at {old:?} and not committed; \
                     asked again: {new:?}, zeroed: {zeroed}"
                ));
            }
            if room.state == State::Forgotten {
                room.state = State::Known;
            }
            return Ok(());
        }
        self.check_alone(offset, stored)?;
        self.owners.insert((stored.source, stored.offset), granule);
        self.rooms.insert(granule, Room { stored, zeroed, state: State::Known });
        Ok(())
    }

    /// That no other room overlaps this one.
    fn check_alone(&self, offset: u64, stored: Stored) -> Result<(), String> {
        let first = stored.offset.saturating_sub(self.granularity - 1);
        let end = stored.offset.saturating_add(self.granularity);
        let around = (stored.source, first)..(stored.source, end);
        match self.owners.range(around).next() {
            Some(((_, at), granule)) => Err(format!(
                "the room of disk offset {offset} at {} overlaps that of {} at {at}",
                stored.offset,
                granule * self.granularity
            )),
            None => Ok(()),
        }
    }

    /// Forgets the rooms of a range for good: it was committed or zeroed.
    pub fn release(&mut self, offset: u64, length: u64) {
        let granules = offset / self.granularity..(offset + length).div_ceil(self.granularity);
        for granule in granules {
            if let Some(room) = self.rooms.remove(&granule) {
                self.owners.remove(&(room.stored.source, room.stored.offset));
            }
        }
    }

    /// Drops what is known and unused from the host's table.
    pub fn forget_unused(&mut self) {
        for room in self.rooms.values_mut().filter(|room| room.state == State::Known) {
            room.state = State::Forgotten;
        }
    }

    /// The pending ranges in order, joined, none past `disk_size`.
    pub fn pending(&self, disk_size: u64) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let pending = self.rooms.iter().filter(|(_, room)| room.state == State::Pending);
        for (granule, _) in pending {
            let offset = granule * self.granularity;
            let length = self.granularity.min(disk_size.saturating_sub(offset));
            match ranges.last_mut() {
                Some((start, so_far)) if *start + *so_far == offset => *so_far += length,
                _ => ranges.push((offset, length)),
            }
        }
        ranges
    }
}
