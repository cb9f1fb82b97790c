//! The directory that counts, and the tables it leads to, read page by page through a
//! bounded cache. What an entry means for the disk is for [`crate::map`].

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::{read_bytes, read_struct};
use fumehood_plugin::{Error, Result, Source, SourceHandle};
use zerocopy::FromBytes;
use zerocopy::big_endian::U64;

use crate::header::{ENTRY_SIZE, Header};

const PAGE: u64 = 16 << 10;
/// 8 MiB.
const PAGE_LIMIT: usize = 512;
/// The bits of an entry that are a chunk's number.
const NUMBER_BITS: u32 = 55;
/// The two highest bits tell of how a chunk was written, and not of where it lies.
const KNOWN_FLAGS: u64 = 0b11 << 62;

/// An entry of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Nothing was written.
    None,
    /// The number of a chunk of the file.
    Chunk(u64),
    /// With bits that nobody has seen set.
    Unknown(u64),
}

impl Entry {
    fn new(raw: u64) -> Self {
        let number = raw & ((1 << NUMBER_BITS) - 1);
        match (raw & !KNOWN_FLAGS == number, number) {
            (false, _) => Self::Unknown(raw),
            (true, 0) => Self::None,
            (true, number) => Self::Chunk(number),
        }
    }
}

struct Page {
    used: u64,
    entries: Vec<U64>,
}

/// Directory and tables of an image.
pub struct Tables {
    main: SourceHandle,
    /// Offset of the first entry of the directory that counts.
    directory: u64,
    tables: u64,
    chunk: u64,
    pages: BTreeMap<u64, Page>,
    clock: u64,
}

/// What is known of the directories.
#[derive(Debug, Clone, Copy)]
pub struct Directory {
    /// Which of the two counts.
    pub number: usize,
    /// Its version, the higher one.
    pub version: u64,
}

impl Directory {
    /// The directory that counts.
    ///
    /// # Errors
    /// What the source answers.
    pub fn choose(main: &dyn Source, header: &Header) -> Result<Self> {
        let [first, second] = header.directories;
        let version = |at| read_struct::<U64>(main, at, "directory").map(|version| version.get());
        let (one, other) = (version(first)?, version(second)?);
        let number = usize::from(other > one);
        Ok(Self { number, version: one.max(other) })
    }
}

impl Tables {
    /// Those of the image in `main`.
    pub fn new(main: SourceHandle, header: &Header, directory: Directory) -> Self {
        let [first, second] = header.directories;
        let start = if directory.number == 0 { first } else { second };
        Self {
            main,
            // Behind the version; that it lies in the file is checked.
            directory: start.saturating_add(ENTRY_SIZE),
            tables: header.tables,
            chunk: header.chunk,
            pages: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Where table `number` lies in the file; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the directory, [`Error::Corrupt`] for a table that
    /// does not lie in the file, or what the source answers.
    pub fn table(&mut self, number: u64) -> Result<Option<u64>> {
        if number >= self.tables {
            return Err(Error::OutOfRange);
        }
        let at = self.directory + number * ENTRY_SIZE;
        let outside = |chunk: u64| {
            Err(Error::corrupt(at, format!("table {number} in the chunk {chunk}, past the end")))
        };
        match Entry::new(self.entry(self.directory, number, self.tables)?) {
            Entry::None => Ok(None),
            Entry::Unknown(raw) => {
                Err(Error::corrupt(at, format!("unknown flags in the entry {raw:#x}")))
            }
            Entry::Chunk(chunk) => match chunk.checked_mul(self.chunk) {
                Some(start) if start.saturating_add(self.chunk) <= self.main.size() => {
                    Ok(Some(start))
                }
                _ => outside(chunk),
            },
        }
    }

    /// Entry `index` of the table that lies at `start`.
    ///
    /// # Errors
    /// What the source answers.
    pub fn chunk(&mut self, start: u64, index: u64) -> Result<Entry> {
        self.entry(start, index, self.chunk / ENTRY_SIZE).map(Entry::new)
    }

    /// Entry `index` of `count` that lie from `start` on.
    fn entry(&mut self, start: u64, index: u64, count: u64) -> Result<u64> {
        let per_page = PAGE / ENTRY_SIZE;
        let first = index / per_page * per_page;
        let at = start.saturating_add(first * ENTRY_SIZE);
        self.clock += 1;
        if !self.pages.contains_key(&at) {
            let length = count.saturating_sub(first).min(per_page) * ENTRY_SIZE;
            let bytes = read_bytes(&*self.main, at, length, "table")?;
            let entries = bytes.chunks_exact(ENTRY_SIZE as usize);
            let entries = entries.filter_map(|entry| U64::read_from_bytes(entry).ok()).collect();
            self.make_room();
            self.pages.insert(at, Page { used: self.clock, entries });
        }
        let page = self.pages.get_mut(&at).ok_or(Error::OutOfRange)?;
        page.used = self.clock;
        page.entries.get((index - first) as usize).map(|entry| entry.get()).ok_or(Error::OutOfRange)
    }

    fn make_room(&mut self) {
        if self.pages.len() >= PAGE_LIMIT {
            let oldest = self.pages.iter().min_by_key(|(_, page)| page.used);
            if let Some(oldest) = oldest.map(|(at, _)| *at) {
                self.pages.remove(&oldest);
            }
        }
    }
}
