//! Looking for contradictions without the payload: checksums of banks, and blocks that
//! cannot be placed.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Content, Disk, Finding, Result};

use crate::map::FileMap;
use crate::slot::checksum;

/// Findings an answer has at most.
const MOST_FINDINGS: usize = 4096;
/// Bytes of banks that are read to compare checksums.
const MOST_BYTES: u64 = 256 << 20;
/// Longer banks are not compared.
const MOST_BANK: u32 = 16 << 20;
/// Bytes of the disk asked for at once.
const WINDOW: u64 = 1 << 33;

/// Checks what belongs to a file, and the banks, which all files share.
///
/// # Errors
/// What the source answers.
pub fn check(map: &mut FileMap) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    check_banks(map, &mut findings)?;
    let (mut at, size) = (0, map.size());
    while at < size {
        let extents = map.extents(at, WINDOW)?;
        at = extents.last().map_or(size, |extent| extent.end());
        for extent in extents {
            if let Content::Damaged(what) = extent.content {
                add(&mut findings, extent.offset, what);
            }
        }
    }
    Ok(findings)
}

fn add(findings: &mut Vec<Finding>, offset: u64, what: String) {
    if findings.len() < MOST_FINDINGS {
        findings.push(Finding { offset, what, repaired: false });
    }
}

fn check_banks(map: &FileMap, findings: &mut Vec<Finding>) -> Result<()> {
    let archive = map.archive();
    let mut left = MOST_BYTES;
    for (number, bank) in archive.snapshot.banks.iter().enumerate() {
        let size = u64::from(bank.size);
        let end = bank.offset.checked_add(size);
        if end.is_none_or(|end| end > archive.source.size()) {
            add(findings, 0, format!("bank {number} lies past the file's end"));
            continue;
        }
        if bank.size > MOST_BANK || size > left {
            continue;
        }
        left -= size;
        let bytes = read_bytes(&*archive.source, bank.offset, size, "bank")?;
        let found = checksum(&archive.header, &bytes);
        if found != bank.checksum {
            let expected = bank.checksum;
            let what = format!("the CRC of bank {number} is {found:08x}, not {expected:08x}");
            add(findings, 0, what);
        }
    }
    Ok(())
}
