//! The entries of a map, in the order of the disk: paged from the archive where they are
//! stored in that order, which most writers do; otherwise sorted in memory.
//!
//! Source: AFF4 Standard v1.0a, section 4.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::{parse_struct, read_table};
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::plan::Map;
use crate::text::shown;
use crate::volume::Volume;
use crate::zip::{Method, contents, contents_offset};

/// Entries of all maps that are held in memory: 7 MiB.
pub const MOST_HELD: u64 = 1 << 18;
/// Entries a page.
const PAGE: u64 = 1024;
/// Pages kept.
const KEPT: usize = 32;
/// Entries looked at in a step.
const STEP: u64 = 1 << 15;
/// Bytes of an entry.
const ENTRY: u64 = size_of::<Entry>() as u64;

/// An entry: a range of the disk, and what it shows.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Entry {
    /// Where the range begins on the disk.
    pub mapped: U64,
    /// Its length in bytes.
    pub length: U64,
    /// Where it begins in the target.
    pub target_offset: U64,
    /// The target's line in `idx`.
    pub target: U32,
}

impl Entry {
    /// Where the range ends.
    pub fn end(&self) -> u64 {
        self.mapped.get().saturating_add(self.length.get())
    }
}

/// Where the entries are.
enum Place {
    /// In the archive, at this offset of the source.
    Archive(u64),
    Memory(Vec<Entry>),
}

/// The entries of a map.
pub struct Entries {
    place: Place,
    count: u64,
}

/// Looks at the entries of a map one step at a time, before they are used.
pub struct Look {
    /// Where the entries begin; `None` where they have to be inflated.
    offset: Option<u64>,
    count: u64,
    seen: u64,
    end: u64,
    sorted: bool,
}

impl Look {
    /// At the beginning; `sorted` is what an earlier look found.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a length that is no whole number of entries, or what the
    /// source answers.
    pub fn new(map: &Map, volume: &Volume, sorted: Option<bool>) -> Result<Self> {
        let (member, source) = (&map.member, &*volume.source);
        if !member.size.is_multiple_of(ENTRY) {
            let what = format!(
                "map {} has {} bytes, expected a multiple of {ENTRY}",
                shown(&map.urn),
                member.size
            );
            return Err(Error::corrupt_in(source.id(), member.header, what));
        }
        let stored = member.method == Method::Stored && member.stored == member.size;
        let offset = if stored { Some(contents_offset(source, member)?) } else { None };
        let count = member.size / ENTRY;
        let seen = if offset.is_none() || sorted.is_some() { count } else { 0 };
        Ok(Self { offset, count, seen, end: 0, sorted: sorted.unwrap_or(true) })
    }

    /// Entries left to look at.
    pub fn left(&self) -> u64 {
        self.count - self.seen
    }

    /// Looks at the next entries.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for an entry past the end of everything or with a target that
    /// is not there, or what the source answers.
    pub fn step(&mut self, map: &Map, volume: &Volume) -> Result<()> {
        let Some(offset) = self.offset else { return Ok(()) };
        let source = &*volume.source;
        let at = offset + self.seen * ENTRY;
        let entries: Vec<Entry> = read_table(source, at, self.left().min(STEP), "map")?;
        for entry in &entries {
            check(entry, map)
                .map_err(|what| Error::corrupt_in(source.id(), offset + self.seen * ENTRY, what))?;
            self.sorted &= entry.length.get() > 0 && entry.mapped.get() >= self.end;
            self.end = entry.end();
            self.seen += 1;
        }
        Ok(())
    }

    /// What was found, and the entries; those that have to be in memory come out of
    /// `budget`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for more than memory holds, [`Error::Corrupt`] where ranges
    /// overlap, or what the source answers.
    pub fn finish(self, map: &Map, volume: &Volume, budget: &mut u64) -> Result<(bool, Entries)> {
        if let Some(offset) = self.offset.filter(|_| self.sorted) {
            return Ok((true, Entries { place: Place::Archive(offset), count: self.count }));
        }
        let too_many = || {
            let what = format!(
                "map {} is not in order and has {} entries; {MOST_HELD} are read in all",
                shown(&map.urn),
                self.count
            );
            Error::Unsupported(what)
        };
        *budget = budget.checked_sub(self.count).ok_or_else(too_many)?;
        let entries = sorted(map, volume)?;
        let count = entries.len() as u64;
        Ok((false, Entries { place: Place::Memory(entries), count }))
    }
}

/// What is wrong with an entry on its own.
fn check(entry: &Entry, map: &Map) -> core::result::Result<(), String> {
    let (at, length) = (entry.mapped.get(), entry.length.get());
    if at.checked_add(length).is_none() || entry.target_offset.get().checked_add(length).is_none() {
        return Err(format!("a range of {length} bytes at {at} of the map"));
    }
    let (target, targets) = (entry.target.get(), map.targets.len());
    if u64::from(target) >= targets as u64 {
        return Err(format!("target {target} at {at} of the map, which has {targets}"));
    }
    Ok(())
}

/// The entries of a map that is deflated or not in order.
fn sorted(map: &Map, volume: &Volume) -> Result<Vec<Entry>> {
    let source = &*volume.source;
    let corrupt = |what: String| {
        let what = format!("map {}: {what}", shown(&map.urn));
        Error::corrupt_in(source.id(), map.member.header, what)
    };
    let bytes = contents(source, &map.member, MOST_HELD * ENTRY, "map")?;
    let mut entries = Vec::with_capacity(bytes.len() / size_of::<Entry>());
    for raw in bytes.chunks_exact(size_of::<Entry>()) {
        let entry: Entry = parse_struct(raw, source.id(), map.member.header, "map entry")?;
        check(&entry, map).map_err(corrupt)?;
        // Empty ranges show nothing; some writers leave them.
        if entry.length.get() > 0 {
            entries.push(entry);
        }
    }
    entries.sort_unstable_by_key(|entry| entry.mapped.get());
    for (one, next) in entries.iter().zip(entries.iter().skip(1)) {
        if one.end() > next.mapped.get() {
            let (end, start) = (one.end(), next.mapped.get());
            return Err(corrupt(format!("a range ends at {end} and the next begins at {start}")));
        }
    }
    Ok(entries)
}

/// Pages of a map's entries, for one opened disk.
#[derive(Default)]
pub struct Pages {
    /// The one used last stands first.
    pages: Vec<(u64, Vec<Entry>)>,
}

impl Entries {
    /// The entry of that number, if there is one.
    ///
    /// # Errors
    /// What the source answers.
    pub fn get(
        &self,
        source: &dyn Source,
        pages: &mut Pages,
        number: u64,
    ) -> Result<Option<Entry>> {
        if number >= self.count {
            return Ok(None);
        }
        let offset = match &self.place {
            Place::Memory(entries) => return Ok(entries.get(number as usize).copied()),
            Place::Archive(offset) => *offset,
        };
        let (page, place) = (number / PAGE, (number % PAGE) as usize);
        let kept = pages.pages.iter().position(|(kept, _)| *kept == page);
        match kept {
            Some(kept) => pages.pages.get_mut(..=kept).unwrap_or_default().rotate_right(1),
            None => {
                let count = PAGE.min(self.count - page * PAGE);
                let entries = read_table(source, offset + page * PAGE * ENTRY, count, "map")?;
                pages.pages.truncate(KEPT - 1);
                pages.pages.insert(0, (page, entries));
            }
        }
        Ok(pages.pages.first().and_then(|(_, entries)| entries.get(place)).copied())
    }

    /// The number of the first entry that ends behind `at`: it holds `at`, or a gap
    /// comes before it.
    ///
    /// # Errors
    /// What the source answers.
    pub fn find(&self, source: &dyn Source, pages: &mut Pages, at: u64) -> Result<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(source, pages, middle)? {
                Some(entry) if entry.end() > at => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(low)
    }

    /// Where the last range ends.
    ///
    /// # Errors
    /// What the source answers.
    pub fn end(&self, source: &dyn Source) -> Result<u64> {
        let last = self.count.checked_sub(1);
        let last = last.map(|last| self.get(source, &mut Pages::default(), last)).transpose()?;
        Ok(last.flatten().map_or(0, |entry| entry.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_size() {
        assert_eq!(ENTRY, 28);
    }
}
