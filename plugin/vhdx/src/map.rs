//! The map from the disk to the file: walks the BAT, and the bitmaps where these
//! decide, over a window and answers with extents.

use alloc::string::ToString;
use alloc::vec::Vec;

use fumehood_plugin::{Content, Error, Extent, Extents, Result, Stored};

use crate::bat::{Bat, Payload};
use crate::bitmap;
use crate::geometry::ENTRY_SIZE;
use crate::overlay::Layer;
use crate::pages::Pages;
use crate::store::Store;

/// An answer stops short at this many extents.
const EXTENT_LIMIT: usize = 16_384;
/// An answer stops short after this many entries: a huge empty disk has many.
const ENTRY_LIMIT: u64 = 1 << 18;

impl Store {
    /// Extents from the block or sector that holds `offset` to at least one, at most
    /// about `length` bytes on.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the disk, and what reading answers. Blocks whose
    /// entries are corrupt are damaged extents.
    pub fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let size = self.bat.geometry.size;
        if offset >= size {
            return Err(Error::OutOfRange);
        }
        let mut walk = Walk {
            bat: self.bat,
            source: self.source.id(),
            // In memory only, the file may be longer than it is.
            source_size: self.source.size(),
            writable: self.is_writable(),
            answer: Extents::new(),
            at: offset / self.bat.geometry.block_size * self.bat.geometry.block_size,
            offset,
            end: offset.saturating_add(length.max(1)).min(size),
        };
        match walk.run(&mut self.pages) {
            Err(error) if walk.answer.is_empty() => Err(error),
            _ => Ok(walk.answer.finish()),
        }
    }

    /// Bytes of a block that a log changes and that cannot be written where they belong.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for what is not in this image, and what reading answers.
    pub fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let end = self.check_range(offset, length as u64)?;
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < end {
            let block = at / self.bat.geometry.block_size;
            let start = self.bat.geometry.block_start(block);
            let stop = end.min(self.bat.geometry.block_start(block + 1));
            let room = self.payload(block)?.offset().ok_or(Error::OutOfRange)?;
            bytes.extend(self.pages.bytes(room + at - start, stop - at, "block")?);
            at = stop;
        }
        Ok(bytes)
    }
}

struct Walk {
    bat: Bat,
    source: u32,
    source_size: u64,
    writable: bool,
    answer: Extents,
    at: u64,
    /// What was asked for; the walk begins with the block that holds it.
    offset: u64,
    end: u64,
}

impl Walk {
    fn run(&mut self, pages: &mut Pages) -> Result<()> {
        let geometry = self.bat.geometry;
        let mut budget = ENTRY_LIMIT;
        while self.at < self.end && budget > 0 && self.answer.len() < EXTENT_LIMIT {
            let first = self.at / geometry.block_size;
            let chunk_end = (first / geometry.chunk_ratio() + 1) * geometry.chunk_ratio();
            let blocks = self.end.div_ceil(geometry.block_size).min(chunk_end) - first;
            let offset = self.bat.entry_offset(geometry.payload_index(first));
            let entries = pages.run(offset, blocks.min(budget) * ENTRY_SIZE, "BAT")?.to_vec();
            let (entries, _) = entries.as_chunks::<{ ENTRY_SIZE as usize }>();
            for (block, entry) in (first..).zip(entries) {
                if self.answer.len() >= EXTENT_LIMIT {
                    return Ok(());
                }
                self.push_block(pages, block, u64::from_le_bytes(*entry))?;
                budget -= 1;
            }
        }
        Ok(())
    }

    fn push_block(&mut self, pages: &mut Pages, block: u64, raw: u64) -> Result<()> {
        let length = self.bat.geometry.block_length(block);
        match self.bat.decode(raw, block, pages.file_size()) {
            Ok(Payload::NotPresent) => self.push(length, Content::Absent),
            Ok(Payload::Zero) => self.push(length, Content::Zero),
            Ok(Payload::Full(room)) => self.push_stored(pages, room, length),
            Ok(Payload::Partial(room)) => self.push_sectors(pages, block, room)?,
            Err(error) => self.push(length, Content::Damaged(error.to_string())),
        }
        Ok(())
    }

    fn push_sectors(&mut self, pages: &mut Pages, block: u64, room: u64) -> Result<()> {
        let geometry = self.bat.geometry;
        let start = geometry.block_start(block);
        let length = geometry.block_length(block);
        let bits = match self.bat.needed_bitmap(pages, block) {
            Ok(bits) => bits,
            Err(error @ Error::Corrupt { .. }) => {
                self.push(length, Content::Damaged(error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let first = geometry.first_bit(block);
        let last = first + length / geometry.sector;
        // Sectors before the asked one are no part of the answer.
        let skipped = self.offset.saturating_sub(start) / geometry.sector;
        let mut bit = first + skipped;
        self.at += skipped * geometry.sector;
        while bit < last && self.answer.len() < EXTENT_LIMIT {
            let (here, next) = bitmap::run(pages, bits, bit, last)?;
            let length = (next - bit) * geometry.sector;
            match here {
                true => self.push_stored(pages, room + (bit - first) * geometry.sector, length),
                false => self.push(length, Content::Absent),
            }
            bit = next;
        }
        Ok(())
    }

    /// Adds `length` bytes of `content`, unless they end before the asked offset.
    fn push(&mut self, length: u64, content: Content) {
        if self.at + length > self.offset {
            self.answer.push(self.at, length, content);
        }
        self.at += length;
    }

    /// Adds bytes at `room` of the file, as far as no log in memory changes them.
    fn push_stored(&mut self, pages: &Pages, room: u64, length: u64) {
        let end = room.saturating_add(length);
        let mut at = room;
        while at < end {
            let is_there = self.source_size > at;
            let limit = if is_there { end.min(self.source_size) } else { end };
            let (layer, stop) = pages.overlay.at(at, limit);
            let content = match layer {
                Layer::File if !is_there => Content::Zero,
                Layer::File => {
                    let writable = self.writable;
                    Content::Stored(Stored { source: self.source, offset: at, writable })
                }
                Layer::Zero => Content::Zero,
                Layer::Page => Content::Computed,
            };
            self.push(stop - at, content);
            at = stop;
        }
    }
}
