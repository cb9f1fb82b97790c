//! The contract's rules for answers, as far as one answer shows whether it keeps them.

use alloc::format;
use alloc::string::String;

use crate::extent::{Content, Extent, Placement};
use crate::memory::check_answer;

/// The most extents an answer may have.
const EXTENT_LIMIT: usize = 65_536;

/// Gives the size of a source that was granted.
pub(super) type SourceSize<'a> = &'a dyn Fn(u32) -> Option<u64>;

/// Checks an answer of [`crate::Disk::extents`], its places in the sources too.
pub(super) fn check_extents(
    extents: &[Extent],
    offset: u64,
    disk_size: u64,
    sources: SourceSize<'_>,
) -> Result<(), String> {
    check_answer(extents, offset, disk_size)?;
    if extents.len() > EXTENT_LIMIT {
        return Err(format!("{} extents in one answer", extents.len()));
    }
    for extent in extents {
        match &extent.content {
            Content::Stored(stored) => {
                check_place(stored.source, stored.offset, extent.length, sources)?;
            }
            Content::Encoded(encoded) => {
                let length = u64::from(encoded.stored_length);
                check_place(encoded.source, encoded.offset, length, sources)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks an answer of [`crate::Disk::place`].
pub(super) fn check_placements(
    placements: &[Placement],
    (offset, length): (u64, u64),
    (disk_size, granularity): (u64, u64),
    sources: SourceSize<'_>,
) -> Result<(), String> {
    let first = placements.first().ok_or("an answer without placements")?;
    if first.offset > offset {
        return Err(format!("placements from {} on do not hold offset {offset}", first.offset));
    }
    let mut at = first.offset;
    for placement in placements {
        if placement.offset != at || placement.length == 0 {
            return Err(format!("gap, overlap or empty placement at {at}: {placement:?}"));
        }
        at = at.checked_add(placement.length).ok_or("a placement beyond 2^64")?;
        if at > disk_size {
            return Err(format!("a placement past the disk's end {disk_size}: {placement:?}"));
        }
        let whole =
            placement.offset % granularity == 0 && (at % granularity == 0 || at == disk_size);
        if placement.fresh && !whole {
            return Err(format!("not whole granules of {granularity}: {placement:?}"));
        }
        if placement.zeroed && !placement.fresh {
            return Err(format!("zeroed, but the bytes are there already: {placement:?}"));
        }
        check_place(placement.stored.source, placement.stored.offset, placement.length, sources)?;
    }
    if at < offset + length {
        return Err(format!("placements end at {at}, before {}", offset + length));
    }
    Ok(())
}

/// That a range lies in a granted source.
fn check_place(
    source: u32,
    offset: u64,
    length: u64,
    sources: SourceSize<'_>,
) -> Result<(), String> {
    let size = sources(source).ok_or_else(|| format!("source {source} was not granted"))?;
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(format!(
            "{length} bytes at {offset} lie past the end of source {source} at {size}"
        ));
    }
    Ok(())
}
