//! One look at all tables, and what this format adds to it: compressed clusters may share
//! sectors with their neighbours, and what nothing uses is not told apart from what lies
//! between them.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::two_level::{Check, UNIT_LIMIT};
use fumehood_plugin::{Finding, Result, Source};

use crate::header::{Header, LENGTH};
use crate::tables::SECTOR;

/// Looks at the tables.
///
/// # Errors
/// What the source answers.
pub fn check(main: &dyn Source, header: &Header) -> Result<Vec<Finding>> {
    let mut check = Check::new(main, header, SECTOR);
    // They may share the sector in which one ends and the other begins.
    check.mark(0, LENGTH);
    check.mark(header.shape.l1_offset, header.l1_length());
    if check.run()? && check.unused().is_none() {
        check.note(0, format!("overlaps are found in the first {UNIT_LIMIT} sectors only"));
    }
    Ok(check.finish())
}
