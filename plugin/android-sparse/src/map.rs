//! From an offset of the disk to what holds it: the last part that says anything of the
//! block. What no part holds is zero.

use alloc::rc::Rc;
use alloc::vec::Vec;

use fumehood_plugin::read::READ_LIMIT;
use fumehood_plugin::{Content, Disk, Error, Extent, Extents, Finding, Result, Stored};

use crate::check;
use crate::chunk::Kind;
use crate::header::PATTERN;
use crate::part::{Cursor, HeldKind, Learned, Part};

/// An answer stops short at this many extents,
const EXTENT_LIMIT: usize = 16_384;
/// or after this many chunks.
const STEP_LIMIT: usize = 1 << 16;

/// The parts of an image, all of which are known.
pub struct Parts {
    /// Each with what was learned of it; there is at least one.
    pub list: Vec<(Rc<Part>, Learned)>,
    /// Bytes a block.
    pub block: u64,
    /// Blocks of the disk.
    pub blocks: u32,
}

/// The opened disk.
pub struct SparseDisk {
    parts: Rc<Parts>,
    cursors: Vec<Cursor>,
}

/// What the disk holds from a block on.
struct Piece {
    end: u32,
    what: What,
}

enum What {
    Content(Content),
    Fill([u8; PATTERN as usize]),
}

impl SparseDisk {
    /// The disk that `parts` make up.
    pub fn new(parts: Rc<Parts>) -> Self {
        let cursors = parts.list.iter().map(|_| Cursor::new()).collect();
        Self { parts, cursors }
    }

    fn size(&self) -> u64 {
        self.parts.block * u64::from(self.parts.blocks)
    }

    /// The block that holds an offset on the disk.
    fn block_at(&self, offset: u64) -> Result<u32> {
        let block = u32::try_from(offset / self.parts.block).ok();
        block.filter(|block| *block < self.parts.blocks).ok_or(Error::OutOfRange)
    }

    fn find(&mut self, block: u32, steps: &mut usize) -> Result<Piece> {
        let mut end = self.parts.blocks;
        let mut lost = None;
        for ((part, learned), cursor) in self.parts.list.iter().zip(&mut self.cursors).rev() {
            *steps += 1;
            let held = cursor.find(part, learned, block, steps)?;
            end = end.min(held.end);
            match held.kind {
                HeldKind::Nothing => (),
                // Another part may hold it: in a set each block is in one of them.
                HeldKind::Lost(what) => lost = Some(what),
                HeldKind::Chunk { start, kind: Kind::Raw(data) } => {
                    let offset = data + u64::from(block - start) * self.parts.block;
                    let stored = Stored { source: part.source.id(), offset, writable: false };
                    return Ok(Piece { end, what: What::Content(Content::Stored(stored)) });
                }
                HeldKind::Chunk { kind: Kind::Fill(pattern), .. } => {
                    let what = match pattern {
                        [0, 0, 0, 0] => What::Content(Content::Zero),
                        pattern => What::Fill(pattern),
                    };
                    return Ok(Piece { end, what });
                }
                HeldKind::Chunk { .. } => (),
            }
        }
        let content = lost.map_or(Content::Zero, Content::Damaged);
        Ok(Piece { end, what: What::Content(content) })
    }
}

impl Disk for SparseDisk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let mut block = self.block_at(offset)?;
        let size = self.size();
        let end = offset.saturating_add(length.max(1)).min(size);
        let mut extents = Extents::new();
        let mut steps = 0;
        loop {
            let piece = self.find(block, &mut steps)?;
            let start = u64::from(block) * self.parts.block;
            let length = u64::from(piece.end - block) * self.parts.block;
            let content = match piece.what {
                What::Content(content) => content,
                What::Fill(_) => Content::Computed,
            };
            extents.push(start, length, content);
            block = piece.end;
            if start + length >= end || extents.len() >= EXTENT_LIMIT || steps >= STEP_LIMIT {
                return Ok(extents.finish());
            }
        }
    }

    fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.size());
        let end = end.filter(|_| length as u64 <= READ_LIMIT).ok_or(Error::OutOfRange)?;
        let mut bytes = Vec::with_capacity(length);
        let mut at = offset;
        while at < end {
            let piece = self.find(self.block_at(at)?, &mut 0)?;
            let What::Fill(pattern) = piece.what else { return Err(Error::OutOfRange) };
            let last = end.min(u64::from(piece.end) * self.parts.block);
            // Blocks are whole patterns.
            let pattern = pattern.iter().cycle().skip((at % PATTERN) as usize);
            bytes.extend(pattern.take((last - at) as usize));
            at = last;
        }
        Ok(bytes)
    }

    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        if repair { Err(Error::ReadOnly) } else { check::check(&self.parts) }
    }
}
