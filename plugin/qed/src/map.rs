//! The map from the disk to the file: walks the two levels of tables over a window and
//! answers with extents. What an entry means is decided in [`crate::tables`].

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Content, Error, Extent, Extents, Result, Source, Stored};
use zerocopy::little_endian::U64;

use crate::header::Header;
use crate::tables::{Cluster, Table, window};

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
pub fn extents(
    main: &dyn Source,
    header: &Header,
    offset: u64,
    length: u64,
) -> Result<Vec<Extent>> {
    if offset >= header.disk_size {
        return Err(Error::OutOfRange);
    }
    let mut walk = Walk {
        main,
        header,
        file_size: main.size(),
        extents: Extents::new(),
        offset,
        at: offset - offset % header.cluster_size,
        end: offset.saturating_add(length.max(1)).min(header.disk_size),
        budget: ENTRY_LIMIT,
    };
    walk.run()?;
    Ok(walk.extents.finish())
}

struct Walk<'a> {
    main: &'a dyn Source,
    header: &'a Header,
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

impl Walk<'_> {
    fn goes_on(&self) -> bool {
        self.at < self.end && self.budget > 0 && self.extents.len() < EXTENT_LIMIT
    }

    fn run(&mut self) -> Result<()> {
        let span = self.header.table_span();
        while self.goes_on() {
            let first = self.at / span;
            let count = (self.end.div_ceil(span) - first).min(L1_WINDOW);
            let entries = window(self.main, self.header.l1_offset, first, count, "L1 table")?;
            for entry in entries {
                if !self.goes_on() {
                    break;
                }
                self.add_table(entry)?;
            }
        }
        Ok(())
    }

    /// Adds what the L1 entry maps, as far as the window or the budget goes.
    fn add_table(&mut self, entry: U64) -> Result<()> {
        let span = self.header.table_span();
        // Up to 2^53 behind an offset below 2^63.
        let end = self.at - self.at % span + span;
        self.budget -= 1;
        match self.header.table(entry, self.file_size) {
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
        let size = self.header.cluster_size;
        let first = self.at / size % self.header.table_entries();
        let count = (end.min(self.end) - self.at).div_ceil(size).min(self.budget);
        for entry in window(self.main, table, first, count, "L2 table")? {
            if !self.goes_on() {
                break;
            }
            self.budget -= 1;
            match self.header.cluster(entry, self.file_size) {
                Cluster::Absent => self.push(size, Content::Absent),
                Cluster::Zero => self.push(size, Content::Zero),
                Cluster::Wrong(what) => self.push(size, Content::Damaged(what)),
                Cluster::At(place) => self.push_stored(place),
            }
        }
        Ok(())
    }

    /// Adds a cluster. Of a file that was cut off, what is there can still be read.
    fn push_stored(&mut self, place: u64) {
        let size = self.header.cluster_size;
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
        self.at = start.saturating_add(length).min(self.header.disk_size);
        if self.at > self.offset {
            self.extents.push(start, self.at - start, content);
        }
    }
}
