//! What shows without payload: chunks that cannot be followed, parts of a set that hold
//! the same blocks, two checksums of one disk.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Finding, Result};

use crate::map::Parts;
use crate::part::{Cursor, HeldKind};

/// Findings an answer has at most.
const FINDING_LIMIT: usize = 1000;
/// Chunks looked at for blocks that several parts hold.
const STEP_LIMIT: usize = 1 << 20;

/// Looks at all parts.
///
/// # Errors
/// What a source answers.
pub fn check(parts: &Parts) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut add = |block: u32, what: String| {
        if findings.len() < FINDING_LIMIT {
            let offset = u64::from(block) * parts.block;
            findings.push(Finding { offset, what, repaired: false });
        }
    };
    for (part, learned) in &parts.list {
        if let Some(what) = learned.flaw(part) {
            add(learned.blocks.min(parts.blocks.saturating_sub(1)), what);
        }
        if let (Some(one), Some(other)) = (part.header.checksum, learned.checksum)
            && one != other
            && !learned.ambiguous
        {
            let name = part.source.name();
            add(0, format!("{name}: CRC-32 {one:#010x} in the header, {other:#010x} at the end"));
        }
    }
    if parts.list.len() > 1 {
        find_overlaps(parts, &mut add)?;
    }
    Ok(findings)
}

fn find_overlaps(parts: &Parts, add: &mut impl FnMut(u32, String)) -> Result<()> {
    let mut cursors: Vec<Cursor> = parts.list.iter().map(|_| Cursor::new()).collect();
    let (mut block, mut steps) = (0, 0);
    while block < parts.blocks && steps < STEP_LIMIT {
        let mut end = parts.blocks;
        let mut holders = Vec::new();
        for ((part, learned), cursor) in parts.list.iter().zip(&mut cursors) {
            steps += 1;
            let held = cursor.find(part, learned, block, &mut steps)?;
            end = end.min(held.end);
            if matches!(held.kind, HeldKind::Chunk { .. }) {
                holders.push(part.source.name());
            }
        }
        if holders.len() > 1 {
            add(block, format!("{} blocks are in {}", end - block, holders.join(" and in ")));
        }
        block = end;
    }
    Ok(())
}
