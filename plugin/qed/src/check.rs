//! One look at all tables: entries that contradict the format, clusters that are used
//! twice, and clusters that nothing uses.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Finding, Result, Source};
use zerocopy::little_endian::U64;

use crate::header::Header;
use crate::tables::{Cluster, Table, window};

/// The most entries looked at, so that a check takes seconds: 512 GiB in clusters of
/// 64 KiB.
const ENTRY_LIMIT: u64 = 1 << 23;
/// The most clusters whose use is noted, a bit each.
const CLUSTER_LIMIT: u64 = 1 << 27;
/// The most findings listed.
const FINDING_LIMIT: usize = 1000;

/// Looks at the tables.
///
/// # Errors
/// What the source answers.
pub fn check(main: &dyn Source, header: &Header) -> Result<Vec<Finding>> {
    let file_size = main.size();
    let clusters = file_size.div_ceil(header.cluster_size);
    let used = Used(vec![0; clusters.min(CLUSTER_LIMIT).div_ceil(8) as usize]);
    let findings = Vec::new();
    let mut check = Check { main, header, file_size, used, findings, steps: ENTRY_LIMIT };
    check.mark(0, header.length);
    if check.mark(header.l1_offset, header.table_length) {
        check.note(0, "the L1 table lies where the header is".into());
    }
    check.run()?;
    if !check.goes_on() {
        check.note(0, "the check stops here: there is too much to look at".into());
    } else if clusters <= CLUSTER_LIMIT {
        let leaked = check.used.clear_bits(clusters);
        if leaked > 0 {
            check.note(0, format!("{leaked} clusters of the file are not used"));
        }
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
        let (span, needed) = (self.header.table_span(), self.header.l1_needed());
        let mut index = 0;
        while index < needed && self.goes_on() {
            let rest = needed - index;
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
                if self.mark(table, self.header.table_length) {
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
        let (size, entries) = (self.header.cluster_size, self.header.table_entries());
        let mut index = 0;
        while index < entries && self.goes_on() {
            for entry in window(self.main, table, index, entries - index, "L2 table")? {
                let offset = start.saturating_add(index * size);
                index += 1;
                if self.goes_on() {
                    self.look_at_cluster(offset, entry);
                }
            }
        }
        Ok(())
    }

    fn look_at_cluster(&mut self, offset: u64, entry: U64) {
        self.steps -= 1;
        let size = self.header.cluster_size;
        match self.header.cluster(entry, self.file_size) {
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
        }
    }

    /// Notes the use of whole clusters; whether one of them was used already.
    fn mark(&mut self, offset: u64, length: u64) -> bool {
        let first = offset / self.header.cluster_size;
        let end = offset.saturating_add(length).div_ceil(self.header.cluster_size);
        let mut twice = false;
        (first..end.min(CLUSTER_LIMIT)).for_each(|cluster| twice |= self.used.mark(cluster));
        twice
    }

    fn note(&mut self, offset: u64, what: String) {
        let offset = offset.min(self.header.disk_size);
        self.findings.push(Finding { offset, what, repaired: false });
    }
}

/// A bit for each cluster of the file, up to a limit.
struct Used(Vec<u8>);

impl Used {
    fn mark(&mut self, cluster: u64) -> bool {
        let byte = usize::try_from(cluster / 8).ok().and_then(|at| self.0.get_mut(at));
        let Some(byte) = byte else { return false };
        let bit = 1 << (cluster % 8);
        let marked = *byte & bit != 0;
        *byte |= bit;
        marked
    }

    /// How many of the first `count` bits are clear; there are no more set behind them.
    fn clear_bits(&self, count: u64) -> u64 {
        let set: u64 = self.0.iter().map(|byte| u64::from(byte.count_ones())).sum();
        count.saturating_sub(set)
    }
}
