//! Room for writes: blocks that are in place already, sectors of blocks that are in
//! part, and new blocks.

use alloc::vec::Vec;

use fumehood_plugin::{Error, Placement, Result, Stored};

use crate::bat::Payload;
use crate::bitmap;
use crate::layout::MIB;
use crate::store::Store;

/// So many runs of sectors are told of beyond what was asked for.
const RUNS_AHEAD: usize = 64;

/// Builds an answer, joining neighbours.
#[derive(Default)]
struct Answer {
    list: Vec<Placement>,
}

impl Answer {
    fn push(&mut self, next: Placement) {
        if let Some(last) = self.list.last_mut()
            && (last.fresh, last.zeroed) == (next.fresh, next.zeroed)
            && last.stored.offset + last.length == next.stored.offset
        {
            last.length += next.length;
            return;
        }
        self.list.push(next);
    }
}

impl Store {
    /// Room for a write; see [`fumehood_plugin::Disk::place`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::ReadOnly`], [`Error::Corrupt`] at an entry, and
    /// what the source answers.
    pub fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        let end = self.check_range(offset, length)?;
        if length == 0 {
            return Err(Error::OutOfRange);
        }
        self.begin()?;
        let mut answer = Answer::default();
        let mut at = offset;
        while at < end {
            let block = at / self.bat.geometry.block_size;
            let start = self.bat.geometry.block_start(block);
            let length = self.bat.geometry.block_length(block);
            let (room, fresh, zeroed) = match self.payload(block)? {
                Payload::Full(offset) => (offset, false, false),
                Payload::Partial(room) => {
                    self.place_sectors(&mut answer, (block, room), at, end)?;
                    at = start + length;
                    continue;
                }
                before => {
                    let (room, is_new) = self.room(block, before)?;
                    (room, true, is_new)
                }
            };
            let stored = self.stored(room);
            answer.push(Placement { offset: start, length, stored, fresh, zeroed });
            at = start + length;
        }
        Ok(answer.list)
    }

    fn stored(&self, offset: u64) -> Stored {
        Stored { source: self.source.id(), offset, writable: true }
    }

    /// Sectors from `at` on of a block whose bitmap decides: those that are here are
    /// written in place, for the others there is room in the block.
    fn place_sectors(
        &mut self,
        answer: &mut Answer,
        (block, room): (u64, u64),
        at: u64,
        end: u64,
    ) -> Result<()> {
        let geometry = self.bat.geometry;
        let (start, length) = (geometry.block_start(block), geometry.block_length(block));
        let bits = self.bat.needed_bitmap(&mut self.pages, block)?;
        let first = geometry.first_bit(block);
        let last = first + length / geometry.sector;
        let mut bit = first + (at - start) / geometry.sector;
        let known = answer.list.len();
        while bit < last {
            let offset = start + (bit - first) * geometry.sector;
            if offset >= end && answer.list.len() >= known + RUNS_AHEAD {
                break;
            }
            let (here, next) = bitmap::run(&mut self.pages, bits, bit, last)?;
            answer.push(Placement {
                offset,
                length: (next - bit) * geometry.sector,
                stored: self.stored(room + offset - start),
                fresh: !here,
                zeroed: false,
            });
            bit = next;
        }
        Ok(())
    }

    /// The room of a block whose entry says that nothing of it is in this image, and
    /// whether it is new: then it reads as zeroes.
    ///
    /// # Errors
    /// What the source answers.
    pub fn room(&mut self, block: u64, before: Payload) -> Result<(u64, bool)> {
        let writing = self.writing()?;
        if let Some(room) = writing.rooms.get(&block) {
            return Ok((*room, false));
        }
        if self.shows_parent(before) {
            self.prepare_bitmap(block)?;
        }
        let block_size = self.bat.geometry.block_size;
        let room = self.take(block_size)?;
        self.writing()?.rooms.insert(block, room);
        Ok((room, true))
    }

    /// Whether a block in this state shows its parent: then its sectors are linked one
    /// by one.
    pub fn shows_parent(&self, payload: Payload) -> bool {
        payload == Payload::NotPresent && self.metadata.parent.is_some()
    }

    /// New room that reads as zeroes.
    ///
    /// # Errors
    /// What the source answers.
    pub fn take(&mut self, length: u64) -> Result<u64> {
        let Self { source, pages, writing, .. } = self;
        let writing = writing.as_mut().ok_or(Error::ReadOnly)?;
        let room = writing.space.take(&**source, pages, length)?;
        writing.unsettled = true;
        Ok(room)
    }

    /// A bitmap in which no sector of the block is said to be here, durable before the
    /// block is linked: what stood there meant nothing so far.
    fn prepare_bitmap(&mut self, block: u64) -> Result<()> {
        let geometry = self.bat.geometry;
        let index = geometry.bitmap_index(block);
        let linked = self.bat.bitmap(&mut self.pages, block)?;
        let known = linked.or(self.writing()?.bitmap_rooms.get(&index).copied());
        let Some(bits) = known else {
            let room = self.take(MIB)?;
            self.writing()?.bitmap_rooms.insert(index, room);
            return Ok(());
        };
        let first = geometry.first_bit(block);
        self.writing()?.unsettled = true;
        bitmap::clear_now(&mut self.pages, bits, first, first + geometry.block_sectors())
    }
}
