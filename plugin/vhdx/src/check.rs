//! Looks through the whole BAT for contradictions that a map by windows cannot see:
//! blocks that lie over each other, bitmaps that are missing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Finding, Result};

use crate::bat::Payload;
use crate::layout::{FILE_LIMIT, MIB};
use crate::store::Store;

/// The most findings listed one by one.
const FINDING_LIMIT: usize = 1000;

/// Which MiB of the file belong to something: 16 MiB of bits for the largest file.
struct Usage {
    words: Vec<u64>,
}

impl Usage {
    fn new(file_size: u64) -> Self {
        let count = file_size.min(FILE_LIMIT).div_ceil(64 * MIB);
        Self { words: vec![0; count as usize] }
    }

    /// Takes whole MiB; whether all of them were free.
    fn take(&mut self, offset: u64, length: u64) -> bool {
        let mut free = true;
        for mib in offset / MIB..offset.saturating_add(length).div_ceil(MIB) {
            // What lies behind the file's end is no finding here.
            let Some(word) = self.words.get_mut((mib / 64) as usize) else { break };
            free &= *word >> (mib % 64) & 1 == 0;
            *word |= 1 << (mib % 64);
        }
        free
    }
}

/// Contradictions of the BAT. There is nothing to repair by itself: which of two
/// blocks at one place is the right one, nobody can tell.
///
/// # Errors
/// What the source answers.
pub fn check(store: &mut Store) -> Result<Vec<Finding>> {
    let geometry = store.bat.geometry;
    let mut usage = Usage::new(store.pages.file_size());
    let mut findings = Vec::new();
    for block in 0..geometry.block_count() {
        let start = geometry.block_start(block);
        if findings.len() >= FINDING_LIMIT {
            findings.push(finding(start, "the check stops here: too many contradictions".into()));
            break;
        }
        let noted = check_block(store, &mut usage, block);
        for what in noted? {
            findings.push(finding(start, what));
        }
    }
    Ok(findings)
}

fn finding(offset: u64, what: String) -> Finding {
    Finding { offset, what, repaired: false }
}

fn check_block(store: &mut Store, usage: &mut Usage, block: u64) -> Result<Vec<String>> {
    let geometry = store.bat.geometry;
    let mut noted = Vec::new();
    if store.bat.differencing && block.is_multiple_of(geometry.chunk_ratio()) {
        let bitmap = note(store.bat.bitmap(&mut store.pages, block), &mut noted)?;
        if let Some(bits) = bitmap.flatten()
            && !usage.take(bits, MIB)
        {
            noted.push(format!("the sector bitmap at file offset {bits} overlaps another block"));
        }
    }
    let payload = note(store.payload(block), &mut noted)?;
    if let Some(room) = payload.and_then(Payload::offset)
        && !usage.take(room, geometry.block_size)
    {
        noted.push(format!("the block at file offset {room} overlaps another block"));
    }
    if let Some(Payload::Partial(_)) = payload {
        let bitmap = store.bat.needed_bitmap(&mut store.pages, block);
        note(bitmap, &mut noted)?;
    }
    Ok(noted)
}

/// Makes a contradiction a text.
fn note<T>(result: Result<T>, noted: &mut Vec<String>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error @ Error::Corrupt { .. }) => {
            noted.push(error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
