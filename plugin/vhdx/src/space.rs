//! Room in the file: behind its end, and what was given back in this session. What an
//! earlier session left unused in the middle of the file is not looked for.

use alloc::collections::BTreeMap;

use fumehood_plugin::{Result, Source};

use crate::layout::{MIB, Region};
use crate::pages::Pages;

/// The most runs of each kind that are kept; what is more is lost, not wrong.
const RUNS_LIMIT: usize = 1 << 16;

/// What may be given out.
pub struct Space {
    /// Where new room begins behind all that is used.
    end: u64,
    /// Given back in this session, and reads as zeroes.
    clean: Runs,
    /// Given back in this session.
    used: Runs,
    /// Given back since the last flush: a crash may bring its old link back.
    held: Runs,
}

impl Space {
    /// A file whose last byte in use lies before `end`.
    pub fn new(end: u64) -> Self {
        let end = end.next_multiple_of(MIB);
        Self { end, clean: Runs::default(), used: Runs::default(), held: Runs::default() }
    }

    /// Room of `length` bytes that reads as zeroes.
    ///
    /// # Errors
    /// What the source answers; nothing was given out then.
    pub fn take(&mut self, source: &dyn Source, pages: &mut Pages, length: u64) -> Result<u64> {
        let offset = if let Some(offset) = self.clean.find(length) {
            self.clean.remove(offset, length);
            offset
        } else if let Some(offset) = self.used.find(length) {
            source.zero(offset, length)?;
            self.used.remove(offset, length);
            offset
        } else {
            let offset = self.end;
            pages.resize(offset + length)?;
            self.end += length;
            offset
        };
        pages.forget(offset, length);
        Ok(offset)
    }

    /// Gives room back; it is given out again after the next [`Space::release`].
    pub fn give_back(&mut self, region: Region) {
        self.held.insert(region);
    }

    /// No crash brings the links of what was given back into being again.
    pub fn release(&mut self, source: &dyn Source) {
        let held = core::mem::take(&mut self.held);
        for region in held.iter() {
            // A source that cannot give storage back keeps it: that is no failure.
            match source.discard(region.offset, region.length) {
                Ok(true) => self.clean.insert(region),
                _ => self.used.insert(region),
            }
        }
    }

    /// Where the file may end, since nothing behind is in use.
    pub fn trim(&mut self) -> u64 {
        while let Some(offset) =
            self.clean.take_last(self.end).or_else(|| self.used.take_last(self.end))
        {
            self.end = offset;
        }
        self.end
    }
}

/// Runs by where they begin; neighbours are one.
#[derive(Default)]
struct Runs {
    by_offset: BTreeMap<u64, u64>,
}

impl Runs {
    fn insert(&mut self, region: Region) {
        let Region { mut offset, mut length } = region;
        if let Some((&before, &run)) = self.by_offset.range(..offset).next_back()
            && before + run == offset
        {
            self.by_offset.remove(&before);
            (offset, length) = (before, length + run);
        }
        if let Some(behind) = self.by_offset.remove(&(offset + length)) {
            length += behind;
        }
        if self.by_offset.len() < RUNS_LIMIT {
            self.by_offset.insert(offset, length);
        }
    }

    fn find(&self, length: u64) -> Option<u64> {
        let found = self.by_offset.iter().find(|(_, run)| **run >= length);
        found.map(|(offset, _)| *offset)
    }

    /// Removes the first `length` bytes of the run at `offset`.
    fn remove(&mut self, offset: u64, length: u64) {
        if let Some(run) = self.by_offset.remove(&offset)
            && run > length
        {
            self.by_offset.insert(offset + length, run - length);
        }
    }

    /// Removes the run that ends at `end`, and says where it began.
    fn take_last(&mut self, end: u64) -> Option<u64> {
        let (&offset, &length) = self.by_offset.last_key_value()?;
        if offset + length != end {
            return None;
        }
        self.by_offset.remove(&offset);
        Some(offset)
    }

    fn iter(&self) -> impl Iterator<Item = Region> {
        self.by_offset.iter().map(|(&offset, &length)| Region { offset, length })
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use alloc::vec;

    use fumehood_plugin::memory::MemorySource;

    use super::*;
    use crate::overlay::Overlay;

    #[test]
    fn what_is_given_back_is_used_again_after_the_flush() {
        let source = MemorySource::new(0, "file", vec![9; 5 << 20]).writable();
        let mut pages = Pages::new(Rc::new(source.clone()), 5 << 20, Overlay::default());
        let mut space = Space::new(5 * MIB - 100);
        let mut take = |space: &mut Space, count| {
            let offset = space.take(&source, &mut pages, count * MIB).unwrap();
            let room = &source.bytes()[offset as usize..][..(count * MIB) as usize];
            assert!(room.iter().all(|byte| *byte == 0));
            offset / MIB
        };
        assert_eq!((take(&mut space, 1), take(&mut space, 2)), (5, 6));
        for offset in [5, 7, 6] {
            space.give_back(Region { offset: offset * MIB, length: MIB });
        }
        assert_eq!(take(&mut space, 1), 8);
        space.release(&source);
        assert_eq!((take(&mut space, 2), take(&mut space, 2)), (5, 9));
        assert_eq!(space.trim(), 11 * MIB);
        space.give_back(Region { offset: 9 * MIB, length: 2 * MIB });
        space.release(&source);
        space.used.insert(Region { offset: 8 * MIB, length: MIB });
        assert_eq!(space.trim(), 7 * MIB);
        // What could not be discarded is zeroed when it is given out.
        space.used.insert(Region { offset: 2 * MIB, length: MIB });
        assert_eq!(take(&mut space, 1), 2);
    }
}
