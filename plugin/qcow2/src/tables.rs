//! Bounded, lazy access to the tables in the main source: a cache of pages with
//! least-recently-used eviction, written through. What the bytes mean is for the
//! modules that ask; payload passes by, uncached.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, SourceHandle};

/// Bytes of pages kept.
const CAPACITY: u64 = 8 << 20;
const SMALLEST_PAGE: u64 = 4 << 10;
const LARGEST_PAGE: u64 = 16 << 10;
/// This part of the pages goes when there is no room for another.
const EVICTED_PART: usize = 8;

struct Page {
    bytes: Vec<u8>,
    used: u64,
}

/// Reads and writes tables page by page. Pages are as large as a cluster where that lies
/// between 4 and 16 KiB: an L2 table of a small cluster stands alone among data,
/// and one of a large cluster is not read whole.
pub struct Tables {
    source: SourceHandle,
    size: u64,
    page_size: u64,
    pages: BTreeMap<u64, Page>,
    clock: u64,
    /// Whether anything was written since the last flush.
    changed: bool,
}

impl Tables {
    /// Over `source`, whose clusters have `cluster_size` bytes.
    pub fn new(source: SourceHandle, cluster_size: u64) -> Self {
        let size = source.size();
        let page_size = cluster_size.clamp(SMALLEST_PAGE, LARGEST_PAGE);
        Self { source, size, page_size, pages: BTreeMap::new(), clock: 0, changed: false }
    }

    /// Length of the source in bytes, as it was when it was opened or last resized.
    pub fn file_size(&self) -> u64 {
        self.size
    }

    /// Whole entries of `entry_size` bytes from `offset` on: at least one, at most
    /// `length` bytes, and fewer where a page or the file ends. `name` is what the
    /// table is called.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where not even one entry lies in the file, or what the
    /// source answers.
    pub fn entries(
        &mut self,
        offset: u64,
        length: u64,
        entry_size: u64,
        name: &str,
    ) -> Result<&[u8]> {
        let size = self.size;
        let start = self.page_start(offset);
        let bytes = self.page(start, name)?;
        let from = (offset - start) as usize;
        let available = bytes.len().saturating_sub(from) as u64;
        let take = available.min(length);
        let take = (take - take % entry_size) as usize;
        match bytes.get(from..from.saturating_add(take)) {
            Some(entries) if !entries.is_empty() => Ok(entries),
            _ => {
                let what = format!("the {name} reaches past the file's end at {size}");
                Err(Error::corrupt(offset, what))
            }
        }
    }

    /// Exactly `length` bytes at `offset`, gathered from as many pages as they touch.
    ///
    /// # Errors
    /// As [`Tables::entries`].
    pub fn bytes(&mut self, offset: u64, length: u64, name: &str) -> Result<Vec<u8>> {
        let mut gathered = Vec::new();
        while (gathered.len() as u64) < length {
            let done = gathered.len() as u64;
            let at = offset.saturating_add(done);
            gathered.extend_from_slice(self.entries(at, length - done, 1, name)?);
        }
        Ok(gathered)
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// What the source answers; nothing is remembered of a range whose write failed.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.changed = true;
        let length = bytes.len() as u64;
        let written = self.source.write(offset, bytes);
        self.update_pages(offset, length, written, |old, skip| {
            match bytes.get(skip..skip + old.len()) {
                Some(new) => old.copy_from_slice(new),
                None => old.fill(0),
            }
        })
    }

    /// Writes zeroes over `length` bytes at `offset`.
    ///
    /// # Errors
    /// As [`Tables::write`].
    pub fn zero(&mut self, offset: u64, length: u64) -> Result<()> {
        self.changed = true;
        let written = self.source.zero(offset, length);
        self.update_pages(offset, length, written, |old, _| old.fill(0))
    }

    /// Payload, which is never cached: the host writes it behind the cache's back.
    ///
    /// # Errors
    /// What the source answers.
    pub fn payload(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.source.read(offset, length as usize)
    }

    /// Makes every write so far durable, if there was any.
    ///
    /// # Errors
    /// What the source answers.
    pub fn flush(&mut self) -> Result<()> {
        if self.changed {
            self.source.flush()?;
            self.changed = false;
        }
        Ok(())
    }

    /// Makes the file this long; what is new reads as zeroes.
    ///
    /// # Errors
    /// What the source answers.
    pub fn resize(&mut self, size: u64) -> Result<()> {
        if size == self.size {
            return Ok(());
        }
        self.source.resize(size)?;
        self.changed = true;
        // Pages are as long as the file let them be.
        let kept = self.page_start(size.min(self.size));
        self.pages.split_off(&kept);
        self.size = size;
        Ok(())
    }

    /// Gives back the storage of `length` bytes at `offset`, which nothing uses.
    /// What they read as from now on is not known.
    ///
    /// # Errors
    /// What the source answers.
    pub fn discard(&mut self, offset: u64, length: u64) -> Result<()> {
        self.drop_pages(offset, length);
        self.source.discard(offset, length).map(drop)
    }

    /// After a write: calls `change` for the part of every cached page that lies in
    /// the range, with how far into the range it begins. After a failed one the file
    /// may hold anything there, and the pages go.
    fn update_pages(
        &mut self,
        offset: u64,
        length: u64,
        written: Result<()>,
        change: impl Fn(&mut [u8], usize),
    ) -> Result<()> {
        if written.is_err() {
            self.drop_pages(offset, length);
            return written;
        }
        let end = offset.saturating_add(length);
        for (start, page) in self.pages.range_mut(self.page_start(offset)..end) {
            let (from, to) = (offset.max(*start), end.min(start + page.bytes.len() as u64));
            let part = (from - start) as usize..(to.max(from) - start) as usize;
            if let Some(old) = page.bytes.get_mut(part) {
                change(old, (from - offset) as usize);
            }
        }
        Ok(())
    }

    fn drop_pages(&mut self, offset: u64, length: u64) {
        let range = self.page_start(offset)..offset.saturating_add(length);
        let gone: Vec<u64> = self.pages.range(range).map(|page| *page.0).collect();
        gone.iter().for_each(|start| drop(self.pages.remove(start)));
    }

    fn page_start(&self, offset: u64) -> u64 {
        offset & !(self.page_size - 1)
    }

    fn page(&mut self, start: u64, name: &str) -> Result<&[u8]> {
        self.clock += 1;
        let clock = self.clock;
        if !self.pages.contains_key(&start) {
            let length = self.size.saturating_sub(start).min(self.page_size);
            if length == 0 {
                let what = format!("the {name} lies past the file's end at {}", self.size);
                return Err(Error::corrupt(start, what));
            }
            let bytes = self.source.read(start, length as usize)?;
            self.make_room();
            self.pages.insert(start, Page { bytes, used: clock });
        }
        match self.pages.get_mut(&start) {
            Some(page) => {
                page.used = clock;
                Ok(&page.bytes)
            }
            None => Ok(&[]),
        }
    }

    /// Several pages go at once, so that finding the oldest costs little a page.
    fn make_room(&mut self) {
        if (self.pages.len() as u64) < CAPACITY / self.page_size {
            return;
        }
        let mut used: Vec<u64> = self.pages.values().map(|page| page.used).collect();
        let (_, last, _) = used.select_nth_unstable(self.pages.len() / EVICTED_PART);
        let last = *last;
        self.pages.retain(|_, page| page.used > last);
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use alloc::vec;

    use fumehood_plugin::memory::MemorySource;

    use super::*;

    fn tables(length: usize) -> Tables {
        let bytes = (0..length).map(|at| (at / 4096) as u8).collect();
        Tables::new(Rc::new(MemorySource::new(0, "tables", bytes)), 512)
    }

    #[test]
    fn entries_end_with_their_page_and_with_the_file() {
        let mut tables = tables(4096 + 12);
        assert_eq!(tables.entries(4088, 64, 8, "table").unwrap().len(), 8);
        assert_eq!(tables.entries(4096, 64, 8, "table").unwrap(), [1; 8]);
        assert!(matches!(
            tables.entries(4104, 64, 8, "table"),
            Err(Error::Corrupt { offset: 4104, .. })
        ));
        assert!(matches!(tables.entries(u64::MAX, 64, 8, "table"), Err(Error::Corrupt { .. })));
        assert_eq!(tables.bytes(4095, 2, "table").unwrap(), vec![0, 1]);
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_in_use() {
        let mut tables = tables(12 << 20);
        for start in (0..12 << 20).step_by(4096) {
            tables.entries(0, 8, 8, "table").unwrap();
            tables.entries(start, 8, 8, "table").unwrap();
        }
        let (pages, most) = (tables.pages.len() as u64, CAPACITY / SMALLEST_PAGE);
        assert!(pages <= most && pages > most / 2, "{pages} of {most}");
        assert!(tables.pages.contains_key(&0));
    }
}
