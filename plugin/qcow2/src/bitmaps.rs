//! Persistent bitmaps (specification, "Bitmaps"): only where they lie, because
//! [`crate::check`] must not take their clusters for leaked ones.

use alloc::format;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Error, Result};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::extensions::BitmapDirectory;
use crate::tables::Tables;

const ENTRY_SIZE: u64 = 8;
const COUNT_LIMIT: u32 = 65_535;
const DIRECTORY_LIMIT: u64 = 64 << 20;
/// Entries of all bitmap tables together that are looked at.
const ENTRY_LIMIT: u64 = 8 << 20;
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DirectoryEntry {
    table_offset: U64,
    table_entries: U32,
    flags: U32,
    kind: u8,
    granularity_bits: u8,
    name_length: U16,
    extra_length: U32,
}

/// A run of the file that bitmaps occupy: (offset, length) in bytes.
pub type Run = (u64, u64);

/// Calls `each` with every run that the bitmaps in `directory` occupy.
///
/// # Errors
/// [`Error::Corrupt`] where the directory breaks a limit or leaves the file.
pub fn for_each_run(
    tables: &mut Tables,
    directory: BitmapDirectory,
    cluster_size: u64,
    each: &mut dyn FnMut(Run),
) -> Result<()> {
    let BitmapDirectory { count, size, offset } = directory;
    let end = offset.checked_add(size).filter(|end| *end <= tables.file_size());
    let Some(end) = end.filter(|_| count <= COUNT_LIMIT && size <= DIRECTORY_LIMIT) else {
        let what = format!("expected a bitmap directory in the file, found {size} bytes");
        return Err(Error::corrupt(offset, what));
    };
    each((offset, size));
    let (mut at, mut budget) = (offset, ENTRY_LIMIT);
    for _ in 0..count {
        let bytes = tables.bytes(at, size_of::<DirectoryEntry>() as u64, "bitmap directory")?;
        let entry: DirectoryEntry = parse_struct(&bytes, 0, at, "bitmap directory entry")?;
        let (table, entries) = (entry.table_offset.get(), u64::from(entry.table_entries.get()));
        budget = budget.checked_sub(entries).ok_or_else(|| {
            Error::corrupt(at, format!("expected up to {ENTRY_LIMIT} bitmap table entries"))
        })?;
        each((table, entries * ENTRY_SIZE));
        for_each_cluster(tables, (table, entries), &mut |data| each((data, cluster_size)))?;
        let names = u64::from(entry.name_length.get()) + u64::from(entry.extra_length.get());
        at += (bytes.len() as u64 + names).next_multiple_of(8);
        if at > end {
            let what = format!("expected the bitmap directory to end at {end}");
            return Err(Error::corrupt(at, what));
        }
    }
    Ok(())
}

/// Calls `each` with the clusters that a bitmap table of (offset, entries) names.
fn for_each_cluster(
    tables: &mut Tables,
    (table, entries): (u64, u64),
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut done = 0;
    while done < entries {
        let at = table.saturating_add(done * ENTRY_SIZE);
        let length = (entries - done) * ENTRY_SIZE;
        let bytes = tables.entries(at, length, ENTRY_SIZE, "bitmap table")?;
        done += bytes.len() as u64 / ENTRY_SIZE;
        for entry in bytes.chunks_exact(ENTRY_SIZE as usize) {
            let word = U64::read_from_bytes(entry).map_err(|_| Error::OutOfRange)?;
            if word.get() & OFFSET != 0 {
                each(word.get() & OFFSET);
            }
        }
    }
    Ok(())
}
