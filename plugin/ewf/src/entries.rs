//! Table entries, read in pages on demand: four bytes a chunk make 256 MiB for
//! 2 TiB, and in version 2 sixteen 1 GiB, so only a few pages are kept. A table is
//! verified whole when it is first used, and its mirror serves if it fails; in version 1,
//! all of whose chunks have checksums, only a small one.
//!
//! Source: libewf, "Expert Witness Compression Format", Table section, Table
//! entries offset overflow.

use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::{read_bytes, read_table};
use fumehood_plugin::{Error, Result, Source};

use crate::evidence::Evidence;
use crate::ewf2;
use crate::ewf2::table::Place;
use crate::place::{ChunkPlace, Form};
use crate::sealed::{read_sealed_bytes, verify_long};
use crate::table::{Layout, Table, TableCopy};

/// Entries a page.
const PAGE: u32 = 16 << 10;
/// Pages kept.
const KEPT: usize = 4;
/// The longest table of version 1 that is verified before use: what EnCase writes at most.
const SMALL: u32 = 65536;
/// Marks a compressed chunk in an entry.
const COMPRESSED: u32 = 1 << 31;

/// What is known of a table's entries.
#[derive(Debug, Clone, Copy)]
enum State {
    Unread,
    /// `overflow` is the number of the first entry that uses all 32 bits as an
    /// offset, or `u32::MAX`.
    Ready {
        copy: TableCopy,
        overflow: u32,
    },
    Damaged,
}

/// Consecutive entries of one table.
pub struct Page {
    table: usize,
    first: u32,
    held: Held,
}

/// What a page holds, in the table's layout.
enum Held {
    Offsets(Offsets),
    Places(Vec<Place>),
}

/// Entries of version 1.
struct Offsets {
    /// One entry more than the page answers for, unless the table ends here.
    words: Vec<u32>,
    /// Number of the first of them.
    first: u32,
    base: u64,
    overflow: u32,
    data_end: u64,
}

/// The entries of all tables of a set.
pub struct Entries {
    states: Vec<State>,
    /// The page used last stands last.
    pages: Vec<Page>,
}

impl Entries {
    /// Entries of a set with this many tables; reads nothing yet.
    pub fn new(tables: usize) -> Self {
        Self { states: vec![State::Unread; tables], pages: Vec::new() }
    }

    /// The page with `entry` of a table; `None` where no copy of the table can be
    /// trusted.
    ///
    /// # Errors
    /// What the source answers.
    pub fn page(
        &mut self,
        evidence: &Evidence,
        (index, table): (usize, &Table),
        entry: u32,
    ) -> Result<Option<&Page>> {
        let first = entry - entry % PAGE;
        let found = self.pages.iter().position(|page| page.table == index && page.first == first);
        if let Some(place) = found {
            let page = self.pages.remove(place);
            self.pages.push(page);
            return Ok(self.pages.last());
        }
        let State::Ready { copy, overflow } = self.state(evidence, (index, table))? else {
            return Ok(None);
        };
        let held = read_page(evidence, table, copy, overflow, first)?;
        if self.pages.len() >= KEPT {
            self.pages.remove(0);
        }
        self.pages.push(Page { table: index, first, held });
        Ok(self.pages.last())
    }

    fn state(&mut self, evidence: &Evidence, (index, table): (usize, &Table)) -> Result<State> {
        let Some(state) = self.states.get_mut(index) else { return Ok(State::Damaged) };
        if matches!(state, State::Unread) {
            *state = examine(evidence, table)?;
        }
        Ok(*state)
    }
}

/// The entries of a table from `first` on, as many as a page holds.
fn read_page(
    evidence: &Evidence,
    table: &Table,
    copy: TableCopy,
    overflow: u32,
    first: u32,
) -> Result<Held> {
    let source = &*evidence.segment_of(table)?.source;
    let entry = table.layout.entry();
    let offset = copy.entries.saturating_add(u64::from(first) * entry);
    let count = table.count.saturating_sub(first);
    Ok(match table.layout {
        Layout::Offsets { data_end } => {
            let length = u64::from(count.min(PAGE + 1)) * entry;
            let words = words(&read_bytes(source, offset, length, "table entries")?);
            Held::Offsets(Offsets { words, first, base: copy.base, overflow, data_end })
        }
        Layout::Places { .. } => {
            let count = u64::from(count.min(PAGE));
            Held::Places(read_table(source, offset, count, "sector table entries")?)
        }
    })
}

fn examine(evidence: &Evidence, table: &Table) -> Result<State> {
    let source = &*evidence.segment_of(table)?.source;
    let mut failure = None;
    for copy in table.copies.iter().flatten().copied() {
        let long = matches!(table.layout, Layout::Offsets { .. }) && table.count > SMALL;
        if !table.sealed || long {
            return Ok(State::Ready { copy, overflow: u32::MAX });
        }
        match verify(source, table, copy) {
            Ok(overflow) => return Ok(State::Ready { copy, overflow }),
            Err(Error::Corrupt { .. }) => (),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(State::Damaged), Err)
}

/// Verifies the entries of a copy; answers where their offsets grow past 31 bits.
fn verify(source: &dyn Source, table: &Table, copy: TableCopy) -> Result<u32> {
    let (at, length, what) = (copy.entries, table.length(), "table entries");
    match table.layout {
        Layout::Offsets { data_end } => {
            let bytes = read_sealed_bytes(source, at, length, what)?;
            Ok(overflow(&words(&bytes), copy.base, data_end))
        }
        Layout::Places { descriptor } => {
            verify_long(source, at, length, what, |_| ())?;
            ewf2::section::Section::read(source, descriptor)?.verify(source)?;
            Ok(u32::MAX)
        }
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks::<{ size_of::<u32>() }>();
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// Where EnCase 6.7.1 began to use the mark as one more bit of the offset: more
/// than 2 GiB of chunks, and an entry that goes on from the one before only when
/// read so. From there on its chunks are raw.
fn overflow(words: &[u32], base: u64, data_end: u64) -> u32 {
    if data_end.saturating_sub(base) <= u64::from(COMPRESSED) {
        return u32::MAX;
    }
    let crossing = words.windows(2).position(|pair| match pair {
        &[before, after] => {
            let before = before & !COMPRESSED;
            after >= COMPRESSED && after & !COMPRESSED < before && before > COMPRESSED / 2
        }
        _ => false,
    });
    crossing.and_then(|place| u32::try_from(place + 1).ok()).unwrap_or(u32::MAX)
}

impl Page {
    /// Where the chunk of `entry` lies; `None` where the page does not hold it.
    pub fn place(&self, entry: u32) -> Option<ChunkPlace> {
        let index = entry.checked_sub(self.first).filter(|index| *index < PAGE)?;
        match &self.held {
            Held::Offsets(offsets) => offsets.place(index),
            Held::Places(places) => places.get(index as usize).map(Place::read),
        }
    }
}

impl Offsets {
    fn place(&self, index: u32) -> Option<ChunkPlace> {
        let (start, form) = self.read(index)?;
        let next = self.read(index.saturating_add(1)).map(|(start, _)| start);
        let end = [next.unwrap_or(0), self.data_end].into_iter().find(|end| *end > start);
        Some(ChunkPlace::Held { start, end: end.unwrap_or(u64::MAX), form })
    }

    fn read(&self, index: u32) -> Option<(u64, Form)> {
        let word = *self.words.get(index as usize)?;
        if self.first.saturating_add(index) >= self.overflow {
            return Some((self.base.saturating_add(u64::from(word)), Form::Sealed));
        }
        let form = if word & COMPRESSED != 0 { Form::Compressed } else { Form::Sealed };
        Some((self.base.saturating_add(u64::from(word & !COMPRESSED)), form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(words: Vec<u32>, base: u64, data_end: u64) -> Page {
        let overflow = overflow(&words, base, data_end);
        let held = Held::Offsets(Offsets { words, first: 0, base, overflow, data_end });
        Page { table: 0, first: 0, held }
    }

    fn place(page: &Page, entry: u32) -> Option<(u64, u64, bool)> {
        match page.place(entry)? {
            ChunkPlace::Held { start, end, form } => Some((start, end, form == Form::Compressed)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_chunk_ends_where_the_next_begins() {
        let page = page(vec![76, COMPRESSED | 1000, COMPRESSED | 500, 2000], 13, 3000);
        assert_eq!(place(&page, 0), Some((89, 1013, false)));
        assert_eq!(place(&page, 1), Some((1013, 3000, true)), "the next lies before it");
        assert_eq!(place(&page, 2), Some((513, 2013, true)));
        assert_eq!(place(&page, 3), Some((2013, 3000, false)));
        assert_eq!(place(&page, 4), None);
    }

    #[test]
    fn offsets_grow_past_31_bits() {
        let top = COMPRESSED - 100;
        let words = vec![COMPRESSED | 76, COMPRESSED | top, COMPRESSED + 900, COMPRESSED + 40_000];
        let page = page(words, 0, 3 << 30);
        let high = u64::from(COMPRESSED);
        assert_eq!(place(&page, 1), Some((u64::from(top), high + 900, true)));
        assert_eq!(place(&page, 3), Some((high + 40_000, 3 << 30, false)));
    }

    #[test]
    fn hostile_offsets_do_not_overflow() {
        let page = page(vec![u32::MAX, u32::MAX], u64::MAX - 5, u64::MAX);
        assert_eq!(place(&page, 0), Some((u64::MAX, u64::MAX, true)));
    }
}
