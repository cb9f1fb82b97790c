//! One look at all tables, and what this format adds to it: clusters that nothing uses.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::two_level::Check;
use fumehood_plugin::{Finding, Result, Source};

use crate::header::Header;

/// Looks at the tables.
///
/// # Errors
/// What the source answers.
pub fn check(main: &dyn Source, header: &Header) -> Result<Vec<Finding>> {
    let shape = &header.shape;
    let mut check = Check::new(main, header, shape.cluster_size);
    check.mark(0, header.length);
    if check.mark(shape.l1_offset, shape.table_length()) {
        check.note(0, "the L1 table lies where the header is".into());
    }
    if check.run()?
        && let Some(leaked @ 1..) = check.unused()
    {
        check.note(0, format!("{leaked} clusters of the file are not used"));
    }
    Ok(check.finish())
}
