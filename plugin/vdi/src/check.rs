//! One look at the whole map: blocks past the file's end, blocks that two entries
//! name, and a count that is not the header's.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::marks::Marks;
use fumehood_plugin::{Finding, Result, Source};

use crate::header::Header;
use crate::map::{Entry, entries};

/// The most entries looked at, so that a check takes seconds: 8 TiB in blocks of 1 MiB.
const ENTRY_LIMIT: u64 = 1 << 23;
/// The most findings listed.
const FINDING_LIMIT: usize = 1000;

/// Looks at the map.
///
/// # Errors
/// What the source answers.
pub fn check(main: &dyn Source, header: &Header) -> Result<Vec<Finding>> {
    let end = header.block_count.min(ENTRY_LIMIT);
    // In a sound image no number is as high as the count of blocks, nor as that of the
    // map's entries. Of one that is, some other entry is missing or marked twice.
    let used = Marks::new(end.min(header.blocks_allocated));
    let mut check = Check { header, file_size: main.size(), used, findings: Vec::new() };
    let (mut block, mut allocated) = (0, 0);
    while block < end && check.findings.len() < FINDING_LIMIT {
        for entry in entries(main, header, block, end - block)? {
            if let Entry::Block(index) = entry {
                allocated += 1;
                check.look(block, index);
            }
            block += 1;
        }
    }
    if block < header.block_count {
        check.add(block, format!("the check stops here, at block {block}"));
    } else if allocated != header.blocks_allocated {
        let counted = header.blocks_allocated;
        let what = format!("the header counts {counted} allocated blocks, the map {allocated}");
        check.note(0, what);
    }
    Ok(check.findings)
}

struct Check<'a> {
    header: &'a Header,
    file_size: u64,
    used: Marks,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn look(&mut self, block: u64, index: u32) {
        let place = self.header.place(index);
        let end = place.saturating_add(self.header.block_size.into());
        let allocated = self.header.blocks_allocated;
        if end > self.file_size {
            let size = self.file_size;
            let what = format!("block {block} lies to {end}, past the file's end at {size}");
            self.note(block, what);
        } else if u64::from(index) >= allocated {
            let what =
                format!("block {block} is number {index} in the file, of {allocated} allocated");
            self.note(block, what);
        } else if self.used.mark(index.into()) {
            let what = format!("block {block} is at {place}, where another block is too");
            self.note(block, what);
        }
        if block >= self.header.disk_blocks() {
            self.note(block, format!("block {block} lies past the disk's end"));
        }
    }

    fn note(&mut self, block: u64, what: String) {
        if self.findings.len() < FINDING_LIMIT {
            self.add(block, what);
        }
    }

    fn add(&mut self, block: u64, what: String) {
        let start = block.saturating_mul(self.header.block_size.into());
        let offset = start.min(self.header.disk_size);
        self.findings.push(Finding { offset, what, repaired: false });
    }
}
