//! A disk's map: offset ─▶ region ─▶ block ─▶ element ─▶ extent.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::{Content, Disk, Error, Extent, Extents, Finding, Result};

use crate::check::check;
use crate::element::{Element, Place, Storing};
use crate::overlay::Overlay;
use crate::partition::Stored;
use crate::regions::{Region, Regions};
use crate::track::Piece;

/// Blocks of an answer: each takes 30 bytes of an index.
const MOST_BLOCKS: u64 = 16384;

/// Regions and windows of indexes that an answer looks at.
const MOST_STEPS: u32 = 16;

/// What a region is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of the piece with this number.
    Piece(usize),
    /// Blocks before the first cluster of the partition with this number.
    Reserved(usize),
    /// Blocks from the first cluster on.
    Data(usize),
    /// Cannot be read.
    Damaged(String),
}

/// A disk of an image.
pub struct DiskMap {
    /// Its bytes.
    pub size: u64,
    /// What lies where.
    pub regions: Regions<Kind>,
    /// Bytes outside of partitions.
    pub pieces: Rc<Vec<Piece>>,
    /// Its partitions, with their deltas.
    pub partitions: Vec<(Rc<Stored>, Rc<RefCell<Overlay>>)>,
    /// How blocks are stored.
    pub storing: Rc<Storing>,
}

impl DiskMap {
    /// Answers for what of `region` there is from `offset` to `end`.
    fn answer(
        &self,
        region: &Region<Option<Kind>>,
        span: (u64, u64),
        out: &mut Extents,
    ) -> Result<()> {
        let length = region.end - region.start;
        match &region.kind {
            None => out.push(region.start, length, Content::Zero),
            Some(Kind::Piece(_)) => out.push(region.start, length, Content::Computed),
            Some(Kind::Damaged(what)) => {
                out.push(region.start, length, Content::Damaged(what.clone()));
            }
            Some(Kind::Reserved(number)) => self.answer_reserved(*number, region, out),
            Some(Kind::Data(number)) => self.answer_data(*number, region, span, out)?,
        }
        Ok(())
    }

    fn answer_reserved(&self, number: usize, region: &Region<Option<Kind>>, out: &mut Extents) {
        let Some((stored, _)) = self.partitions.get(number) else { return };
        let mut at = region.start;
        for block in &stored.reserved {
            let end = (block.start + block.length).min(region.end);
            if end <= at || block.start >= region.end {
                continue;
            }
            push(out, at, end - at, &block.place, at - block.start);
            at = end;
        }
        out.push(at, region.end - at, Content::Zero);
    }

    fn answer_data(
        &self,
        number: usize,
        region: &Region<Option<Kind>>,
        (offset, end): (u64, u64),
        out: &mut Extents,
    ) -> Result<()> {
        let Some((stored, overlay)) = self.partitions.get(number) else { return Ok(()) };
        let (start, size) = (stored.measures.data_start, stored.measures.block_size);
        let first = (offset.max(region.start) - start) / size;
        let behind = (end.min(region.end) - start).div_ceil(size).min(first + MOST_BLOCKS);
        let first = u32::try_from(first).map_err(|_| Error::OutOfRange)?;
        let mut elements: Vec<Option<Element>> = stored
            .base
            .read(first, (behind - u64::from(first)) as u32)?
            .into_iter()
            .map(Some)
            .collect();
        elements.resize((behind - u64::from(first)) as usize, None);
        let mut overlay = overlay.borrow_mut();
        let changed: Vec<u32> = overlay.blocks(first, behind).collect();
        for block in changed {
            if let Some(element) = elements.get_mut((block - first) as usize) {
                *element = overlay.get(block)?;
            }
        }
        for (block, element) in (first..).zip(&elements) {
            let block_start = start + u64::from(block) * size;
            let from = block_start.max(region.start);
            let length = (block_start + size).min(region.end) - from;
            let place = match element {
                None => Place::Nowhere,
                Some(element) => self.place(stored, block, element)?,
            };
            push(out, from, length, &place, from - block_start);
        }
        Ok(())
    }

    /// Where a block is. One that is shorter than others is told by its frame alone.
    fn place(&self, stored: &Stored, block: u32, element: &Element) -> Result<Place> {
        let which = stored.measures.which(block);
        let size = stored.measures.block_size;
        if stored.may_be_short(block) {
            return element.place_and_measure(&self.storing, which, size, size);
        }
        Ok(element.place(&self.storing, which, size))
    }
}

/// Adds `length` bytes, which begin `skip` bytes into a block.
fn push(out: &mut Extents, at: u64, length: u64, place: &Place, skip: u64) {
    match place {
        Place::Nowhere => out.push(at, length, Content::Zero),
        Place::Damaged(what) => out.push(at, length, Content::Damaged(what.clone())),
        Place::At(encoded) => {
            let held = u64::from(encoded.decoded_length).saturating_sub(skip).min(length);
            let mut encoded = encoded.clone();
            // Less than the block's length, if anything of it is held.
            encoded.skip = u32::try_from(skip).unwrap_or(u32::MAX);
            out.push(at, held, Content::Encoded(encoded));
            out.push(at + held, length - held, Content::Zero);
        }
    }
}

impl Disk for DiskMap {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if offset >= self.size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(self.size);
        let mut out = Extents::new();
        let (mut at, mut steps) = (offset, 0);
        while at < end && (out.len() as u64) < MOST_BLOCKS && steps < MOST_STEPS {
            steps += 1;
            let region = self.regions.at(at);
            let mut part = Extents::new();
            self.answer(&region, (at, end), &mut part)?;
            let part = part.finish();
            // What lies before the offset is of use only at the answer's beginning.
            let before = at;
            let part = part.into_iter().skip_while(|extent| extent.end() <= before);
            for extent in part {
                at = extent.end();
                out.push(extent.offset, extent.length, extent.content);
            }
            if at == before {
                return Err(Error::Io(format!("nothing is known of offset {at}")));
            }
        }
        Ok(out.finish())
    }

    fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.size);
        let end = end.ok_or(Error::OutOfRange)?;
        let mut bytes = Vec::with_capacity(length);
        while offset + (bytes.len() as u64) < end {
            let at = offset + bytes.len() as u64;
            let region = self.regions.at(at);
            let Some(Kind::Piece(number)) = region.kind else { return Err(Error::OutOfRange) };
            let piece = self.pieces.get(number).ok_or(Error::OutOfRange)?;
            let start = (at - piece.offset) as usize;
            let behind = (region.end.min(end) - piece.offset) as usize;
            bytes.extend(piece.bytes.get(start..behind).ok_or(Error::OutOfRange)?);
        }
        Ok(bytes)
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        check(self)
    }
}
