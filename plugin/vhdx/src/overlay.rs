//! What a log changes, kept in memory over a file that may not be written: pages and
//! runs of zeroes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};

use crate::layout::PAGE;

/// The most pages, and the most runs, that are kept: 16 MiB.
const LIMIT: usize = 4096;

/// Changes of a log in the order of the file.
#[derive(Default)]
pub struct Overlay {
    pages: BTreeMap<u64, Vec<u8>>,
    /// Start and end of runs that do not overlap; pages lie above them.
    zeroes: BTreeMap<u64, u64>,
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// What the file holds.
    File,
    /// Zeroes.
    Zero,
    /// A page of the log.
    Page,
}

impl Overlay {
    /// Puts a page of 4096 bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it becomes too much.
    pub fn put(&mut self, offset: u64, page: Vec<u8>) -> Result<()> {
        self.pages.insert(offset, page);
        self.check_size()
    }

    /// Puts zeroes over what was there.
    ///
    /// # Errors
    /// As [`Overlay::put`].
    pub fn zero(&mut self, offset: u64, length: u64) -> Result<()> {
        let (mut start, mut end) = (offset, offset.saturating_add(length));
        if start == end {
            return Ok(());
        }
        while let Some((first, _)) = self.pages.range(start..end).next() {
            let first = *first;
            self.pages.remove(&first);
        }
        // Runs that touch it become one with it.
        while let Some((&from, &to)) = self.zeroes.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.zeroes.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.zeroes.insert(start, end);
        self.check_size()
    }

    fn check_size(&self) -> Result<()> {
        if self.pages.len() > LIMIT || self.zeroes.len() > LIMIT {
            let what = "a log that changes more than 16 MiB, opened read-only: \
                        open it once for writing, so that the log is carried out";
            return Err(Error::Unsupported(what.into()));
        }
        Ok(())
    }

    /// What stands at `offset`, and up to where, at most `end`.
    pub fn at(&self, offset: u64, end: u64) -> (Layer, u64) {
        let page = offset / PAGE * PAGE;
        if self.pages.contains_key(&page) {
            return (Layer::Page, end.min(page + PAGE));
        }
        let end = self.pages.range(offset..end).next().map_or(end, |(next, _)| *next);
        if let Some((_, &to)) = self.zeroes.range(..=offset).next_back()
            && to > offset
        {
            return (Layer::Zero, end.min(to));
        }
        let end = self.zeroes.range(offset..end).next().map_or(end, |(next, _)| *next);
        (Layer::File, end)
    }

    /// Changes `bytes`, which came from `offset` of the file.
    pub fn patch(&self, offset: u64, bytes: &mut [u8]) {
        let mut at = offset;
        let end = offset.saturating_add(bytes.len() as u64);
        while at < end {
            let (layer, stop) = self.at(at, end);
            let place = bytes.get_mut((at - offset) as usize..(stop - offset) as usize);
            match (layer, place) {
                (Layer::Zero, Some(place)) => place.fill(0),
                (Layer::Page, Some(place)) => {
                    let start = at / PAGE * PAGE;
                    let skip = (at - start) as usize;
                    let page = self.pages.get(&start);
                    if let Some(page) = page.and_then(|page| page.get(skip..skip + place.len())) {
                        place.copy_from_slice(page);
                    }
                }
                _ => {}
            }
            at = stop;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn later_changes_lie_above_earlier_ones() {
        let mut overlay = Overlay::default();
        overlay.put(4096, vec![1; 4096]).unwrap();
        overlay.put(8192, vec![2; 4096]).unwrap();
        overlay.zero(8192, 8192).unwrap();
        overlay.zero(0, 0).unwrap();
        overlay.zero(16384, 4096).unwrap();
        overlay.put(12288, vec![3; 4096]).unwrap();
        assert_eq!(overlay.zeroes.len(), 1);
        assert_eq!(overlay.at(0, 1 << 20), (Layer::File, 4096));
        assert_eq!(overlay.at(8192, 1 << 20), (Layer::Zero, 12288));
        assert_eq!(overlay.at(20480, 1 << 20), (Layer::File, 1 << 20));
        let mut bytes = vec![9; 24576];
        overlay.patch(0, &mut bytes);
        for (page, value) in [9, 1, 0, 3, 0, 9].into_iter().enumerate() {
            assert_eq!(bytes[page * 4096..][..4096], [value; 4096], "page {page}");
        }
        let mut part = vec![9; 2];
        overlay.patch(8191, &mut part);
        assert_eq!(part, [1, 0]);
    }
}
