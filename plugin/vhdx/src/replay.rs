//! Which entries of the log count ([MS-VHDX] 2.3.2), and carrying them out: into the
//! file, or into memory where the file may not be written.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};

use crate::guid::Guid;
use crate::layout::{FILE_LIMIT, PAGE, REGION_TABLES, Region};
use crate::log_entry::{Change, Entry, Ring};
use crate::overlay::Overlay;

/// Bytes of the log read at once to find where entries begin.
const SCAN: u64 = 1 << 20;
/// Entries do not overlap, save old ones whose rest was overwritten: so many times
/// the log's length is read to check them, and no more.
const EFFORT: u64 = 8;

/// What of a log is to be carried out.
pub struct Sequence {
    /// Oldest first.
    pub entries: Vec<Entry>,
    ring: Ring,
    /// The length that the file has at least, once they are carried out.
    pub file_size: u64,
}

impl Sequence {
    /// Finds the newest whole entry whose tail leads to it by whole entries.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where there is none, or where the file is shorter than it was
    /// when that entry was written.
    pub fn find(ring: Ring, log: Guid) -> Result<Self> {
        let mut search = Search::new(&ring, log)?;
        let mut newest: Vec<_> = search.candidates.values().copied().collect();
        newest.sort_unstable_by_key(|entry| core::cmp::Reverse(entry.sequence));
        for head in newest {
            if let Some(entries) = search.chain(head)? {
                return Self::checked(entries, head, ring);
            }
        }
        let what = "expected a whole log entry, since the header says that the log is in use";
        Err(Error::corrupt(ring.region.offset, what))
    }

    fn checked(entries: Vec<Entry>, head: Entry, ring: Ring) -> Result<Self> {
        let size = ring.source.size();
        let field = ring.region.offset + head.start;
        if size < head.flushed {
            let what = format!(
                "the file was {} bytes long when the log was written and has {size} now",
                head.flushed
            );
            return Err(Error::corrupt(field + 48, what));
        }
        if head.last > FILE_LIMIT {
            let what = format!("a log that makes the file {} bytes long", head.last);
            return Err(Error::corrupt(field + 56, what));
        }
        Ok(Self { entries, file_size: size.max(head.last), ring })
    }

    /// Carries them out in memory.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a change where none may be, [`Error::Unsupported`] for too
    /// many, and what the source answers.
    pub fn to_overlay(&self) -> Result<Overlay> {
        let mut overlay = Overlay::default();
        self.changes(&mut |change| match change {
            Change::Page(offset, page) => overlay.put(offset, page),
            Change::Zero(region) => overlay.zero(region.offset, region.length),
        })?;
        Ok(overlay)
    }

    /// Carries them out in the file, durably.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a change where none may be, and what the source answers.
    pub fn to_file(&self) -> Result<()> {
        let source = &self.ring.source;
        if source.size() < self.file_size {
            source.resize(self.file_size)?;
        }
        self.changes(&mut |change| match change {
            Change::Page(offset, page) => source.write(offset, &page),
            Change::Zero(region) => source.zero(region.offset, region.length),
        })?;
        source.flush()
    }

    fn changes(&self, carry_out: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        for entry in &self.entries {
            entry.changes(&self.ring, &mut |change| {
                self.check_target(&change, entry)?;
                carry_out(change)
            })?;
        }
        Ok(())
    }

    /// The headers, the log itself and what lies behind the file are nothing that a
    /// log changes.
    fn check_target(&self, change: &Change, entry: &Entry) -> Result<()> {
        let target = match change {
            Change::Page(offset, _) => Region { offset: *offset, length: PAGE },
            Change::Zero(region) => *region,
        };
        let end = target.offset.checked_add(target.length);
        let aligned = target.offset.is_multiple_of(PAGE) && target.length.is_multiple_of(PAGE);
        let sound = aligned
            && target.offset >= REGION_TABLES[0]
            && end.is_some_and(|end| end <= self.file_size)
            && !target.overlaps(self.ring.region);
        if sound {
            return Ok(());
        }
        let what = format!(
            "expected a log entry to change whole pages of the file behind its headers, \
             found {} bytes at {}",
            target.length, target.offset
        );
        Err(Error::corrupt(self.ring.region.offset + entry.start, what))
    }
}

struct Search<'a> {
    ring: &'a Ring,
    /// By where they begin; not checked yet.
    candidates: BTreeMap<u64, Entry>,
    /// Whether they are whole, once that was looked at.
    whole: BTreeMap<u64, bool>,
    effort: u64,
}

impl<'a> Search<'a> {
    fn new(ring: &'a Ring, log: Guid) -> Result<Self> {
        let length = ring.region.length;
        let mut candidates = BTreeMap::new();
        for at in (0..length).step_by(SCAN as usize) {
            let bytes = ring.read(at, SCAN.min(length - at))?;
            let sectors = (at..).step_by(PAGE as usize).zip(bytes.chunks(PAGE as usize));
            let entries =
                sectors.filter_map(|(start, sector)| Entry::parse(sector, start, log, length));
            candidates.extend(entries.map(|entry| (entry.start, entry)));
        }
        let effort = length.saturating_mul(EFFORT);
        Ok(Self { ring, candidates, whole: BTreeMap::new(), effort })
    }

    /// The entries from the tail of `head` up to `head`, if all of them are whole.
    fn chain(&mut self, head: Entry) -> Result<Option<Vec<Entry>>> {
        if !self.is_whole(&head)? {
            return Ok(None);
        }
        let mut entries = Vec::new();
        let (mut at, mut length) = (head.tail, 0);
        loop {
            let Some(entry) = self.candidates.get(&at).copied() else { return Ok(None) };
            length += entry.length;
            let follows =
                entries.last().is_none_or(|last: &Entry| last.sequence + 1 == entry.sequence);
            if !follows || length > self.ring.region.length || !self.is_whole(&entry)? {
                return Ok(None);
            }
            entries.push(entry);
            if entry == head {
                return Ok(Some(entries));
            }
            at = self.ring.advance(entry.start, entry.length);
        }
    }

    fn is_whole(&mut self, entry: &Entry) -> Result<bool> {
        self.effort = self.effort.saturating_sub(PAGE);
        if let Some(whole) = self.whole.get(&entry.start) {
            return self.spent().map(|()| *whole);
        }
        self.effort = self.effort.saturating_sub(entry.length);
        self.spent()?;
        let whole = entry.is_whole(self.ring)?;
        self.whole.insert(entry.start, whole);
        Ok(whole)
    }

    fn spent(&self) -> Result<()> {
        if self.effort > 0 {
            return Ok(());
        }
        let what = "expected log entries one behind the other, found them over each other";
        Err(Error::corrupt(self.ring.region.offset, what))
    }
}
