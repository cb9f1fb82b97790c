//! Looking for contradictions without the payload: blocks that cannot be placed, blocks
//! that lie in metadata, and indexes that changed.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Content, Disk, Finding, Result};

use crate::map::DiskMap;

/// Findings an answer has at most.
const MOST_FINDINGS: usize = 4096;
/// Bytes of an index whose digest is compared, at most.
const MOST_INDEX: u32 = 256 << 20;
/// Bytes of the disk asked for at once.
const WINDOW: u64 = 1 << 30;

/// Checks all of a disk that is not payload.
///
/// # Errors
/// What a source answers.
pub fn check(map: &mut DiskMap) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    check_indexes(map, &mut findings)?;
    let ends: Vec<(u32, u64, String)> = map
        .storing
        .set
        .members()
        .map(|member| (member.source.id(), member.metadata, member.name.clone()))
        .collect();
    let (mut at, size) = (0, map.size);
    while at < size {
        let extents = map.extents(at, WINDOW)?;
        at = extents.last().map_or(size, |extent| extent.end());
        for extent in extents {
            let what = match extent.content {
                Content::Damaged(what) => what,
                Content::Encoded(encoded) => {
                    let end = encoded.offset + u64::from(encoded.stored_length);
                    let into = |(id, metadata, _): &&(u32, u64, String)| {
                        *id == encoded.source && *metadata > 0 && end > *metadata
                    };
                    let Some((_, metadata, name)) = ends.iter().find(into) else { continue };
                    format!("a block up to {end} of {name}, whose metadata begin at {metadata}")
                }
                _ => continue,
            };
            if findings.len() < MOST_FINDINGS {
                findings.push(Finding { offset: extent.offset, what, repaired: false });
            }
        }
    }
    Ok(findings)
}

fn check_indexes(map: &DiskMap, findings: &mut Vec<Finding>) -> Result<()> {
    for (stored, _) in &map.partitions {
        for (source, index) in &stored.indexes {
            if index.length <= MOST_INDEX && !index.is_sound(&**source)? {
                let what = format!("the MD5 of an index in {} is not as stored", source.name());
                findings.push(Finding { offset: stored.measures.start, what, repaired: false });
            }
        }
    }
    Ok(())
}
