//! From an offset of the disk to where it lies: which storage, and which image of its
//! chain, the newest that holds it.

use alloc::rc::Rc;
use alloc::vec::Vec;

use fumehood_plugin::{Content, Disk, Error, Extent, Extents, Finding, Result};

use crate::check;
use crate::layer::{Layer, Piece};
use crate::table::Tables;

/// An answer stops short at this many extents,
const EXTENT_LIMIT: usize = 16_384;
/// or after this many questions to images.
const QUESTION_LIMIT: usize = 1 << 18;

/// A consecutive part of the disk, with a chain of images of its own.
#[derive(Clone)]
pub struct Storage {
    /// Where it begins on the disk, in bytes.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// Its images, the newest first.
    pub layers: Vec<Layer>,
}

/// The disk, put together from its storages.
#[derive(Clone)]
pub struct Map {
    /// Size of the disk in bytes, at most where the last storage ends.
    pub size: u64,
    /// In order and gapless from 0 on.
    pub storages: Vec<Storage>,
}

impl Map {
    /// A power of two by which all changes from one image to another are aligned.
    pub fn granularity(&self) -> u32 {
        let mut unit = 1 << 26;
        for storage in &self.storages {
            if storage.start > 0 {
                unit = unit.min(1 << storage.start.trailing_zeros());
            }
            for layer in &storage.layers {
                unit = layer.granularity(unit);
            }
        }
        // All plain: nothing is allocated.
        let expanding = |layer: &Layer| matches!(layer, Layer::Expanding(_));
        if !self.storages.iter().flat_map(|storage| &storage.layers).any(expanding) {
            unit = unit.min(4096);
        }
        unit.max(512) as u32
    }

    fn storage_at(&self, offset: u64) -> Option<&Storage> {
        let next = self.storages.partition_point(|storage| storage.end <= offset);
        self.storages.get(next)
    }
}

/// The opened disk.
pub struct MappedDisk {
    map: Rc<Map>,
    tables: Tables,
}

impl MappedDisk {
    /// The disk of a map.
    pub fn new(map: Rc<Map>) -> Self {
        Self { map, tables: Tables::default() }
    }
}

impl Disk for MappedDisk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let size = self.map.size;
        if offset >= size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(size);
        let mut extents = Extents::new();
        let (mut at, mut questions) = (offset, 0);
        while at < end && extents.len() < EXTENT_LIMIT && questions < QUESTION_LIMIT {
            let storage = self.map.storage_at(at).ok_or(Error::OutOfRange)?;
            let piece = find(storage, at - storage.start, &mut self.tables, &mut questions)?;
            let last = piece.end.saturating_add(storage.start).min(storage.end).min(size);
            extents.push(at, last - at, piece.content);
            at = last;
        }
        Ok(extents.finish())
    }

    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        if repair { Err(Error::ReadOnly) } else { check::check(&self.map, &mut self.tables) }
    }
}

/// What a storage holds at an offset in it.
fn find(
    storage: &Storage,
    offset: u64,
    tables: &mut Tables,
    questions: &mut usize,
) -> Result<Piece> {
    let mut end = u64::MAX;
    for layer in &storage.layers {
        *questions += 1;
        let piece = layer.find(tables, offset)?;
        end = end.min(piece.end);
        if piece.content != Content::Absent {
            return Ok(Piece { end, content: piece.content });
        }
    }
    Ok(Piece { end, content: Content::Absent })
}
