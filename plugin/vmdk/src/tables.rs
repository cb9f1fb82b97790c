//! Directories and tables of sparse extents: read page by page through a bounded cache.
//! What entries mean is [`crate::place`]'s.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result};
use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};

use crate::place::Place;
use crate::sparse::Sparse;

/// Bytes read at once: tables of a disk mostly lie side by side.
const PAGE: u64 = 32 << 10;
/// Pages kept, of all extents together.
const PAGE_LIMIT: usize = 128;

/// What is known of grains from one on.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The same of all that the table covers; never [`Place::At`].
    All(Place),
    /// Entries of so many grains, at least one; see [`crate::place::Rules::grain`].
    Entries(Vec<u64>),
}

/// Pages of any extent: its number among the parts, the page's number in its file.
type Key = (usize, u64);

/// The cache.
#[derive(Debug, Default)]
pub struct Tables {
    pages: BTreeMap<Key, (u64, Vec<u8>)>,
    clock: u64,
}

impl Tables {
    /// What table `number` of `sparse`, which is the part `part`, says of the grain that
    /// is its `first` and of those behind it, as far as one page holds them. Where one
    /// copy of the table cannot be read, the other one is asked.
    ///
    /// # Errors
    /// What the source answers.
    pub fn look_up(
        &mut self,
        part: usize,
        sparse: &Sparse,
        number: u64,
        first: u64,
    ) -> Result<Found> {
        let mut failure = None;
        for directory in &sparse.directories {
            match self.look_up_in(part, sparse, *directory, number, first) {
                Ok(Found::All(Place::Bad(what))) => {
                    failure.get_or_insert(Ok(Found::All(Place::Bad(what))));
                }
                Err(error) => {
                    failure.get_or_insert(Err(error));
                }
                found => return found,
            }
        }
        failure.unwrap_or(Err(Error::OutOfRange))
    }

    /// The same by one directory, at byte `directory` of the source.
    ///
    /// # Errors
    /// What the source answers.
    pub fn look_up_in(
        &mut self,
        part: usize,
        sparse: &Sparse,
        directory: u64,
        number: u64,
        first: u64,
    ) -> Result<Found> {
        let width = sparse.rules.width();
        let size = sparse.size;
        let entry = directory + number * width;
        let entry = self.entries(part, sparse, entry, 1)?.first().copied();
        let length = sparse.table_length();
        let table = match sparse.rules.table(entry.ok_or(Error::OutOfRange)?, length, size) {
            Place::At(table) => table,
            whole => return Ok(Found::All(whole)),
        };
        let count = sparse.entries.checked_sub(first).filter(|count| *count > 0);
        let count = count.ok_or(Error::OutOfRange)?;
        self.entries(part, sparse, table + first * width, count).map(Found::Entries)
    }

    /// At most `count` entries at a byte of the source, as far as one page holds them,
    /// and at least one.
    fn entries(
        &mut self,
        part: usize,
        sparse: &Sparse,
        offset: u64,
        count: u64,
    ) -> Result<Vec<u64>> {
        let width = sparse.rules.width();
        let page = self.page(part, sparse, offset / PAGE)?;
        // Tables begin at sectors, so no entry lies on two pages.
        let (skip, width) = ((offset % PAGE) as usize, width as usize);
        let bytes = page.get(skip..).unwrap_or_default();
        let entries =
            bytes.chunks_exact(width).take(count as usize).filter_map(|entry| match width {
                4 => U32::read_from_bytes(entry).map(|entry| entry.get().into()).ok(),
                _ => U64::read_from_bytes(entry).map(U64::get).ok(),
            });
        let entries: Vec<u64> = entries.collect();
        if entries.is_empty() { Err(Error::OutOfRange) } else { Ok(entries) }
    }

    fn page(&mut self, part: usize, sparse: &Sparse, number: u64) -> Result<&[u8]> {
        self.clock += 1;
        let key = (part, number);
        if !self.pages.contains_key(&key) {
            let start = number.saturating_mul(PAGE);
            let length = PAGE.min(sparse.size.saturating_sub(start));
            let bytes = read_bytes(&*sparse.source, start, length, "tables")?;
            if self.pages.len() >= PAGE_LIMIT {
                let oldest = self.pages.iter().min_by_key(|(_, (used, _))| *used);
                if let Some(oldest) = oldest.map(|(key, _)| *key) {
                    self.pages.remove(&oldest);
                }
            }
            self.pages.insert(key, (self.clock, bytes));
        }
        let (used, bytes) = self.pages.get_mut(&key).ok_or(Error::OutOfRange)?;
        *used = self.clock;
        Ok(bytes)
    }
}
