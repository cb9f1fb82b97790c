//! Writing the log: where the next entry goes, and from where on a crash is made good
//! from.
//!
//! Each entry is flushed before its pages are written where they belong, and these are
//! durable at the latest with the next entry's flush. So at most two entries are ever
//! needed, and an entry is at most a quarter of the log: the ring cannot run full.

use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, SourceHandle};

use crate::guid::Guid;
use crate::layout::{PAGE, Region};
use crate::log_entry::{NewEntry, Ring, entry_length};

/// The most pages an entry: 2 MiB.
const PAGE_LIMIT: u64 = 512;

/// The log of one session.
pub struct Journal {
    ring: Ring,
    guid: Guid,
    sequence: u64,
    /// Where the next entry begins.
    head: u64,
    /// The tail that the last entry names: from here up to the head nothing is
    /// overwritten.
    kept: u64,
    /// The start of the oldest entry whose pages may not be durable where they belong.
    needed: Option<u64>,
    /// Whether the last entry's pages were all written where they belong.
    applied: bool,
}

impl Journal {
    /// Begins a log with an empty entry; it counts once a header names `guid`.
    ///
    /// # Errors
    /// What the source answers.
    pub fn begin(source: SourceHandle, region: Region, guid: Guid) -> Result<Self> {
        let ring = Ring { source, region };
        let mut journal =
            Self { ring, guid, sequence: 0, head: 0, kept: 0, needed: None, applied: true };
        let size = journal.ring.source.size();
        journal.append(core::iter::empty(), 0, (0, size))?;
        journal.applied = true;
        journal.needed = None;
        Ok(journal)
    }

    /// What its entries are known by.
    pub fn guid(&self) -> Guid {
        self.guid
    }

    /// How many pages an entry may have.
    pub fn capacity(&self) -> usize {
        let sectors = self.ring.region.length / PAGE / 4;
        // One descriptor sector serves 126 pages, each further one 128.
        (sectors - 1 - sectors / 126).min(PAGE_LIMIT) as usize
    }

    /// Appends an entry of `count` pages and flushes; all that was written before is
    /// durable then. `sizes` are the file's: durable, and present.
    ///
    /// # Errors
    /// What the source answers, and [`Error::NoSpace`] where failures before left no
    /// room; nothing has changed then.
    pub fn append<'a>(
        &mut self,
        pages: impl Iterator<Item = (u64, &'a [u8])>,
        count: usize,
        (flushed, last): (u64, u64),
    ) -> Result<()> {
        let length = entry_length(count as u64);
        let region = self.ring.region;
        let used = (self.head + region.length - self.kept) % region.length;
        if used + length >= region.length {
            return Err(Error::NoSpace);
        }
        let tail = self.needed.unwrap_or(self.head);
        let sequence = self.sequence + 1;
        let entry = NewEntry { log: self.guid, sequence, tail, flushed, last };
        let bytes: Vec<u8> = entry.to_bytes(pages);
        self.ring.write(self.head, &bytes)?;
        self.ring.source.flush()?;
        if self.applied || self.needed.is_none() {
            self.needed = Some(self.head);
        }
        self.applied = false;
        self.kept = tail;
        self.sequence = sequence;
        self.head = self.ring.advance(self.head, length);
        Ok(())
    }

    /// The last entry's pages were written where they belong.
    pub fn applied(&mut self) {
        self.applied = true;
    }

    /// All that was written is durable.
    pub fn settled(&mut self) {
        if self.applied {
            self.needed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use alloc::vec;

    use fumehood_plugin::memory::MemorySource;

    use super::*;
    use crate::layout::MIB;
    use crate::replay::Sequence;

    const LOG: Region = Region { offset: MIB, length: MIB };
    const GUID: Guid = Guid::from_number(7);

    fn found(source: &MemorySource) -> Sequence {
        let ring = Ring { source: Rc::new(source.clone()), region: LOG };
        Sequence::find(ring, GUID).unwrap()
    }

    #[test]
    fn entries_go_round_and_the_last_ones_are_found() {
        let source = MemorySource::new(0, "file", vec![0; 4 << 20]).writable();
        let mut journal = Journal::begin(Rc::new(source.clone()), LOG, GUID).unwrap();
        for round in 1..200u8 {
            let count = usize::from(round) * 7 % journal.capacity() + 1;
            let pages = vec![vec![round; PAGE as usize]; count];
            let offsets = (2 * MIB..).step_by(PAGE as usize);
            let pages = offsets.zip(pages.iter().map(|page| &**page));
            journal.append(pages, count, (0, 4 << 20)).unwrap();
            journal.applied();
            if round % 3 == 0 {
                journal.settled();
            }
            let copy = MemorySource::new(0, "copy", source.bytes()).writable();
            found(&copy).to_file().unwrap();
            let bytes = copy.bytes();
            let pages = &bytes[2 << 20..];
            assert_eq!(pages[count * 4096 - 1], round);
            let mut again = vec![0; 1 << 20];
            found(&source).to_overlay().unwrap().patch(2 * MIB, &mut again);
            assert!(again == pages[..1 << 20], "round {round}");
        }
    }

    #[test]
    fn an_entry_that_is_torn_does_not_count() {
        let source = MemorySource::new(0, "file", vec![0; 4 << 20]).writable();
        let mut journal = Journal::begin(Rc::new(source.clone()), LOG, GUID).unwrap();
        let page = vec![1; PAGE as usize];
        for _ in 0..2 {
            let before = source.bytes();
            journal.append([(2 * MIB, &*page)].into_iter(), 1, (0, 4 << 20)).unwrap();
            let after = source.bytes();
            for torn in (0..4096 * 2).step_by(512) {
                let mut bytes = after.clone();
                let start = (MIB + journal.head) as usize - 8192 + torn;
                bytes[start..start + 512].copy_from_slice(&before[start..start + 512]);
                let whole = bytes[start..start + 512] == after[start..start + 512];
                let torn = MemorySource::new(0, "torn", bytes);
                let last = found(&torn).entries.last().unwrap().sequence;
                assert_eq!(last, journal.sequence - u64::from(!whole));
            }
        }
    }
}
