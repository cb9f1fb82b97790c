//! Placing, committing and zeroing in dynamic and differencing images. The order in
//! which things become durable is told at the top of the crate.
//!
//! XenServer keeps a map of blocks whose bits are all set behind the table. It stays
//! true without being touched: bits are only ever set, and a block that is unlinked
//! comes back with all of them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use fumehood_plugin::{Error, Placement, Result, Stored};

use crate::bitmap::Bitmap;
use crate::geometry::SECTOR;
use crate::sparse::Sparse;

/// So many blocks are remembered as prepared.
const PREPARED_LIMIT: usize = 1 << 16;

/// An answer reaches past what was asked for up to so many placements.
const PLACEMENT_LIMIT: usize = 1024;

/// Part of a block: which, its place in the file, and sectors of it.
struct Part {
    block: u64,
    place: u64,
    sectors: Range<u64>,
}

/// Links to write: blocks and their places, or none.
type Links = BTreeMap<u64, Option<u64>>;

impl Sparse {
    /// Room for a write: whole blocks, or in a differencing image the sectors up to
    /// the last block's end.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::NoSpace`], [`Error::Corrupt`], or what the
    /// source answers.
    pub fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        let blocks = self.blocks(offset, length)?;
        let mut placements = Vec::new();
        for block in blocks {
            match self.linked(block)? {
                Some(place) if self.sectorwise => {
                    let range = offset..offset + length;
                    self.place_sectors(block, place, range, &mut placements)?;
                }
                Some(place) => {
                    self.prepare(block, place)?;
                    placements.push(self.placement(block, place, None));
                }
                None => {
                    let (place, new) = self.room(block)?;
                    placements.push(self.placement(block, place, Some(new)));
                }
            }
        }
        Ok(placements)
    }

    /// Blocks that a range touches.
    fn blocks(&self, offset: u64, length: u64) -> Result<Range<u64>> {
        let end = offset.checked_add(length).filter(|end| *end <= self.disk_size && length > 0);
        let end = end.ok_or(Error::OutOfRange)?;
        Ok(offset / self.shape.size..end.div_ceil(self.shape.size))
    }

    /// All of a block: new room, room given before, or what is linked.
    fn placement(&self, block: u64, place: u64, new: Option<bool>) -> Placement {
        let (start, end) = self.block_range(block);
        let offset = place + self.shape.bitmap;
        Placement {
            offset: start,
            length: end - start,
            stored: Stored { source: self.main.id(), offset, writable: true },
            fresh: new.is_some(),
            zeroed: new == Some(true),
        }
    }

    /// The runs of a linked block from `range` on: there already, or room.
    fn place_sectors(
        &mut self,
        block: u64,
        place: u64,
        range: Range<u64>,
        placements: &mut Vec<Placement>,
    ) -> Result<()> {
        let whole = self.placement(block, place, None);
        let bitmap = self.bitmaps.get(&*self.main, place)?;
        let sectors = whole.length.div_ceil(SECTOR);
        let mut sector = range.start.saturating_sub(whole.offset) / SECTOR;
        while sector < sectors {
            let next = bitmap.run_end(sector, sectors);
            let skip = sector * SECTOR;
            if whole.offset + skip >= range.end && placements.len() >= PLACEMENT_LIMIT {
                break;
            }
            let length = (next * SECTOR).min(whole.length) - skip;
            let stored = Stored { offset: whole.stored.offset + skip, ..whole.stored };
            let fresh = !bitmap.has(sector);
            let offset = whole.offset + skip;
            placements.push(Placement { offset, length, stored, fresh, zeroed: false });
            sector = next;
        }
        Ok(())
    }

    /// The room of a block that is not linked, and whether it is new.
    fn room(&mut self, block: u64) -> Result<(u64, bool)> {
        if let Some(place) = self.placed.get(&block) {
            return Ok((*place, false));
        }
        let place = self.space.block(&*self.main, &self.footer, self.shape)?;
        let bitmap = Bitmap::filled(self.shape.bitmap, !self.sectorwise);
        if let Err(error) = self.bitmaps.put(&*self.main, place, bitmap) {
            self.space.give_back(place);
            return Err(error);
        }
        self.placed.insert(block, place);
        Ok((place, true))
    }

    /// Sets all bits of a dynamic disk's block before the host writes to it: some
    /// writers leave bits of zeroes clear, and some readers ask.
    fn prepare(&mut self, block: u64, place: u64) -> Result<()> {
        if self.prepared.contains(&block) {
            return Ok(());
        }
        let full = Bitmap::filled(self.shape.bitmap, true);
        if self.bitmaps.get(&*self.main, place)? != full {
            self.bitmaps.put(&*self.main, place, full)?;
        }
        if self.prepared.len() >= PREPARED_LIMIT {
            self.prepared.clear();
        }
        self.prepared.insert(block);
        Ok(())
    }

    /// Links placed ranges.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for what was not placed, or what the source answers;
    /// what failed can be tried again.
    pub fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        let mut links = Links::new();
        let parts = self.parts(ranges, &mut links)?;
        self.dirty = true;
        if self.sectorwise {
            self.set_bits(parts)?;
        }
        self.bat.set(&*self.main, &links)?;
        for block in links.keys() {
            self.placed.remove(block);
        }
        if !self.sectorwise && self.prepared.len() + links.len() <= PREPARED_LIMIT {
            self.prepared.extend(links.keys());
        }
        Ok(())
    }

    /// The parts of blocks in `ranges`; those not linked yet are added to `links`.
    fn parts(&mut self, ranges: &[(u64, u64)], links: &mut Links) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for (offset, length) in ranges {
            self.check_granules(*offset, *length)?;
            for block in self.blocks(*offset, *length)? {
                let place = match self.placed.get(&block).copied() {
                    Some(place) => {
                        links.insert(block, Some(place));
                        place
                    }
                    None => self.linked(block)?.ok_or(Error::OutOfRange)?,
                };
                let (start, end) = self.block_range(block);
                let from = (*offset).max(start) - start;
                let to = (offset + length).min(end) - start;
                parts.push(Part { block, place, sectors: from / SECTOR..to.div_ceil(SECTOR) });
            }
        }
        Ok(parts)
    }

    fn check_granules(&self, offset: u64, length: u64) -> Result<()> {
        let granularity = if self.sectorwise { SECTOR } else { self.shape.size };
        let end = offset.checked_add(length).ok_or(Error::OutOfRange)?;
        let whole = end.is_multiple_of(granularity) || end == self.disk_size;
        if offset.is_multiple_of(granularity) && whole { Ok(()) } else { Err(Error::OutOfRange) }
    }

    /// Sets the bits of `parts`, with one write for each run of parts of one block.
    fn set_bits(&mut self, parts: Vec<Part>) -> Result<()> {
        for parts in parts.chunk_by(|one, other| one.block == other.block) {
            let Some(place) = parts.first().map(|part| part.place) else { continue };
            let mut bitmap = self.bitmaps.get(&*self.main, place)?;
            let before = bitmap.clone();
            for part in parts {
                bitmap.set(part.sectors.start, part.sectors.end);
            }
            if bitmap != before {
                self.bitmaps.put(&*self.main, place, bitmap)?;
            }
        }
        Ok(())
    }

    /// Makes a range read as zeroes.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::NoSpace`], [`Error::Corrupt`], or what the
    /// source answers; what failed can be tried again.
    pub fn zero(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        self.check_granules(offset, length)?;
        let blocks = self.blocks(offset, length)?;
        self.dirty = true;
        if self.sectorwise {
            self.zero_sectors(blocks, (offset, offset + length), drop)
        } else {
            self.zero_blocks(blocks, drop)
        }
    }

    /// Whole blocks of a disk without a parent: unlinked with `drop`.
    fn zero_blocks(&mut self, blocks: Range<u64>, drop: bool) -> Result<()> {
        let mut links = Links::new();
        let mut dropped = Vec::new();
        for block in blocks.clone() {
            match self.linked(block)? {
                Some(place) if drop => {
                    links.insert(block, None);
                    dropped.push(place);
                }
                Some(place) => self.main.zero(place + self.shape.bitmap, self.shape.size)?,
                None => {}
            }
        }
        self.bat.set(&*self.main, &links)?;
        dropped.into_iter().for_each(|place| self.space.drop_after_flush(place));
        links.keys().for_each(|block| {
            self.prepared.remove(block);
        });
        self.forget(blocks);
        Ok(())
    }

    /// Gives back the room of blocks that are not linked.
    pub fn forget(&mut self, blocks: Range<u64>) {
        let mut later = self.placed.split_off(&blocks.start);
        let mut behind = later.split_off(&blocks.end);
        later.values().for_each(|place| self.space.give_back(*place));
        self.placed.append(&mut behind);
    }

    /// Sectors that a parent may hold: zeroes are stored, and durable before their
    /// bits are set.
    fn zero_sectors(
        &mut self,
        blocks: Range<u64>,
        (start, end): (u64, u64),
        drop: bool,
    ) -> Result<()> {
        let mut ranges = Vec::new();
        for block in blocks {
            let (block_start, block_end) = self.block_range(block);
            let (from, to) = (start.max(block_start), end.min(block_end));
            let there = match self.linked(block)? {
                Some(place) => Some(place),
                None => self.placed.get(&block).copied(),
            };
            match there {
                Some(place) => {
                    let at = place + self.shape.bitmap + (from - block_start);
                    let length = (to - from).next_multiple_of(SECTOR);
                    if !(drop && self.main.discard(at, length)?) {
                        self.main.zero(at, length)?;
                    }
                }
                None if self.parent.is_none() => continue,
                None => {
                    self.room(block)?;
                }
            }
            ranges.push((from, to - from));
        }
        if ranges.is_empty() {
            return Ok(());
        }
        self.main.flush()?;
        self.commit(&ranges)
    }

    /// Makes durable what was linked. What was dropped before is free from here on.
    ///
    /// # Errors
    /// What the source answers.
    pub fn flush(&mut self) -> Result<()> {
        if self.dirty {
            self.main.flush()?;
            self.dirty = false;
        }
        self.space.flushed(&*self.main, self.shape)
    }

    /// Gives back what was placed and not committed, and what the file was grown ahead.
    ///
    /// # Errors
    /// What the source answers.
    pub fn close(&mut self) -> Result<()> {
        if !self.writable {
            return Ok(());
        }
        self.flush()?;
        self.forget(0..u64::MAX);
        self.space.trim(&*self.main, &self.footer, self.shape)
    }
}
