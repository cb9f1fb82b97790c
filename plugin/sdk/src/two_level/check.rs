//! One look at all tables: entries that contradict the format, and tables and clusters
//! that overlap. What else a format must know, it notes itself before and after.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Cluster, Table, TwoLevel, window};
use crate::error::Result;
use crate::format::Finding;
use crate::marks::Marks;
use crate::source::Source;

/// The most entries looked at, so that a check takes seconds: 512 GiB in clusters of
/// 64 KiB.
const ENTRY_LIMIT: u64 = 1 << 23;
/// The most units of the file whose use is noted, a bit each.
pub const UNIT_LIMIT: u64 = 1 << 27;
/// The most findings listed.
const FINDING_LIMIT: usize = 1000;

/// A check under way.
pub struct Check<'a, F> {
    main: &'a dyn Source,
    format: &'a F,
    file_size: u64,
    /// Bytes of what is used as a whole: where clusters lie on multiples of it.
    unit: u64,
    used: Marks,
    findings: Vec<Finding>,
    steps: u64,
}

impl<'a, F: TwoLevel> Check<'a, F> {
    /// Of the image in `main`, whose tables and clusters lie on multiples of `unit`.
    pub fn new(main: &'a dyn Source, format: &'a F, unit: u64) -> Self {
        let file_size = main.size();
        let used = Marks::new(file_size.div_ceil(unit).min(UNIT_LIMIT));
        Self { main, format, file_size, unit, used, findings: Vec::new(), steps: ENTRY_LIMIT }
    }

    /// Looks at the tables, and answers whether at all of them.
    ///
    /// # Errors
    /// What the source answers.
    pub fn run(&mut self) -> Result<bool> {
        let shape = self.format.shape();
        let (span, entries) = (shape.table_span(), shape.l1_entries());
        let mut index = 0;
        while index < entries && self.goes_on() {
            let rest = entries - index;
            for entry in window::<F>(self.main, shape.l1_offset, index, rest, "L1 table")? {
                // Below the disk's size.
                let start = index * span;
                index += 1;
                if self.goes_on() {
                    self.look_at_table(start, entry.into())?;
                }
            }
        }
        if !self.goes_on() {
            self.note(0, "the check stops here: there is too much to look at".into());
            return Ok(false);
        }
        Ok(true)
    }

    /// Notes the use of whole units; whether one of them was used already.
    pub fn mark(&mut self, offset: u64, length: u64) -> bool {
        let end = offset.saturating_add(length).div_ceil(self.unit).min(UNIT_LIMIT);
        let mut twice = false;
        (offset / self.unit..end).for_each(|unit| twice |= self.used.mark(unit));
        twice
    }

    /// Adds a finding at an offset of the disk.
    pub fn note(&mut self, offset: u64, what: String) {
        let offset = offset.min(self.format.shape().disk_size);
        self.findings.push(Finding { offset, what, repaired: false });
    }

    /// How many units of the file nothing uses; none where there are more than
    /// [`UNIT_LIMIT`].
    pub fn unused(&self) -> Option<u64> {
        let units = self.file_size.div_ceil(self.unit);
        (units <= UNIT_LIMIT).then(|| units.saturating_sub(self.used.count()))
    }

    /// All that was noted.
    pub fn finish(self) -> Vec<Finding> {
        self.findings
    }

    fn goes_on(&self) -> bool {
        self.steps > 0 && self.findings.len() < FINDING_LIMIT
    }

    fn look_at_table(&mut self, start: u64, word: u64) -> Result<()> {
        self.steps -= 1;
        match self.format.table(word, self.file_size) {
            Table::Absent => {}
            Table::Wrong(what) => self.note(start, what),
            Table::At(table) => {
                if self.mark(table, self.format.shape().table_length()) {
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
        let shape = self.format.shape();
        let (size, entries) = (shape.cluster_size, shape.table_entries);
        let mut index = 0;
        while index < entries && self.goes_on() {
            for entry in window::<F>(self.main, table, index, entries - index, "L2 table")? {
                let offset = start.saturating_add(index * size);
                index += 1;
                if self.goes_on() {
                    self.look_at_cluster(offset, entry.into());
                }
            }
        }
        Ok(())
    }

    fn look_at_cluster(&mut self, offset: u64, word: u64) {
        self.steps -= 1;
        let size = self.format.shape().cluster_size;
        match self.format.cluster(word, self.file_size) {
            Cluster::Absent | Cluster::Zero => {}
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
            Cluster::Encoded { offset: place, length, .. } => {
                // Where it begins a unit of its own, no other can begin.
                if place.is_multiple_of(self.unit) && self.mark(place, length.into()) {
                    let what =
                        format!("the compressed cluster at {place} lies where other things are");
                    self.note(offset, what);
                }
            }
        }
    }
}
