//! What a check finds: the parts that an incomplete archive lacks. All else that shows
//! without the payload has failed the scan.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{Content, Disk, Finding, Result};

use crate::map::Map;

/// Findings an answer has at most.
const MOST_FINDINGS: usize = 4096;
/// Bytes of a disk that one check looks at, so that it ends in seconds.
const REACH: u64 = 4 << 40;

/// Lists what is missing.
///
/// # Errors
/// As [`Map::extents`].
pub fn check(map: &mut Map) -> Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = Vec::new();
    // Nothing to look for, and many records to look at.
    let mut at = if map.is_complete() { map.size() } else { 0 };
    while at < map.size() {
        if findings.len() >= MOST_FINDINGS || at >= REACH {
            let what = "there may be more: the check went no further".into();
            findings.push(Finding { offset: at, what, repaired: false });
            break;
        }
        let extents = map.extents(at, u64::MAX)?;
        at = extents.last().map_or(map.size(), |extent| extent.end());
        for extent in extents {
            if let Content::Damaged(what) = extent.content {
                let what = format!("{} bytes cannot be read: {what}", extent.length);
                findings.push(Finding { offset: extent.offset, what, repaired: false });
            }
        }
    }
    Ok(findings)
}
