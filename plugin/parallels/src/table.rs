//! The tables of all images of a chain, read page by page through one bounded cache.
//! What an entry means is for [`crate::layer`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::header::{ENTRY_SIZE, HEADER_SIZE, Header};

const PAGE: u64 = 16 << 10;
/// 8 MiB of pages, however many images there are.
const PAGE_LIMIT: usize = 512;
/// Entries a page.
pub const PAGE_ENTRIES: u64 = PAGE / ENTRY_SIZE;

/// A page, and when it was used last.
#[derive(Debug)]
struct Page {
    used: u64,
    entries: Vec<U32>,
}

/// The cache. A page is known by its image's source and its number.
#[derive(Debug, Default)]
pub struct Tables {
    pages: BTreeMap<(u32, u64), Page>,
    clock: u64,
}

impl Tables {
    /// The entry of a cluster.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the table, or what the source answers.
    pub fn entry(&mut self, source: &dyn Source, header: &Header, cluster: u64) -> Result<u32> {
        let page = self.page(source, header, cluster / PAGE_ENTRIES)?;
        let entry = page.get((cluster % PAGE_ENTRIES) as usize);
        entry.map(|entry| entry.get()).ok_or(Error::OutOfRange)
    }

    /// All entries of a page.
    ///
    /// # Errors
    /// As [`Tables::entry`].
    pub fn page(&mut self, source: &dyn Source, header: &Header, number: u64) -> Result<&[U32]> {
        let first = number.saturating_mul(PAGE_ENTRIES);
        let count = header.entries.saturating_sub(first).min(PAGE_ENTRIES);
        if count == 0 {
            return Err(Error::OutOfRange);
        }
        self.clock += 1;
        let key = (source.id(), number);
        if !self.pages.contains_key(&key) {
            let offset = HEADER_SIZE + first * ENTRY_SIZE;
            let bytes = read_bytes(source, offset, count * ENTRY_SIZE, "allocation table")?;
            let entries = bytes.chunks_exact(ENTRY_SIZE as usize);
            let entries = entries.filter_map(|entry| U32::read_from_bytes(entry).ok()).collect();
            self.make_room();
            self.pages.insert(key, Page { used: self.clock, entries });
        }
        let page = self.pages.get_mut(&key).ok_or(Error::OutOfRange)?;
        page.used = self.clock;
        Ok(&page.entries)
    }

    fn make_room(&mut self) {
        if self.pages.len() >= PAGE_LIMIT {
            let oldest = self.pages.iter().min_by_key(|(_, page)| page.used);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.pages.remove(&oldest);
            }
        }
    }
}
