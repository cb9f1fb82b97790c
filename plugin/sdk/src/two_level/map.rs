//! From the disk to the file: the walk over a window, which answers with extents.

use alloc::format;
use alloc::vec::Vec;

use super::{Cluster, Table, TwoLevel, window};
use crate::error::{Error, Result};
use crate::extent::{Content, Encoded, Extent, Extents, Stored};
use crate::source::Source;

/// An answer stops short at this many extents.
const EXTENT_LIMIT: usize = 16_384;
/// An answer stops short after this many entries: L1 entries that share one L2 table
/// can make a huge disk of a small file.
const ENTRY_LIMIT: u64 = 1 << 18;
/// L1 entries read at once.
const L1_WINDOW: u64 = 512;

/// Extents from the cluster that holds `offset` to at least one, at most about `length`
/// bytes on.
///
/// # Errors
/// [`Error::OutOfRange`] past the disk, or what the source answers.
pub fn extents<F: TwoLevel>(
    main: &dyn Source,
    format: &F,
    offset: u64,
    length: u64,
) -> Result<Vec<Extent>> {
    let shape = format.shape();
    if offset >= shape.disk_size {
        return Err(Error::OutOfRange);
    }
    let mut walk = Walk {
        main,
        format,
        file_size: main.size(),
        extents: Extents::new(),
        offset,
        at: offset - offset % shape.cluster_size,
        end: offset.saturating_add(length.max(1)).min(shape.disk_size),
        budget: ENTRY_LIMIT,
    };
    walk.run()?;
    Ok(walk.extents.finish())
}

struct Walk<'a, F> {
    main: &'a dyn Source,
    format: &'a F,
    file_size: u64,
    extents: Extents,
    /// What was asked for; what ends before it is no part of the answer.
    offset: u64,
    /// Where the answer ends so far.
    at: u64,
    end: u64,
    /// Entries that may still be looked at.
    budget: u64,
}

impl<F: TwoLevel> Walk<'_, F> {
    fn goes_on(&self) -> bool {
        self.at < self.end && self.budget > 0 && self.extents.len() < EXTENT_LIMIT
    }

    fn run(&mut self) -> Result<()> {
        let shape = self.format.shape();
        let span = shape.table_span();
        while self.goes_on() {
            let first = self.at / span;
            let count = (self.end.div_ceil(span) - first).min(L1_WINDOW);
            for entry in window::<F>(self.main, shape.l1_offset, first, count, "L1 table")? {
                if !self.goes_on() {
                    break;
                }
                self.add_table(entry.into())?;
            }
        }
        Ok(())
    }

    /// Adds what the L1 entry maps, as far as the window or the budget goes.
    fn add_table(&mut self, word: u64) -> Result<()> {
        let span = self.format.shape().table_span();
        // Up to 2^62 behind an offset below 2^63.
        let end = self.at - self.at % span + span;
        self.budget -= 1;
        match self.format.table(word, self.file_size) {
            Table::Absent => self.push(end - self.at, Content::Absent),
            Table::Wrong(what) => self.push(end - self.at, Content::Damaged(what)),
            Table::At(table) => {
                while self.at < end && self.goes_on() {
                    self.add_clusters(table, end)?;
                }
            }
        }
        Ok(())
    }

    /// Adds clusters up to `end`, where the L2 table at `table` ends.
    fn add_clusters(&mut self, table: u64, end: u64) -> Result<()> {
        let shape = self.format.shape();
        let size = shape.cluster_size;
        let first = self.at / size % shape.table_entries;
        let count = (end.min(self.end) - self.at).div_ceil(size).min(self.budget);
        for entry in window::<F>(self.main, table, first, count, "L2 table")? {
            if !self.goes_on() {
                break;
            }
            self.budget -= 1;
            match self.format.cluster(entry.into(), self.file_size) {
                Cluster::Absent => self.push(size, Content::Absent),
                Cluster::Zero => self.push(size, Content::Zero),
                Cluster::Wrong(what) => self.push(size, Content::Damaged(what)),
                Cluster::At(place) => self.push_stored(place),
                Cluster::Encoded { offset, length, codec } => {
                    // Such a cluster is smaller than 4 GiB.
                    let encoded = Encoded::new(self.main.id(), offset, length, codec, size as u32);
                    self.push(size, Content::Encoded(encoded));
                }
            }
        }
        Ok(())
    }

    /// Adds a cluster. Of a file that was cut off, what is there can still be read.
    fn push_stored(&mut self, place: u64) {
        let size = self.format.shape().cluster_size;
        let there = (self.file_size - place).min(size);
        let stored = Stored { source: self.main.id(), offset: place, writable: false };
        self.push(there, Content::Stored(stored));
        if there < size {
            let what = format!("the cluster reaches past the file's end at {}", self.file_size);
            self.push(size - there, Content::Damaged(what));
        }
    }

    /// Adds `length` bytes of `content`, less what would lie past the disk.
    fn push(&mut self, length: u64, content: Content) {
        let start = self.at;
        self.at = start.saturating_add(length).min(self.format.shape().disk_size);
        if self.at > self.offset {
            self.extents.push(start, self.at - start, content);
        }
    }
}
