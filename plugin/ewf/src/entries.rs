//! Table entries, read in pages on demand: four bytes a chunk make 256 MiB for
//! 2 TiB, so only a few pages are kept. A table small enough is verified whole
//! when it is first used, and its mirror serves if it fails.
//!
//! Source: libewf, "Expert Witness Compression Format", Table section, Table
//! entries offset overflow.

use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result};

use crate::evidence::Evidence;
use crate::sealed::read_sealed_bytes;
use crate::table::{ENTRY, Table, TableCopy};

/// Entries a page.
const PAGE: u32 = 16 << 10;
/// Pages kept.
const KEPT: usize = 4;
/// The longest table that is verified before use: what EnCase writes at most.
const SMALL: u32 = 65536;
/// Marks a compressed chunk in an entry.
const COMPRESSED: u32 = 1 << 31;

/// Where a chunk lies in its segment. The end is an upper bound: chunks of a
/// table usually but not surely lie in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Offset of its first stored byte; may lie past the end of a bad image.
    pub start: u64,
    /// Offset just past it, always behind the start.
    pub end: u64,
    /// A zlib stream, or raw bytes and their Adler-32.
    pub compressed: bool,
}

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
    /// One entry more than the page answers for, unless the table ends here.
    words: Vec<u32>,
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
        let segment = evidence.segment_of(table)?;
        let count = table.count.saturating_sub(first).min(PAGE + 1);
        let offset = copy.entries.saturating_add(u64::from(first) * ENTRY);
        let bytes =
            read_bytes(&*segment.source, offset, u64::from(count) * ENTRY, "table entries")?;
        if self.pages.len() >= KEPT {
            self.pages.remove(0);
        }
        self.pages.push(Page {
            table: index,
            first,
            words: words(&bytes),
            base: copy.base,
            overflow,
            data_end: table.data_end,
        });
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

fn examine(evidence: &Evidence, table: &Table) -> Result<State> {
    let source = &*evidence.segment_of(table)?.source;
    let mut failure = None;
    for copy in table.copies.iter().flatten().copied() {
        if !table.sealed || table.count > SMALL {
            return Ok(State::Ready { copy, overflow: u32::MAX });
        }
        match read_sealed_bytes(source, copy.entries, table.length(), "table entries") {
            Ok(bytes) => {
                let overflow = overflow(&words(&bytes), copy.base, table.data_end);
                return Ok(State::Ready { copy, overflow });
            }
            Err(Error::Corrupt { .. }) => (),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(State::Damaged), Err)
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks::<{ ENTRY as usize }>();
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
        let index = entry.checked_sub(self.first).filter(|index| *index < PAGE)? as usize;
        let (start, compressed) = self.read(entry, *self.words.get(index)?);
        let next =
            self.words.get(index + 1).map(|word| self.read(entry.saturating_add(1), *word).0);
        let end = [next.unwrap_or(0), self.data_end].into_iter().find(|end| *end > start);
        Some(ChunkPlace { start, end: end.unwrap_or(u64::MAX), compressed })
    }

    fn read(&self, entry: u32, word: u32) -> (u64, bool) {
        if entry >= self.overflow {
            return (self.base.saturating_add(u64::from(word)), false);
        }
        let offset = u64::from(word & !COMPRESSED);
        (self.base.saturating_add(offset), word & COMPRESSED != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(words: Vec<u32>, base: u64, data_end: u64) -> Page {
        let overflow = overflow(&words, base, data_end);
        Page { table: 0, first: 0, words, base, overflow, data_end }
    }

    #[test]
    fn a_chunk_ends_where_the_next_begins() {
        let page = page(vec![76, COMPRESSED | 1000, COMPRESSED | 500, 2000], 13, 3000);
        let place = |entry| page.place(entry).map(|place| (place.start, place.end));
        assert_eq!(place(0), Some((89, 1013)));
        assert_eq!(place(1), Some((1013, 3000)), "the next lies before: the section's end");
        assert_eq!(place(2), Some((513, 2013)));
        assert_eq!(place(3), Some((2013, 3000)));
        assert_eq!(place(4), None);
        assert!(page.place(1).unwrap().compressed && !page.place(0).unwrap().compressed);
    }

    #[test]
    fn offsets_grow_past_31_bits() {
        let top = COMPRESSED - 100;
        let words = vec![COMPRESSED | 76, COMPRESSED | top, COMPRESSED + 900, COMPRESSED + 40_000];
        let page = page(words, 0, 3 << 30);
        let place = page.place(1).unwrap();
        assert_eq!(
            (place.start, place.end, place.compressed),
            (u64::from(top), u64::from(COMPRESSED) + 900, true)
        );
        let place = page.place(3).unwrap();
        assert_eq!((place.start, place.compressed), (u64::from(COMPRESSED) + 40_000, false));
    }

    #[test]
    fn hostile_offsets_do_not_overflow() {
        let page = page(vec![u32::MAX, u32::MAX], u64::MAX - 5, u64::MAX);
        assert_eq!(page.place(0).unwrap().start, u64::MAX);
    }
}
