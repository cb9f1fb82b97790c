//! Writing the index: entries in order, gathered into pages, and a header that makes it
//! valid once all else is durable.
//!
//! ```text
//!   0          4096                                                        end
//!   header ··· page, windows, unpacked bytes, page, … in any order, directory
//! ```

use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::CRC32;
use crate::index::Index;
use crate::piece::{Entry, Piece};
use crate::room::Room;

/// Where the header ends and all else begins.
pub const START: u64 = 4096;
/// Entries of a page.
pub const PAGE_ENTRIES: usize = 1024;
/// The most pages: what their directory takes of memory is bounded by it.
pub const PAGES_LIMIT: usize = 256 << 10;
/// First bytes of a scratch that this plugin filled.
pub const MAGIC: [u8; 4] = *b"FHCF";
/// The layout of everything in the scratch.
pub const VERSION: u32 = 2;

/// Where a page of entries lies.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Page {
    /// Where on the disk its first piece begins.
    pub first: U64,
    pub offset: U64,
    pub count: U32,
    /// CRC-32 of its entries.
    pub checksum: U32,
}

/// What the survey learned besides the pieces.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Summary {
    /// Size of the disk in bytes.
    pub size: U64,
    /// Pieces that the host decodes.
    pub encoded: U64,
    /// Bytes that were unpacked, zeroes not counted.
    pub unpacked: U64,
    /// Bytes that are not what their checksum says.
    pub damaged: U64,
    /// Members, streams or frames.
    pub parts: U64,
    /// Bytes behind the end that belong to nothing.
    pub trailing: U64,
    /// CRC-32 of the whole disk, where `has_crc` is 1.
    pub crc: U32,
    pub has_crc: U32,
}

/// The scratch's first bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    pub magic: [u8; 4],
    pub version: U32,
    pub identity: [u8; 32],
    pub directory: U64,
    pub pages: U32,
    pub directory_checksum: U32,
    pub summary: Summary,
    /// CRC-32 of all before it.
    pub checksum: U32,
}

impl Header {
    /// The checksum that it must have.
    pub fn sum(&self) -> u32 {
        let bytes = self.as_bytes();
        CRC32.checksum(bytes.get(..bytes.len() - 4).unwrap_or_default())
    }
}

/// An index in the making.
pub struct IndexWriter {
    pub room: Room,
    pub summary: Summary,
    pages: Vec<Page>,
    entries: Vec<Entry>,
    /// The last piece, where it began.
    last: Option<(u64, Piece)>,
    size: u64,
}

/// A state to go back to.
pub struct Mark {
    end: u64,
    summary: Summary,
    pages: usize,
    entries: Vec<Entry>,
    last: Option<(u64, Piece)>,
    size: u64,
}

impl IndexWriter {
    /// An empty index in `room`, whose old contents are no longer valid.
    pub fn new(room: Room) -> Self {
        let (pages, entries) = (Vec::new(), Vec::new());
        Self { room, summary: Summary::default(), pages, entries, last: None, size: 0 }
    }

    /// Bytes of the disk so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends `length` bytes of the disk.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a disk or an index past all limits, [`Error::NoSpace`].
    pub fn push(&mut self, length: u64, piece: Piece) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        let end = self.size.checked_add(length).filter(|end| *end <= i64::MAX as u64);
        let end = end.ok_or_else(|| Error::Unsupported("more than 2^63 bytes".into()))?;
        match piece {
            Piece::Encoded(_) => self.summary.encoded += 1,
            Piece::Unpacked(_) => self.summary.unpacked += length,
            Piece::Damaged => self.summary.damaged += length,
            Piece::Zero | Piece::Stored(_) => (),
        }
        // Both name the scratch, which is not there to be named.
        let entered = matches!(&piece, Piece::Encoded(encoded) if encoded.entrance.is_some());
        if (entered || matches!(piece, Piece::Unpacked(_))) && self.room.scratch_id().is_none() {
            return Err(Error::NoSpace);
        }
        let start = self.size;
        let goes_on = |(at, last): (u64, Piece)| last.continues(start - at, &piece);
        if !self.last.is_some_and(goes_on) {
            self.entries.push(Entry::new(start, &piece));
            self.last = Some((start, piece));
            if self.entries.len() >= PAGE_ENTRIES {
                self.close_page()?;
            }
        }
        self.size = end;
        Ok(())
    }

    /// The present state.
    pub fn mark(&self) -> Mark {
        Mark {
            end: self.room.end(),
            summary: self.summary,
            pages: self.pages.len(),
            entries: self.entries.clone(),
            last: self.last,
            size: self.size,
        }
    }

    /// Forgets all since `mark`.
    pub fn back(&mut self, mark: Mark) {
        self.room.cut(mark.end);
        self.pages.truncate(mark.pages);
        (self.summary, self.entries) = (mark.summary, mark.entries);
        (self.last, self.size) = (mark.last, mark.size);
    }

    fn close_page(&mut self) -> Result<()> {
        let Some(first) = self.entries.first() else { return Ok(()) };
        if self.pages.len() >= PAGES_LIMIT {
            return Err(Error::Unsupported("more pieces than an index may hold".into()));
        }
        let bytes = self.entries.as_slice().as_bytes();
        self.pages.push(Page {
            first: first.start,
            offset: U64::new(self.room.append(bytes)?),
            count: U32::new(self.entries.len() as u32),
            checksum: U32::new(CRC32.checksum(bytes)),
        });
        self.entries.clear();
        Ok(())
    }

    /// Writes what is left and makes it valid for the file of this `identity`.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or what the scratch answers.
    pub fn finish(mut self, identity: &[u8; 32]) -> Result<Index> {
        self.close_page()?;
        self.summary.size = U64::new(self.size);
        let bytes = self.pages.as_slice().as_bytes();
        let directory = self.room.append(bytes)?;
        let mut header = Header {
            magic: MAGIC,
            version: U32::new(VERSION),
            identity: *identity,
            directory: U64::new(directory),
            pages: U32::new(self.pages.len() as u32),
            directory_checksum: U32::new(CRC32.checksum(bytes)),
            summary: self.summary,
            checksum: U32::ZERO,
        };
        header.checksum = U32::new(header.sum());
        if let Some(scratch) = self.room.scratch() {
            scratch.flush()?;
            scratch.write(0, header.as_bytes())?;
            scratch.flush()?;
        }
        Ok(Index::new(self.room, self.summary, self.pages))
    }
}
