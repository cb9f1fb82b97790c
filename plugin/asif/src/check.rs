//! What shows without payload: tables and chunks that lie where none may, and chunks of
//! the file that two entries name.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Finding, Result};

use crate::header::ENTRY_SIZE;
use crate::map::Layout;
use crate::tables::Entry;

/// Findings an answer has at most.
const FINDING_LIMIT: usize = 1000;
/// Entries of tables looked at: a disk of 4 TiB in chunks of 1 MiB.
const ENTRY_LIMIT: u64 = 4 << 20;
/// Chunks in use that are compared; they take 16 MiB.
const USED_LIMIT: usize = 4 << 20;

struct Survey {
    findings: Vec<Finding>,
    /// Numbers of chunks of the file.
    used: Vec<u32>,
    entries: u64,
    complete: bool,
}

impl Survey {
    fn add(&mut self, offset: u64, what: String) {
        if self.findings.len() < FINDING_LIMIT {
            self.findings.push(Finding { offset, what, repaired: false });
        }
    }

    /// Counts an entry that is looked at; answers whether it may be.
    fn goes_on(&mut self) -> bool {
        self.entries += 1;
        self.complete &= self.entries <= ENTRY_LIMIT;
        self.entries <= ENTRY_LIMIT
    }

    fn take(&mut self, number: u64) {
        match u32::try_from(number) {
            Ok(number) if self.used.len() < USED_LIMIT => self.used.push(number),
            _ => self.complete = false,
        }
    }
}

/// Looks at all tables of the disk.
///
/// # Errors
/// What the source answers.
pub fn check(layout: &Layout) -> Result<Vec<Finding>> {
    let header = &*layout.header;
    let mut survey = Survey { findings: Vec::new(), used: Vec::new(), entries: 0, complete: true };
    // What holds the header is nobody's, and so are the directories.
    survey.take(0);
    let length = (header.tables + 1) * ENTRY_SIZE;
    for start in header.directories {
        let (first, end) = (start / header.chunk, start.saturating_add(length));
        for chunk in first.max(1)..end.div_ceil(header.chunk) {
            survey.take(chunk);
        }
    }
    survey.used.sort_unstable();
    survey.used.dedup();
    check_tables(layout, &mut survey)?;
    survey.used.sort_unstable();
    let twice = survey.used.windows(2).filter_map(|pair| match pair {
        [one, other] if one == other => Some(*one),
        _ => None,
    });
    let mut twice: Vec<u32> = twice.collect();
    twice.dedup();
    twice.truncate(FINDING_LIMIT);
    for chunk in twice {
        survey.add(0, format!("the chunk {chunk} of the file is used twice"));
    }
    if !survey.complete {
        survey.add(0, "the image is too large to be looked at whole".into());
    }
    Ok(survey.findings)
}

fn check_tables(layout: &Layout, survey: &mut Survey) -> Result<()> {
    let header = &*layout.header;
    let mut tables = layout.tables();
    let chunks = header.size.div_ceil(header.chunk);
    for number in 0..chunks.div_ceil(header.shape.table) {
        if !survey.goes_on() {
            return Ok(());
        }
        let first = number.saturating_mul(header.shape.table);
        let start = match tables.table(number) {
            Ok(None) => continue,
            Ok(Some(start)) => start,
            Err(Error::Corrupt { what, .. }) => {
                survey.add(first.saturating_mul(header.chunk), what);
                continue;
            }
            Err(error) => return Err(error),
        };
        survey.take(start / header.chunk);
        for within in 0..header.shape.table.min(chunks.saturating_sub(first)) {
            if !survey.goes_on() {
                return Ok(());
            }
            let chunk = first.saturating_add(within);
            let wrong = match tables.chunk(start, header.shape.entry(within))? {
                Entry::None => continue,
                Entry::Unknown(raw) => Some(format!("has unknown flags in its entry {raw:#x}")),
                Entry::Chunk(place) => match layout.place(place) {
                    Err(what) => Some(what),
                    Ok(_) => {
                        survey.take(place);
                        None
                    }
                },
            };
            if let Some(what) = wrong {
                survey.add(chunk.saturating_mul(header.chunk), format!("chunk {chunk} {what}"));
            }
        }
    }
    Ok(())
}
