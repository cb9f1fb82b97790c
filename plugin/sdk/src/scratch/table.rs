//! A table of records of one length in the scratch source, for indexes larger than a
//! plugin's memory: a few pages are kept, the rest lies in the scratch.
//!
//! ```text
//!   header │ page 0 │ page 1 │ …        │ body: which pages there are, and a summary
//!     ▲         └─ checksum, records      ▲
//!     └── written last, by finish ────────┘
//! ```
//!
//! Pages no record was set in are not written. Every page carries a checksum into which
//! its number and the run that made it (the generation) go, so that a page that is
//! torn, or that another run wrote in its place, is seen when it is read.
//!
//! A table that fits into memory works without a scratch too. Two that are made in one
//! scratch at the same time disturb each other: the loser says so, and an open later
//! finds what the winner left.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Identity;
use crate::error::{Error, Result};
use crate::read::{READ_LIMIT, parse_struct};
use crate::source::SourceHandle;

/// Bytes of a page.
const PAGE: usize = 16 << 10;
/// Bytes of a page's checksum, which stands before its records.
const SUM: usize = size_of::<u64>();
/// Pages kept where the others lie in the scratch: 8 MiB.
const KEPT: usize = 512;
/// Pages kept where there is no scratch: 24 MiB.
const KEPT_ALONE: usize = 1536;
/// The most pages that lie in the scratch: 16 GiB.
const MOST_PAGES: u64 = 1 << 20;

const MAGIC: [u8; 4] = *b"FHST";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    version: u8,
    reserved: [u8; 3],
    identity: Identity,
    generation: U64,
    body_offset: U64,
    body_length: U64,
    /// Over the body, and all of the header before.
    checksum: U64,
}

struct Page {
    number: u64,
    /// The checksum's room, then the records.
    bytes: Vec<u8>,
    used: u64,
    changed: bool,
}

/// Records by their numbers. A record that was never set is all zeroes.
pub struct Table<R> {
    scratch: Option<SourceHandle>,
    generation: u64,
    /// Pages in memory, in no order.
    pages: Vec<Page>,
    /// Where in `pages` they are, by their numbers.
    places: BTreeMap<u64, usize>,
    /// Where the page that was used last is: most often it is used again.
    recent: usize,
    /// A bit for each page that lies in the scratch.
    stored: Vec<u64>,
    clock: u64,
    moved: u64,
    record: PhantomData<R>,
}

impl<R: FromBytes + IntoBytes + Immutable + KnownLayout> Table<R> {
    /// Records a page holds.
    const RECORDS: u64 = ((PAGE - SUM) / size_of::<R>()) as u64;

    /// An empty table. What the scratch held before is lost once the table grows past
    /// memory, or is finished. `seed` are the random bytes of this open.
    pub fn new(scratch: Option<SourceHandle>, seed: &[u8; 32]) -> Self {
        Self::with(scratch, mix(0, seed), Vec::new())
    }

    fn with(scratch: Option<SourceHandle>, generation: u64, stored: Vec<u64>) -> Self {
        Self {
            scratch,
            generation,
            pages: Vec::new(),
            places: BTreeMap::new(),
            recent: 0,
            stored,
            clock: 0,
            moved: 0,
            record: PhantomData,
        }
    }

    /// The table that [`Table::finish`] left for the same version and identity, and its
    /// summary. Pages are verified when they are read; what they say is to be checked
    /// as if it came from the image.
    pub fn load<T: DeserializeOwned>(
        scratch: &SourceHandle,
        version: u8,
        identity: &Identity,
    ) -> Option<(Self, T)> {
        let bytes = scratch.read(0, size_of::<Header>()).ok()?;
        let header: Header = parse_struct(&bytes, scratch.id(), 0, "scratch header").ok()?;
        let (offset, length) = (header.body_offset.get(), header.body_length.get());
        let end = offset.checked_add(length)?;
        if header.magic != MAGIC
            || header.version != version
            || header.identity != *identity
            || length > READ_LIMIT
            || end > scratch.size()
        {
            return None;
        }
        let body = scratch.read(offset, length as usize).ok()?;
        if header.checksum.get() != checksum(&bytes, &body) {
            return None;
        }
        let ((stored, summary), _) =
            bincode::serde::decode_from_slice(&body, bincode::config::standard()).ok()?;
        Some((Self::with(Some(scratch.clone()), header.generation.get(), stored), summary))
    }

    /// How many pages were moved between memory and scratch so far: what a step of work
    /// can be measured by.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// The record `number`.
    ///
    /// # Errors
    /// [`Error::Io`] where the scratch no longer holds what was written to it; the next
    /// open then begins anew.
    pub fn get(&mut self, number: u64) -> Result<R> {
        let (page, at) = (number / Self::RECORDS, Self::place(number));
        if self.find(page).is_none() && !self.is_stored(page) {
            return Ok(R::new_zeroed());
        }
        let bytes = &self.page(page)?.bytes;
        let bytes = bytes.get(at..at + size_of::<R>()).unwrap_or_default();
        R::read_from_bytes(bytes).map_err(|_| Error::OutOfRange)
    }

    /// The first number from `number` on whose page holds any record.
    pub fn next_used(&self, number: u64) -> Option<u64> {
        let page = number / Self::RECORDS;
        let kept = self.places.range(page..).next().map(|(page, _)| *page);
        let next = match (kept, self.next_stored(page)) {
            (Some(kept), Some(stored)) => Some(kept.min(stored)),
            (kept, stored) => kept.or(stored),
        };
        Some(next?.checked_mul(Self::RECORDS)?.max(number))
    }

    /// Sets the record `number`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the table has outgrown memory and there is no
    /// scratch, what the scratch answers, and as [`Table::get`].
    pub fn set(&mut self, number: u64, record: &R) -> Result<()> {
        let at = Self::place(number);
        let page = self.page(number / Self::RECORDS)?;
        page.changed = true;
        let bytes = page.bytes.get_mut(at..at + size_of::<R>()).ok_or(Error::OutOfRange)?;
        bytes.copy_from_slice(record.as_bytes());
        Ok(())
    }

    /// Writes what is not written yet, then the header: from here on [`Table::load`]
    /// finds the table. Where that fails and all is in memory, the table goes on without
    /// the scratch.
    ///
    /// # Errors
    /// What the scratch answers.
    pub fn finish<T: Serialize>(
        &mut self,
        version: u8,
        identity: &Identity,
        summary: &T,
    ) -> Result<()> {
        match self.write_all(version, identity, summary) {
            Err(_) if self.is_in_memory() => {
                self.scratch = None;
                Ok(())
            }
            answer => answer,
        }
    }

    /// Says that a record contradicts the image: the scratch is not to be believed.
    /// Answers the error to give; the next open begins anew.
    pub fn distrust(&mut self) -> Error {
        if let Some(scratch) = &self.scratch {
            // Scratch that cannot be written to will be distrusted again.
            let _ = scratch.write(0, &[0; size_of::<Header>()]);
        }
        let what = "the scratch does not hold what was written to it: open the image again";
        Error::Io(what.to_string())
    }

    fn write_all<T: Serialize>(
        &mut self,
        version: u8,
        identity: &Identity,
        summary: &T,
    ) -> Result<()> {
        let Some(scratch) = self.scratch.clone() else { return Ok(()) };
        let ascending: Vec<usize> = self.places.values().copied().collect();
        ascending.into_iter().try_for_each(|place| self.write_page(place))?;
        let body =
            bincode::serde::encode_to_vec((&self.stored, summary), bincode::config::standard())
                .map_err(|error| Error::Io(alloc::format!("cannot encode a summary: {error}")))?;
        let body_offset = offset_of(self.stored.len() as u64 * u64::from(u64::BITS))?;
        let mut header = Header {
            magic: MAGIC,
            version,
            reserved: [0; 3],
            identity: *identity,
            generation: U64::new(self.generation),
            body_offset: U64::new(body_offset),
            body_length: U64::new(body.len() as u64),
            checksum: U64::new(0),
        };
        header.checksum = U64::new(checksum(header.as_bytes(), &body));
        scratch.write(body_offset, &body)?;
        scratch.flush()?;
        scratch.write(0, header.as_bytes())?;
        scratch.flush()
    }

    /// Where a record lies in its page.
    fn place(number: u64) -> usize {
        SUM + (number % Self::RECORDS) as usize * size_of::<R>()
    }

    fn is_stored(&self, page: u64) -> bool {
        let word = usize::try_from(page / 64).ok().and_then(|word| self.stored.get(word));
        word.is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    /// The first stored page from `page` on.
    fn next_stored(&self, page: u64) -> Option<u64> {
        let first = page / 64;
        let words = self.stored.iter().enumerate().skip(usize::try_from(first).ok()?);
        words.map(|(at, word)| (at as u64, *word)).find_map(|(at, word)| {
            let word = if at == first { word & u64::MAX << (page % 64) } else { word };
            (word != 0).then(|| at * 64 + u64::from(word.trailing_zeros()))
        })
    }

    /// Whether nothing was moved out of memory yet.
    fn is_in_memory(&self) -> bool {
        let mut next = self.next_stored(0);
        while let Some(page) = next {
            if !self.places.contains_key(&page) {
                return false;
            }
            next = self.next_stored(page + 1);
        }
        true
    }

    /// Where a page is in memory, if it is.
    fn find(&mut self, number: u64) -> Option<usize> {
        if self.pages.get(self.recent).is_none_or(|page| page.number != number) {
            self.recent = *self.places.get(&number)?;
        }
        Some(self.recent)
    }

    /// A page in memory, read or made if it is not there yet.
    fn page(&mut self, number: u64) -> Result<&mut Page> {
        let place = match self.find(number) {
            Some(place) => place,
            None => self.bring(number)?,
        };
        self.clock += 1;
        let page = self.pages.get_mut(place).ok_or(Error::OutOfRange)?;
        page.used = self.clock;
        Ok(page)
    }

    /// Puts a page into memory that is not there, and answers where.
    fn bring(&mut self, number: u64) -> Result<usize> {
        let room = self.room()?;
        let bytes = if self.is_stored(number) { self.read_page(number)? } else { vec![0; PAGE] };
        let page = Page { number, bytes, used: 0, changed: false };
        let place = match room.and_then(|place| Some((place, self.pages.get_mut(place)?))) {
            Some((place, old)) => {
                self.places.remove(&old.number);
                *old = page;
                place
            }
            None => {
                self.pages.push(page);
                self.pages.len() - 1
            }
        };
        self.places.insert(number, place);
        Ok(place)
    }

    /// Where a new page may go: `None` for room of its own, otherwise in the place of the
    /// one that was used longest ago, which lies in the scratch now.
    fn room(&mut self) -> Result<Option<usize>> {
        if self.scratch.is_some() && self.pages.len() >= KEPT {
            let oldest = self.pages.iter().enumerate().min_by_key(|(_, page)| page.used);
            let oldest = oldest.map_or(0, |(place, _)| place);
            match self.write_page(oldest) {
                Ok(()) => return Ok(Some(oldest)),
                Err(_) if self.is_in_memory() => self.scratch = None,
                Err(error) => return Err(error),
            }
        }
        if self.scratch.is_none() && self.pages.len() >= KEPT_ALONE {
            let what = "an index of more than 24 MiB, without a scratch to keep it in";
            return Err(Error::Unsupported(what.to_string()));
        }
        Ok(None)
    }

    fn read_page(&mut self, number: u64) -> Result<Vec<u8>> {
        let scratch = self.scratch.clone().ok_or(Error::OutOfRange)?;
        self.moved += 1;
        let bytes = scratch.read(offset_of(number)?, PAGE);
        let sound = bytes.ok().filter(|bytes| {
            let (sum, records) = bytes.split_at(SUM.min(bytes.len()));
            sum == page_sum(self.generation, number, records).to_le_bytes()
        });
        sound.ok_or_else(|| self.distrust())
    }

    /// Writes the page at this place of `pages`, if it was changed.
    fn write_page(&mut self, place: usize) -> Result<()> {
        let generation = self.generation;
        let Some(page) = self.pages.get_mut(place).filter(|page| page.changed) else {
            return Ok(());
        };
        let scratch = self.scratch.clone().ok_or(Error::OutOfRange)?;
        let number = page.number;
        let sum = page_sum(generation, number, page.bytes.get(SUM..).unwrap_or_default());
        page.bytes.get_mut(..SUM).ok_or(Error::OutOfRange)?.copy_from_slice(&sum.to_le_bytes());
        scratch.write(offset_of(number)?, &page.bytes)?;
        page.changed = false;
        self.moved += 1;
        let word = (number / 64) as usize;
        if self.stored.len() <= word {
            self.stored.resize(word + 1, 0);
        }
        if let Some(word) = self.stored.get_mut(word) {
            *word |= 1 << (number % 64);
        }
        Ok(())
    }
}

fn page_sum(generation: u64, number: u64, records: &[u8]) -> u64 {
    mix(generation ^ number.wrapping_mul(PRIME), records)
}

/// Where a page lies in the scratch.
fn offset_of(page: u64) -> Result<u64> {
    if page < MOST_PAGES { Ok((page + 1) * PAGE as u64) } else { Err(Error::NoSpace) }
}

/// The checksum that stands in a header of these bytes over `body`.
fn checksum(header: &[u8], body: &[u8]) -> u64 {
    let before = header.len().saturating_sub(SUM);
    mix(mix(0, header.get(..before).unwrap_or_default()), body)
}

const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;

/// A checksum that goes on from `seed`, a word a step: finds torn writes, which is all
/// it is for.
fn mix(seed: u64, bytes: &[u8]) -> u64 {
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(PRIME).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(seed, |sum, word| step(sum, u64::from_le_bytes(*word)));
    let sum = rest.iter().fold(sum, |sum, byte| step(sum, u64::from(*byte)));
    step(sum, bytes.len() as u64)
}

#[cfg(test)]
mod tests;
