//! Bounded, lazy access to the tables in the main source: a cache of pages with
//! least-recently-used eviction. What the bytes mean is for the modules that ask.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, SourceHandle};

/// Bytes of pages kept.
const CAPACITY: u64 = 4 << 20;
const SMALLEST_PAGE: u64 = 4 << 10;
const LARGEST_PAGE: u64 = 64 << 10;

struct Page {
    bytes: Vec<u8>,
    used: u64,
}

/// Reads tables page by page. Pages are as large as a cluster where that lies
/// between 4 and 64 KiB: an L2 table of a small cluster stands alone among data,
/// and one of a large cluster is not read whole.
pub struct Tables {
    source: SourceHandle,
    size: u64,
    page_size: u64,
    pages: BTreeMap<u64, Page>,
    clock: u64,
}

impl Tables {
    /// Over `source`, whose clusters have `cluster_size` bytes.
    pub fn new(source: SourceHandle, cluster_size: u64) -> Self {
        let size = source.size();
        let page_size = cluster_size.clamp(SMALLEST_PAGE, LARGEST_PAGE);
        Self { source, size, page_size, pages: BTreeMap::new(), clock: 0 }
    }

    /// Length of the source in bytes, as it was when it was opened.
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
        let start = offset & !(self.page_size - 1);
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

    fn make_room(&mut self) {
        if (self.pages.len() as u64) < CAPACITY / self.page_size {
            return;
        }
        let oldest = self.pages.iter().min_by_key(|(_, page)| page.used).map(|(start, _)| *start);
        if let Some(start) = oldest {
            self.pages.remove(&start);
        }
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
        let mut tables = tables(6 << 20);
        for start in (0..6 << 20).step_by(4096) {
            tables.entries(0, 8, 8, "table").unwrap();
            tables.entries(start, 8, 8, "table").unwrap();
        }
        assert_eq!(tables.pages.len() as u64, CAPACITY / SMALLEST_PAGE);
        assert!(tables.pages.contains_key(&0));
    }
}
