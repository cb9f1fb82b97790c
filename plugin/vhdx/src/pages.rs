//! Bounded, lazy access to the metadata: windows of the file with what a log changes
//! laid over them, and changes that are not written yet. When those are written, and
//! in which order, is for [`crate::journal`].

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, SourceHandle};

use crate::layout::{KIB_64, PAGE};
use crate::overlay::Overlay;

/// Windows of 64 KiB that are kept: 4 MiB.
const CAPACITY: usize = 64;

/// How a change reaches the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Through the log: BAT, metadata, region tables.
    Logged,
    /// Written where it belongs: sector bitmaps, of which each bit stands for itself.
    Direct,
}

struct Window {
    bytes: Vec<u8>,
    used: u64,
}

/// A page that is not written yet.
struct Change {
    kind: Kind,
    bytes: Vec<u8>,
}

/// The metadata as it shall be.
pub struct Pages {
    source: SourceHandle,
    file_size: u64,
    /// What a log changes in a file that is not written.
    pub overlay: Overlay,
    windows: BTreeMap<u64, Window>,
    changes: BTreeMap<u64, Change>,
    clock: u64,
}

impl Pages {
    /// Over `source`, which counts as `file_size` bytes long: a log may say that it
    /// is longer than it is.
    pub fn new(source: SourceHandle, file_size: u64, overlay: Overlay) -> Self {
        let (windows, changes) = (BTreeMap::new(), BTreeMap::new());
        Self { source, file_size, overlay, windows, changes, clock: 0 }
    }

    /// Length of the file in bytes.
    pub fn file_size(&self) -> u64 {
        self.file_size
    }

    /// Grows or shrinks the file.
    ///
    /// # Errors
    /// What the source answers.
    pub fn resize(&mut self, size: u64) -> Result<()> {
        self.source.resize(size)?;
        // The window that holds the end is shorter or longer from now on.
        let (old, new) = (self.file_size.min(size), self.file_size.max(size));
        self.windows.retain(|start, _| *start + KIB_64 <= old || *start >= new);
        self.file_size = size;
        Ok(())
    }

    /// Bytes from `offset` on: at least one, at most `length`, fewer where a window
    /// ends. `name` is what is read.
    ///
    /// # Errors
    /// [`Error::Corrupt`] past the file's end, or what the source answers.
    pub fn run(&mut self, offset: u64, length: u64, name: &str) -> Result<&[u8]> {
        let file_size = self.file_size;
        let start = offset / KIB_64 * KIB_64;
        let bytes = self.window(start)?;
        let from = (offset - start) as usize;
        let to = (bytes.len() as u64).min(from as u64 + length.min(KIB_64)) as usize;
        match bytes.get(from..to) {
            Some(run) if !run.is_empty() => Ok(run),
            _ => {
                let what = format!("the {name} reaches past the file's end at {file_size}");
                Err(Error::corrupt(offset, what))
            }
        }
    }

    /// Exactly `length` bytes at `offset`.
    ///
    /// # Errors
    /// As [`Pages::run`].
    pub fn bytes(&mut self, offset: u64, length: u64, name: &str) -> Result<Vec<u8>> {
        let mut gathered = Vec::new();
        while (gathered.len() as u64) < length {
            let done = gathered.len() as u64;
            let at = offset.saturating_add(done);
            gathered.extend_from_slice(self.run(at, length - done, name)?);
        }
        Ok(gathered)
    }

    /// Changes bytes in memory; they are to be written as `kind` says.
    ///
    /// # Errors
    /// As [`Pages::run`]; nothing is changed then.
    pub fn change(&mut self, offset: u64, bytes: &[u8], kind: Kind) -> Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        let first = offset / PAGE * PAGE;
        let mut pages = self.bytes(first, end.next_multiple_of(PAGE) - first, "metadata")?;
        if let Some(place) = pages.get_mut((offset - first) as usize..(end - first) as usize) {
            place.copy_from_slice(bytes);
        }
        for (at, page) in (first..).step_by(PAGE as usize).zip(pages.chunks(PAGE as usize)) {
            self.changes.insert(at, Change { kind, bytes: page.to_vec() });
        }
        self.patch_windows(offset, bytes);
        Ok(())
    }

    /// Writes bytes now, whatever else is changed around them.
    ///
    /// # Errors
    /// What the source answers.
    pub fn write_through(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.source.write(offset, bytes)?;
        for (start, change) in &mut self.changes {
            overwrite(*start, &mut change.bytes, offset, bytes);
        }
        self.patch_windows(offset, bytes);
        Ok(())
    }

    /// The window's contents are no longer what was read: room was given away and is
    /// given out for something else.
    pub fn forget(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        self.windows.retain(|start, _| *start + KIB_64 <= offset || *start >= end);
        self.changes.retain(|start, _| *start + PAGE <= offset || *start >= end);
    }

    /// How many pages are to be written that way.
    pub fn count(&self, kind: Kind) -> usize {
        self.changes.values().filter(|change| change.kind == kind).count()
    }

    /// How many pages are to be written at all.
    pub fn changed(&self) -> usize {
        self.changes.len()
    }

    /// The pages that are to be written that way, with their offsets, in order.
    pub fn changes(&self, kind: Kind) -> impl Iterator<Item = (u64, &[u8])> {
        let wanted = self.changes.iter().filter(move |(_, change)| change.kind == kind);
        wanted.map(|(offset, change)| (*offset, &*change.bytes))
    }

    /// Writes the pages of that kind where they belong.
    ///
    /// # Errors
    /// What the source answers.
    pub fn apply(&self, kind: Kind) -> Result<()> {
        self.changes(kind).try_for_each(|(offset, bytes)| self.source.write(offset, bytes))
    }

    /// All changes are where they belong.
    pub fn applied(&mut self) {
        self.changes.clear();
    }

    fn patch_windows(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len() as u64);
        for (start, window) in self.windows.range_mut(offset / KIB_64 * KIB_64..end) {
            overwrite(*start, &mut window.bytes, offset, bytes);
        }
    }

    fn window(&mut self, start: u64) -> Result<&[u8]> {
        self.clock += 1;
        if !self.windows.contains_key(&start) {
            let bytes = self.load(start)?;
            self.make_room();
            self.windows.insert(start, Window { bytes, used: 0 });
        }
        match self.windows.get_mut(&start) {
            Some(window) => {
                window.used = self.clock;
                Ok(&window.bytes)
            }
            None => Ok(&[]),
        }
    }

    fn load(&self, start: u64) -> Result<Vec<u8>> {
        let length = self.file_size.saturating_sub(start).min(KIB_64);
        let there = self.source.size().saturating_sub(start).min(length);
        let mut bytes = match there {
            0 => Vec::new(),
            _ => self.source.read(start, there as usize)?,
        };
        bytes.resize(length as usize, 0);
        self.overlay.patch(start, &mut bytes);
        for (offset, change) in self.changes.range(start..start.saturating_add(KIB_64)) {
            overwrite(start, &mut bytes, *offset, &change.bytes);
        }
        Ok(bytes)
    }

    fn make_room(&mut self) {
        if self.windows.len() < CAPACITY {
            return;
        }
        let oldest = self.windows.iter().min_by_key(|(_, window)| window.used);
        if let Some(start) = oldest.map(|(start, _)| *start) {
            self.windows.remove(&start);
        }
    }
}

/// Puts the part of `new`, which belongs at `at`, that falls into `bytes`, which
/// begin at `start`.
fn overwrite(start: u64, bytes: &mut [u8], at: u64, new: &[u8]) {
    let from = at.max(start);
    let to = (at + new.len() as u64).min(start + bytes.len() as u64);
    if from < to
        && let Some(place) = bytes.get_mut((from - start) as usize..(to - start) as usize)
        && let Some(part) = new.get((from - at) as usize..(to - at) as usize)
    {
        place.copy_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use alloc::vec;

    use fumehood_plugin::memory::MemorySource;

    use super::*;

    #[test]
    fn changes_are_seen_at_once_and_written_when_told() {
        let source = MemorySource::new(0, "file", vec![7; 3 << 16]).writable();
        let mut pages = Pages::new(Rc::new(source.clone()), 3 << 16, Overlay::default());
        assert_eq!(pages.run(65530, 100, "x").unwrap(), [7; 6]);
        pages.change(65530, &[1; 12], Kind::Logged).unwrap();
        assert_eq!(pages.count(Kind::Logged), 2);
        pages.change(100_000, &[2], Kind::Direct).unwrap();
        pages.write_through(65531, &[3]).unwrap();
        for _ in 0..2 {
            assert_eq!(pages.bytes(65529, 4, "x").unwrap(), [7, 1, 3, 1]);
            pages.windows.clear();
        }
        assert_eq!(source.bytes()[65529..65533], [7, 7, 3, 7]);
        pages.apply(Kind::Logged).unwrap();
        assert_eq!(source.bytes()[65529..65533], [7, 1, 3, 1]);
        assert_eq!(source.bytes()[100_000], 7);
        assert!(matches!(pages.run(3 << 16, 1, "x"), Err(Error::Corrupt { .. })));
    }
}
