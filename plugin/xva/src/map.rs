//! A disk: from chunks to extents.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{
    Codec, Content, Disk, Encoded, Error, Extent, Extents, Finding, Result, Stored,
};

use crate::archive::Archive;
use crate::index::{Chunk, Index, Tally};
use crate::manifest::Vdi;
use crate::text::harmless;

/// Extents an answer has at most: each carries a digest.
const MOST_EXTENTS: usize = 4096;

/// An opened disk of an export.
pub struct Map {
    archive: Rc<Archive>,
    tally: Tally,
    size: u64,
    damage: String,
}

impl Map {
    /// The disk `vdi`, whose records `tally` counts.
    pub fn new(archive: Rc<Archive>, vdi: &Vdi, tally: Tally) -> Self {
        let id = harmless(&vdi.id);
        let damage = format!("the export is incomplete: it lacks the end of {id}");
        Self { archive, tally, size: vdi.size, damage }
    }

    /// The record of the first chunk that ends behind `offset`.
    fn find(&self, index: &mut Index, offset: u64) -> Result<u64> {
        let (mut low, mut high) = (0, self.tally.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.get(index, middle)?.end() <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn get(&self, index: &mut Index, number: u64) -> Result<Chunk> {
        let number = self.tally.first.saturating_add(number);
        index.get(number, self.size)
    }

    fn answer(&self, index: &mut Index, offset: u64, end: u64) -> Result<Vec<Extent>> {
        let mut answer = Extents::new();
        let mut number = self.find(index, offset)?;
        let mut at = offset;
        while at < end && answer.len() < MOST_EXTENTS {
            if number >= self.tally.count {
                let known = self.tally.end.max(at);
                answer.push(at, known - at, Content::Zero);
                answer.push(known, self.size - known, Content::Damaged(self.damage.clone()));
                break;
            }
            let chunk = self.get(index, number)?;
            match chunk.offset.checked_sub(at) {
                Some(gap) => answer.push(at, gap, Content::Zero),
                // Only the first may begin before what was asked for.
                None if answer.is_empty() => (),
                None => return Err(index.distrust()),
            }
            at = chunk.end();
            answer.push(chunk.offset, u64::from(chunk.length), content(chunk));
            number += 1;
        }
        Ok(answer.finish())
    }
}

fn content(chunk: Chunk) -> Content {
    let Chunk { place, length, digest, .. } = chunk;
    match digest {
        None => Content::Stored(Stored { source: 0, offset: place, writable: false }),
        digest => {
            let encoded = Encoded::new(0, place, length, Codec::Identity, length);
            Content::Encoded(Encoded { digest, ..encoded })
        }
    }
}

impl Disk for Map {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if offset >= self.size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(self.size);
        self.archive.with_index(|index| self.answer(index, offset, end))
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        // All else that shows without the payload has failed the scan.
        let (known, size) = (self.tally.end, self.size);
        if known >= size {
            return Ok(Vec::new());
        }
        let what = format!("{} bytes cannot be read: {}", size - known, self.damage);
        Ok(vec![Finding { offset: known, what, repaired: false }])
    }
}
