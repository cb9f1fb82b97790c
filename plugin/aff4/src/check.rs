//! What could not be read when the disk was acquired. Damage is in the disk's extents, for
//! the host to see; decoding chunks and comparing digests is the host's, too.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::findings::Findings;
use fumehood_plugin::{Finding, Result};

use crate::disk::AffDisk;
use crate::plan::Target;
use crate::symbol::Symbol;

/// The most pieces that are looked at, all in one call.
const MOST_PIECES: u32 = 1 << 20;

/// Names the ranges of a disk that could not be read at acquisition.
///
/// # Errors
/// What a source answers.
pub fn check(disk: &mut AffDisk) -> Result<Vec<Finding>> {
    let mut findings = Findings::default();
    if disk.size() == 0 {
        return Ok(findings.finish());
    }
    let mut piece = disk.piece(0)?;
    for _ in 0..MOST_PIECES {
        if piece.target == Target::Symbol(Symbol::Unreadable) {
            let length = piece.end - piece.start;
            let what = format!("{length} bytes could not be read when the disk was acquired");
            findings.add(piece.start, what);
        }
        if piece.end >= disk.size() {
            return Ok(findings.finish());
        }
        piece = disk.behind(&piece)?;
    }
    let what = format!(
        "the check stops here, behind {MOST_PIECES} ranges: what could not be read further on \
         is not listed"
    );
    findings.add(piece.start, what);
    Ok(findings.finish())
}
