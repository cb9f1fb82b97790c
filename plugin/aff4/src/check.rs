//! Looking for contradictions without the payload, and for what could not be read when the
//! disk was acquired. Decoding chunks and comparing digests is the host's.

use alloc::vec::Vec;

use fumehood_plugin::findings::Findings;
use fumehood_plugin::{Content, Disk, Finding, Result};

use crate::disk::AffDisk;
use crate::plan::Target;
use crate::symbol::Symbol;

/// Bytes of the disk asked for at once.
const WINDOW: u64 = 1 << 30;

/// Checks all of a disk that is not payload.
///
/// # Errors
/// What a source answers.
pub fn check(disk: &mut AffDisk) -> Result<Vec<Finding>> {
    let mut findings = Findings::default();
    let mut at = 0;
    while at < disk.size() {
        for extent in disk.extents(at, WINDOW)? {
            at = extent.end();
            match extent.content {
                Content::Damaged(what) => findings.add(extent.offset, what),
                Content::Computed => unreadable(disk, extent.offset, at, &mut findings)?,
                _ => (),
            }
        }
    }
    Ok(findings.finish())
}

/// Names the ranges between `at` and `end` that could not be read at acquisition.
fn unreadable(disk: &mut AffDisk, mut at: u64, end: u64, findings: &mut Findings) -> Result<()> {
    while at < end {
        let piece = disk.piece(at)?;
        if piece.target == Target::Symbol(Symbol::Unreadable) {
            let length = piece.end - piece.start;
            let what =
                alloc::format!("{length} bytes could not be read when the disk was acquired");
            findings.add(piece.start, what);
        }
        at = piece.end;
    }
    Ok(())
}
