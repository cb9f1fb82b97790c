//! One look at all tables: entries that contradict the format, and tables and clusters
//! that overlap. Compressed clusters may share sectors with their neighbours, and what
//! nothing uses is not told apart from what lies between them.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Finding, Result, Source};
use zerocopy::big_endian::U64;

use crate::header::{Header, LENGTH};
use crate::tables::{Cluster, Table, window};

const SECTOR: u64 = 512;
/// The most entries looked at, so that a check takes seconds: 32 GiB in clusters of
/// 4 KiB.
const ENTRY_LIMIT: u64 = 1 << 23;
/// The most sectors whose use is noted, a bit each: 64 GiB of the file.
const SECTOR_LIMIT: u64 = 1 << 27;
/// The most findings listed.
const FINDING_LIMIT: usize = 1000;

/// Looks at the tables.
///
/// # Errors
/// What the source answers.
pub fn check(main: &dyn Source, header: &Header) -> Result<Vec<Finding>> {
    let file_size = main.size();
    let sectors = file_size.div_ceil(SECTOR);
    let used = Used(vec![0; sectors.min(SECTOR_LIMIT).div_ceil(8) as usize]);
    let mut check =
        Check { main, header, file_size, used, findings: Vec::new(), steps: ENTRY_LIMIT };
    // They may share the sector in which one ends and the other begins.
    check.mark(0, LENGTH);
    check.mark(header.l1_offset, header.l1_length());
    check.run()?;
    if !check.goes_on() {
        check.note(0, "the check stops here: there is too much to look at".into());
    } else if sectors > SECTOR_LIMIT {
        let what = format!("overlaps are found in the first {SECTOR_LIMIT} sectors only");
        check.note(0, what);
    }
    Ok(check.findings)
}

struct Check<'a> {
    main: &'a dyn Source,
    header: &'a Header,
    file_size: u64,
    used: Used,
    findings: Vec<Finding>,
    steps: u64,
}

impl Check<'_> {
    fn goes_on(&self) -> bool {
        self.steps > 0 && self.findings.len() < FINDING_LIMIT
    }

    fn run(&mut self) -> Result<()> {
        let (span, entries) = (self.header.table_span(), self.header.l1_entries());
        let mut index = 0;
        while index < entries && self.goes_on() {
            let rest = entries - index;
            for entry in window(self.main, self.header.l1_offset, index, rest, "L1 table")? {
                // Below the disk's size.
                let start = index * span;
                index += 1;
                if self.goes_on() {
                    self.look_at_table(start, entry)?;
                }
            }
        }
        Ok(())
    }

    fn look_at_table(&mut self, start: u64, entry: U64) -> Result<()> {
        self.steps -= 1;
        match self.header.table(entry, self.file_size) {
            Table::Absent => {}
            Table::Wrong(what) => self.note(start, what),
            Table::At(table) => {
                if self.mark(table, self.header.table_length()) {
                    // Not walked again, so that work stays within the file's size.
                    let what = format!("the L2 table at {table} lies where other things are");
                    self.note(start, what);
                } else {
                    self.walk(start, table)?;
                }
            }
        }
        Ok(())
    }

    fn walk(&mut self, start: u64, table: u64) -> Result<()> {
        let size = self.header.cluster_size();
        let entries = window(self.main, table, 0, self.header.table_entries(), "L2 table")?;
        for (index, entry) in (0..).zip(entries) {
            if self.goes_on() {
                self.look_at_cluster(start + index * size, entry);
            }
        }
        Ok(())
    }

    fn look_at_cluster(&mut self, offset: u64, entry: U64) {
        self.steps -= 1;
        let size = self.header.cluster_size();
        match self.header.cluster(entry, self.file_size) {
            Cluster::Absent => {}
            Cluster::Wrong(what) => self.note(offset, what),
            Cluster::At(place) => {
                if self.mark(place, size) {
                    let what = format!("the cluster at {place} lies where other things are");
                    self.note(offset, what);
                }
                if self.file_size - place < size {
                    let end = self.file_size;
                    let what =
                        format!("the cluster at {place} reaches past the file's end at {end}");
                    self.note(offset, what);
                }
            }
            Cluster::Compressed { offset: place, length } => {
                // Where it begins a sector of its own, no other can begin.
                if place.is_multiple_of(SECTOR) && self.mark(place, length.into()) {
                    let what =
                        format!("the compressed cluster at {place} lies where other things are");
                    self.note(offset, what);
                }
            }
        }
    }

    /// Notes the use of whole sectors; whether one of them was used already.
    fn mark(&mut self, offset: u64, length: u64) -> bool {
        let end = offset.saturating_add(length).div_ceil(SECTOR).min(SECTOR_LIMIT);
        let mut twice = false;
        (offset / SECTOR..end).for_each(|sector| twice |= self.used.mark(sector));
        twice
    }

    fn note(&mut self, offset: u64, what: String) {
        let offset = offset.min(self.header.disk_size);
        self.findings.push(Finding { offset, what, repaired: false });
    }
}

/// A bit for each sector of the file, up to a limit.
struct Used(Vec<u8>);

impl Used {
    fn mark(&mut self, sector: u64) -> bool {
        let byte = usize::try_from(sector / 8).ok().and_then(|at| self.0.get_mut(at));
        let Some(byte) = byte else { return false };
        let bit = 1 << (sector % 8);
        let marked = *byte & bit != 0;
        *byte |= bit;
        marked
    }
}
