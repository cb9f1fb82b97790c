//! The block allocation table (specification, "Block Allocation Table"): read page by
//! page through a bounded cache, written through. What an entry means for the disk is
//! for [`crate::map`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::FromBytes;
use zerocopy::big_endian::U32;

use crate::geometry::SECTOR;

/// Bytes an entry.
pub const ENTRY_SIZE: u64 = 4;
/// The entry of a block that is not there.
pub const UNUSED: u32 = u32::MAX;

const PAGE: u64 = 16 << 10;
const PAGE_LIMIT: usize = 128;
const PAGE_ENTRIES: u64 = PAGE / ENTRY_SIZE;

/// The table.
#[derive(Debug)]
pub struct Bat {
    offset: u64,
    entries: u64,
    pages: BTreeMap<u64, (u64, Vec<u8>)>,
    clock: u64,
}

impl Bat {
    /// The table of `entries` entries at `offset`.
    pub fn new(offset: u64, entries: u64) -> Self {
        Self { offset, entries, pages: BTreeMap::new(), clock: 0 }
    }

    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Where it lies in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of it.
    pub fn length(&self) -> u64 {
        self.entries * ENTRY_SIZE
    }

    /// Where the entry of `block` lies in the file.
    pub fn entry_offset(&self, block: u64) -> u64 {
        self.offset + block * ENTRY_SIZE
    }

    /// The place of `block` in the file, if it has one: its bitmap, and the data
    /// behind. Where that may lie is for the caller to check.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the table, or what the source answers.
    pub fn get(&mut self, main: &dyn Source, block: u64) -> Result<Option<u64>> {
        let page = self.page(main, block / PAGE_ENTRIES)?;
        let at = (block % PAGE_ENTRIES * ENTRY_SIZE) as usize;
        let bytes = page.get(at..at + ENTRY_SIZE as usize).ok_or(Error::OutOfRange)?;
        U32::read_from_bytes(bytes).map(place).map_err(|_| Error::OutOfRange)
    }

    /// The places of the blocks from `block` on, as far as one page holds them.
    ///
    /// # Errors
    /// As [`Bat::get`].
    pub fn page_of(&mut self, main: &dyn Source, block: u64) -> Result<Vec<Option<u64>>> {
        let skip = (block % PAGE_ENTRIES) as usize;
        let page = self.page(main, block / PAGE_ENTRIES)?;
        let entries = page.chunks_exact(ENTRY_SIZE as usize).skip(skip);
        Ok(entries.filter_map(|entry| U32::read_from_bytes(entry).ok()).map(place).collect())
    }

    /// Writes entries: places in the file, or none. What failed half-way can be
    /// written again.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a block past the table, [`Error::NoSpace`] for a
    /// place past what an entry can say, or what the source answers.
    pub fn set(&mut self, main: &dyn Source, changes: &BTreeMap<u64, Option<u64>>) -> Result<()> {
        let mut rest = changes.range(..).peekable();
        while let Some((block, _)) = rest.peek() {
            let number = **block / PAGE_ENTRIES;
            let mut page = self.page(main, number)?.to_vec();
            let (mut first, mut end) = (usize::MAX, 0);
            while let Some((block, place)) =
                rest.next_if(|(block, _)| **block / PAGE_ENTRIES == number)
            {
                let at = (block % PAGE_ENTRIES * ENTRY_SIZE) as usize;
                let bytes = page.get_mut(at..at + ENTRY_SIZE as usize).ok_or(Error::OutOfRange)?;
                bytes.copy_from_slice(&entry(*place)?.to_be_bytes());
                first = first.min(at - at % SECTOR as usize);
                end = end.max((at + ENTRY_SIZE as usize).next_multiple_of(SECTOR as usize));
            }
            let written = page.get(first..end.min(page.len())).ok_or(Error::OutOfRange)?;
            main.write(self.offset + number * PAGE + first as u64, written)?;
            self.pages.insert(number, (self.clock, page));
        }
        Ok(())
    }

    fn page(&mut self, main: &dyn Source, number: u64) -> Result<&[u8]> {
        let start = number.saturating_mul(PAGE);
        if start >= self.length() {
            return Err(Error::OutOfRange);
        }
        self.clock += 1;
        if !self.pages.contains_key(&number) {
            let length = PAGE.min(self.length() - start);
            let bytes = read_bytes(main, self.offset + start, length, "block allocation table")?;
            if self.pages.len() >= PAGE_LIMIT {
                let oldest = self.pages.iter().min_by_key(|(_, (used, _))| *used);
                if let Some(oldest) = oldest.map(|(number, _)| *number) {
                    self.pages.remove(&oldest);
                }
            }
            self.pages.insert(number, (self.clock, bytes));
        }
        let (used, bytes) = self.pages.get_mut(&number).ok_or(Error::OutOfRange)?;
        *used = self.clock;
        Ok(bytes)
    }
}

/// The place that an entry says.
fn place(entry: U32) -> Option<u64> {
    (entry.get() != UNUSED).then_some(u64::from(entry.get()) * SECTOR)
}

/// The entry that says `place`.
fn entry(place: Option<u64>) -> Result<u32> {
    let Some(place) = place else { return Ok(UNUSED) };
    let entry = u32::try_from(place / SECTOR).map_err(|_| Error::NoSpace)?;
    if entry == UNUSED { Err(Error::NoSpace) } else { Ok(entry) }
}
