//! Linking what was placed, and making it last.
//!
//! ```text
//!   commit, zero, resize ─▶ changed pages ─▶ write_out:
//!       flush, if links rely on what may not be durable
//!       sector bitmaps ─▶ where they belong     BAT, metadata ─▶ log entry
//!       flush
//!       BAT, metadata ─▶ where they belong      durable with the next flush
//! ```
//!
//! A bit that is set stands for a sector that is durable, and a block that is not
//! linked yet has only clear bits: so bits need no log.

use fumehood_plugin::{Error, Result};

use crate::bat::Payload;
use crate::bitmap;
use crate::layout::Region;
use crate::pages::Kind;
use crate::store::Store;

/// The most changed pages of sector bitmaps: 2 MiB.
const BITMAP_PAGES: usize = 512;
/// Entries that one block changes: its own, and its bitmap's.
const PAGES_A_BLOCK: usize = 2;

impl Store {
    /// Links placed ranges; see [`fumehood_plugin::Disk::commit`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for what was not placed, and what the source answers; the
    /// same ranges may be committed again then.
    pub fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        self.settled()?;
        for &(offset, length) in ranges {
            let end = self.check_granules(offset, length)?;
            let mut at = offset;
            while at < end {
                let block = at / self.bat.geometry.block_size;
                let stop = end.min(self.bat.geometry.block_start(block + 1));
                self.link(block, at, stop)?;
                self.write_out_if_much()?;
                at = stop;
            }
        }
        Ok(())
    }

    /// Links the sectors from `from` to `to`, disk offsets in a block.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn link(&mut self, block: u64, from: u64, to: u64) -> Result<()> {
        let geometry = self.bat.geometry;
        let before = self.payload(block)?;
        let room = match before {
            Payload::Full(_) => return Ok(()),
            Payload::Partial(room) => return self.set_bits((block, room), from, to),
            _ => self.writing()?.rooms.get(&block).copied().ok_or(Error::OutOfRange)?,
        };
        let whole = to - from == geometry.block_length(block);
        if self.shows_parent(before) && !whole {
            let index = geometry.bitmap_index(block);
            if let Some(bits) = self.writing()?.bitmap_rooms.get(&index).copied() {
                self.bat.set_bitmap(&mut self.pages, block, Some(bits))?;
                self.writing()?.bitmap_rooms.remove(&index);
            }
            self.set_payload(block, Payload::Partial(room))?;
            self.set_bits((block, room), from, to)?;
        } else {
            self.set_payload(block, Payload::Full(room))?;
        }
        self.writing()?.rooms.remove(&block);
        Ok(())
    }

    /// Says of sectors that they are here; once all are, the block needs no bitmap.
    fn set_bits(&mut self, (block, room): (u64, u64), from: u64, to: u64) -> Result<()> {
        let geometry = self.bat.geometry;
        let bits = self.bat.needed_bitmap(&mut self.pages, block)?;
        let (start, first) = (geometry.block_start(block), geometry.first_bit(block));
        let bit = |at: u64| first + (at - start) / geometry.sector;
        bitmap::set(&mut self.pages, bits, bit(from), bit(to))?;
        let last = first + geometry.block_length(block) / geometry.sector;
        let run = bitmap::run(&mut self.pages, bits, first, last)?;
        match run == (true, last) {
            true => self.set_payload(block, Payload::Full(room)),
            false => Ok(()),
        }
    }

    /// Writes changes out before they are too many for an entry of the log.
    ///
    /// # Errors
    /// As [`Store::write_out`].
    pub fn write_out_if_much(&mut self) -> Result<()> {
        let capacity = self.writing()?.journal.as_ref().map_or(0, |journal| journal.capacity());
        let is_much = self.pages.count(Kind::Logged) + PAGES_A_BLOCK > capacity
            || self.pages.count(Kind::Direct) >= BITMAP_PAGES;
        if is_much { self.write_out() } else { Ok(()) }
    }

    /// Makes all changes durable.
    ///
    /// # Errors
    /// What the source answers; the changes are still to be written then.
    pub fn write_out(&mut self) -> Result<()> {
        if self.pages.changed() == 0 {
            return Ok(());
        }
        if self.writing()?.unsettled {
            self.settle()?;
        }
        self.pages.apply(Kind::Direct)?;
        let logged = self.pages.count(Kind::Logged);
        let Self { source, pages, writing, .. } = self;
        let writing = writing.as_mut().ok_or(Error::ReadOnly)?;
        let journal = writing.journal.as_mut().ok_or(Error::ReadOnly)?;
        if logged > 0 {
            let sizes = (writing.durable_size, pages.file_size());
            journal.append(pages.changes(Kind::Logged), logged, sizes)?;
            pages.apply(Kind::Logged)?;
            journal.applied();
        } else {
            source.flush()?;
        }
        pages.applied();
        Ok(())
    }

    /// All that was written is durable.
    ///
    /// # Errors
    /// [`Error::ReadOnly`].
    pub fn settled(&mut self) -> Result<()> {
        let size = self.pages.file_size();
        let writing = self.writing()?;
        writing.unsettled = false;
        writing.durable_size = size;
        if let Some(journal) = &mut writing.journal {
            journal.settled();
        }
        Ok(())
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// What the source answers.
    pub fn settle(&mut self) -> Result<()> {
        self.source.flush()?;
        self.settled()
    }

    /// All that was linked survives a crash; see [`fumehood_plugin::Disk::flush`].
    ///
    /// # Errors
    /// What the source answers.
    pub fn flush(&mut self) -> Result<()> {
        if self.writing.is_none() {
            return Ok(());
        }
        self.write_out()?;
        if self.writing()?.unsettled {
            self.settle()?;
        }
        let Self { source, writing, .. } = self;
        if let Some(writing) = writing {
            writing.space.release(&**source);
        }
        Ok(())
    }

    /// Gives the room of a block back.
    ///
    /// # Errors
    /// [`Error::ReadOnly`].
    pub fn give_back(&mut self, offset: u64, length: u64) -> Result<()> {
        self.writing()?.space.give_back(Region { offset, length });
        Ok(())
    }
}
