//! From an offset of the disk to where it lies: directory, table, chunk.
//!
//! A chunk is shown as it lies in the file. There are bitmaps that say which of its
//! blocks were written; the others hold zeroes in all images seen so far, and to hide
//! bytes for a bit whose meaning is guessed would be worse than to show some.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{
    Content, Disk, Error, Extent, Extents, Finding, Result, SourceHandle, Stored,
};

use crate::check;
use crate::header::Header;
use crate::tables::{Directory, Entry, Tables};

/// An answer stops short at this many extents,
const EXTENT_LIMIT: usize = 16_384;
/// or after this many chunks.
const CHUNK_LIMIT: usize = 1 << 18;

/// What holds the disk, or the image's own data behind it.
#[derive(Clone)]
pub struct Layout {
    /// The file.
    pub main: SourceHandle,
    /// Its header.
    pub header: Rc<Header>,
    /// The directory that counts.
    pub directory: Directory,
}

/// What lies from an offset on.
pub struct Piece {
    /// Where it ends.
    pub end: u64,
    /// What it is.
    pub content: Content,
}

impl Layout {
    /// Its tables, none of them read yet.
    pub fn tables(&self) -> Tables {
        Tables::new(Rc::clone(&self.main), &self.header, self.directory)
    }

    /// What lies at `offset`, below what the disk can grow to.
    ///
    /// # Errors
    /// What the source answers.
    pub fn find(&self, tables: &mut Tables, offset: u64) -> Result<Piece> {
        let header = &*self.header;
        let chunk = offset / header.chunk;
        let (number, within) = (chunk / header.shape.table, chunk % header.shape.table);
        let covered = header.shape.table.saturating_mul(header.chunk);
        let table_end = number.saturating_add(1).saturating_mul(covered);
        let start = match tables.table(number) {
            Ok(Some(start)) => start,
            Ok(None) => return Ok(Piece { end: table_end, content: Content::Absent }),
            Err(Error::Corrupt { what, .. }) => {
                return Ok(Piece { end: table_end, content: Content::Damaged(what) });
            }
            Err(other) => return Err(other),
        };
        let first = chunk * header.chunk;
        let end = first.saturating_add(header.chunk);
        let content = match tables.chunk(start, header.shape.entry(within))? {
            Entry::None => Content::Absent,
            Entry::Unknown(raw) => {
                Content::Damaged(format!("chunk {chunk} has unknown flags in its entry {raw:#x}"))
            }
            Entry::Chunk(place) => match self.place(place) {
                Ok(place) => {
                    let offset = place + (offset - first);
                    let source = self.main.id();
                    Content::Stored(Stored { source, offset, writable: false })
                }
                Err(what) => Content::Damaged(format!("chunk {chunk} {what}")),
            },
        };
        Ok(Piece { end, content })
    }

    /// Where a chunk of the file lies, all of it; or what is wrong with that.
    pub fn place(&self, number: u64) -> core::result::Result<u64, String> {
        let (size, chunk) = (self.main.size(), self.header.chunk);
        let place = number.checked_mul(chunk);
        place
            .filter(|place| place.saturating_add(chunk) <= size)
            .ok_or_else(|| format!("lies in the chunk {number} of the file, which ends at {size}"))
    }
}

/// The opened disk.
pub struct MappedDisk {
    layout: Layout,
    tables: Tables,
}

impl MappedDisk {
    /// The disk that a layout holds.
    pub fn new(layout: Layout) -> Self {
        let tables = layout.tables();
        Self { layout, tables }
    }
}

impl Disk for MappedDisk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let size = self.layout.header.size;
        if offset >= size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(size);
        let mut extents = Extents::new();
        let (mut at, mut chunks) = (offset, 0);
        while at < end && extents.len() < EXTENT_LIMIT && chunks < CHUNK_LIMIT {
            let piece = self.layout.find(&mut self.tables, at)?;
            let last = piece.end.min(size);
            extents.push(at, last - at, piece.content);
            at = last;
            chunks += 1;
        }
        Ok(extents.finish())
    }

    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        if repair { Err(Error::ReadOnly) } else { check::check(&self.layout) }
    }
}
