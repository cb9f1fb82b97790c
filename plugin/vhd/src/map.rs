//! The map from the disk to the file: walks the table, and in a differencing image the
//! bitmaps, over a window and answers with extents.
//!
//! A dynamic disk's bitmaps are not looked at: what is not set in them is zero in the
//! data too, and readers differ in whether they ask.

use alloc::vec::Vec;

use fumehood_plugin::{Content, Error, Extent, Extents, Result, Stored};

use crate::geometry::SECTOR;
use crate::sparse::Sparse;

/// An answer stops short at this many extents.
const EXTENT_LIMIT: usize = 16_384;
/// An answer stops short after this many blocks.
const BLOCK_LIMIT: u64 = 1 << 18;
/// An answer stops short after this many bytes of bitmaps.
const BITMAP_LIMIT: u64 = 8 << 20;

impl Sparse {
    /// Extents from the block that holds `offset` to about `length` bytes on.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the disk, or what the source answers.
    pub fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if offset >= self.disk_size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(self.disk_size);
        let first = offset / self.shape.size;
        let mut blocks = BLOCK_LIMIT;
        if self.sectorwise {
            blocks = (BITMAP_LIMIT / self.shape.bitmap).max(1);
        }
        let last = end.div_ceil(self.shape.size).min(first + blocks);
        let mut answer = Answer { extents: Extents::new(), offset };
        for block in first..last {
            if answer.extents.len() >= EXTENT_LIMIT {
                break;
            }
            self.add_block(block, &mut answer)?;
        }
        Ok(answer.extents.finish())
    }

    fn add_block(&mut self, block: u64, answer: &mut Answer) -> Result<()> {
        let (start, end) = self.block_range(block);
        match self.linked(block) {
            Ok(None) => answer.push(start, end, Content::Absent),
            Ok(Some(place)) if self.sectorwise => self.add_sectors(block, place, answer)?,
            Ok(Some(place)) => {
                let writable = self.writable && self.prepared.contains(&block);
                answer.push(start, end, self.stored(place, 0, writable));
            }
            Err(Error::Corrupt { what, .. }) => answer.push(start, end, Content::Damaged(what)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn add_sectors(&mut self, block: u64, place: u64, answer: &mut Answer) -> Result<()> {
        let (start, end) = self.block_range(block);
        let bitmap = self.bitmaps.get(&*self.main, place)?;
        let sectors = (end - start).div_ceil(SECTOR);
        let mut sector = answer.offset.saturating_sub(start) / SECTOR;
        while sector < sectors && answer.extents.len() < EXTENT_LIMIT {
            let next = bitmap.run_end(sector, sectors);
            let from = start + sector * SECTOR;
            let to = (start + next * SECTOR).min(end);
            let content = match bitmap.has(sector) {
                true => self.stored(place, sector, self.writable),
                false => Content::Absent,
            };
            answer.push(from, to, content);
            sector = next;
        }
        Ok(())
    }

    /// The data of a block from a sector on.
    fn stored(&self, place: u64, sector: u64, writable: bool) -> Content {
        let offset = place + self.shape.bitmap + sector * SECTOR;
        Content::Stored(Stored { source: self.main.id(), offset, writable })
    }
}

struct Answer {
    extents: Extents,
    /// What was asked for; what ends before it is no part of the answer.
    offset: u64,
}

impl Answer {
    fn push(&mut self, from: u64, to: u64, content: Content) {
        if to > self.offset {
            self.extents.push(from, to - from, content);
        }
    }
}
