//! Reading the index: from an offset on the disk to pieces, one page in memory.

use alloc::vec::Vec;

use fumehood_plugin::read::{READ_LIMIT, read_struct, read_table};
use fumehood_plugin::{Error, Result, SourceHandle};

use crate::checksum::CRC32;
use crate::index_writer::{
    Header, MAGIC, PAGE_ENTRIES, PAGES_LIMIT, Page, START, Summary, VERSION,
};
use crate::piece::{Entry, Piece};
use crate::room::Room;
use zerocopy::{FromBytes, IntoBytes};

/// A finished index.
pub struct Index {
    room: Room,
    pub summary: Summary,
    pages: Vec<Page>,
}

/// The pieces of one page.
pub struct Pieces {
    list: Vec<(u64, Piece)>,
    /// Where the last one ends.
    end: u64,
}

impl Index {
    /// The index whose pages lie in `room`.
    pub fn new(room: Room, summary: Summary, pages: Vec<Page>) -> Self {
        Self { room, summary, pages }
    }

    /// The index that `scratch` holds for the file of this `identity`, if it is whole.
    /// The pages are checked when they are read.
    pub fn load(scratch: &SourceHandle, identity: &[u8; 32]) -> Option<Self> {
        let header: Header = read_struct(&**scratch, 0, "header").ok()?;
        let sound = header.magic == MAGIC
            && header.version.get() == VERSION
            && header.identity == *identity
            && header.checksum.get() == header.sum();
        let (count, directory) = (header.pages.get() as usize, header.directory.get());
        if !sound || count > PAGES_LIMIT || directory < START {
            return None;
        }
        let length = (count * size_of::<Page>()) as u64;
        let pages: Vec<Page> = if length > READ_LIMIT {
            return None;
        } else {
            read_table(&**scratch, directory, count as u64, "directory").ok()?
        };
        let checksum = CRC32.checksum(pages.as_slice().as_bytes());
        let ordered = pages.is_sorted_by(|a, b| a.first.get() < b.first.get());
        let size = header.summary.size.get();
        let starts = pages.first().map_or(size == 0, |page| page.first.get() == 0);
        let ends = pages.last().is_none_or(|page| page.first.get() < size);
        if checksum != header.directory_checksum.get() || !ordered || !starts || !ends {
            return None;
        }
        let room = Room::new(Some(scratch.clone()), scratch.size());
        Some(Self { room, summary: header.summary, pages })
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.summary.size.get()
    }

    /// The scratch's number, if there is a scratch.
    pub fn scratch_id(&self) -> Option<u32> {
        self.room.scratch_id()
    }

    /// Whether these bytes lie in the scratch.
    pub fn has_room(&self, offset: u64, length: u64) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.room.end())
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// The page that holds `offset`.
    pub fn page_of(&self, offset: u64) -> usize {
        self.pages.partition_point(|page| page.first.get() <= offset).saturating_sub(1)
    }

    /// The pieces of a page.
    ///
    /// # Errors
    /// [`Error::Io`] where it is not what was written there; the next open surveys
    /// the file again.
    pub fn page(&self, number: usize) -> Result<Pieces> {
        self.read_page(number)?.ok_or_else(|| {
            self.discard();
            Error::Io(
                "what was learned of this compressed file is damaged in the scratch, and is \
                 dropped: open it again"
                    .into(),
            )
        })
    }

    fn read_page(&self, number: usize) -> Result<Option<Pieces>> {
        let Some(page) = self.pages.get(number) else { return Ok(None) };
        let next = self.pages.get(number + 1).map_or(self.size(), |page| page.first.get());
        let count = page.count.get() as usize;
        let (offset, length) = (page.offset.get(), count.saturating_mul(size_of::<Entry>()));
        if count == 0 || count > PAGE_ENTRIES || !self.has_room(offset, length as u64) {
            return Ok(None);
        }
        let bytes = self.room.read(offset, length)?;
        if CRC32.checksum(&bytes) != page.checksum.get() {
            return Ok(None);
        }
        let mut list = Vec::with_capacity(count);
        for entry in bytes.chunks_exact(size_of::<Entry>()) {
            let Ok(entry) = Entry::read_from_bytes(entry) else { return Ok(None) };
            let Some(piece) = entry.piece() else { return Ok(None) };
            list.push((entry.start.get(), piece));
        }
        let first = list.first().is_some_and(|(start, _)| *start == page.first.get());
        let ordered = list.is_sorted_by(|a, b| a.0 < b.0);
        let last = list.last().is_some_and(|(start, _)| *start < next);
        Ok((first && ordered && last).then_some(Pieces { list, end: next }))
    }

    /// Makes the next open learn everything again.
    fn discard(&self) {
        if let Some(scratch) = self.room.scratch() {
            // Nothing better can be done where this fails, too.
            let _ = scratch.write(0, &[0; size_of::<Header>()]);
        }
    }
}

impl Pieces {
    /// Each piece from the one that holds `offset` on: where it begins, how long it is,
    /// and what it is.
    pub fn from(&self, offset: u64) -> impl Iterator<Item = (u64, u64, Piece)> + '_ {
        let first = self.list.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let rest = self.list.get(first..).unwrap_or_default();
        let ends = rest.iter().skip(1).map(|(start, _)| *start).chain([self.end]);
        rest.iter().zip(ends).map(|((start, piece), end)| (*start, end - start, *piece))
    }

    /// Where the last piece ends.
    pub fn end(&self) -> u64 {
        self.end
    }
}
