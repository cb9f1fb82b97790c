//! Sector tables: the header before the entries, and what an entry says.
//!
//! Source: libewf, "Expert Witness Compression Format version 2", Sector table.

use alloc::format;

use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::ewf2::section::Section;
use crate::place::{ChunkPlace, Form};
use crate::sealed::{SEAL, read_sealed};
use crate::table::{Layout, Table, TableCopy};

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TableHeader {
    first: U64,
    count: U32,
    reserved: U32,
    checksum: U32,
}

/// From the start of the header to the first entry: padding follows the header.
const HEADER: u64 = 32;

/// A table entry.
#[derive(Clone, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Place {
    /// Offset of the chunk in its segment, or what fills it.
    offset: [u8; 8],
    /// Stored bytes, checksum included.
    size: U32,
    flags: U32,
}

/// Entries a table has at most: it is verified whole before one of them is used.
const MOST_ENTRIES: u32 = 1 << 20;
/// What a section may hold behind its table: padding, and whatever else a writer puts
/// there. All of it is hashed.
const SPARE: u64 = 4096;

/// Length of an entry in bytes.
pub const PLACE: u64 = size_of::<Place>() as u64;

/// Chunk data flags.
const COMPRESSED: u32 = 1;
const CHECKSUMED: u32 = 2;
const PATTERN: u32 = 4;

impl Place {
    /// What it says. A pattern counts only where the chunk is said to be compressed, and
    /// the checksum only where it is not.
    pub fn read(&self) -> ChunkPlace {
        let flags = self.flags.get();
        let form = match flags {
            flags if flags & !(COMPRESSED | CHECKSUMED | PATTERN) != 0 => {
                return ChunkPlace::Unknown(flags);
            }
            flags if flags & COMPRESSED != 0 && flags & PATTERN != 0 => {
                return ChunkPlace::Fill(self.offset);
            }
            flags if flags & COMPRESSED != 0 => Form::Compressed,
            flags if flags & CHECKSUMED != 0 => Form::Sealed,
            _ => Form::Plain,
        };
        let start = u64::from_le_bytes(self.offset);
        ChunkPlace::Held { start, end: start.saturating_add(self.size.get().into()), form }
    }
}

/// Reads what a table places. The table of `segment` has no entries where it is `None`.
///
/// # Errors
/// [`Error::Corrupt`] for a wrong checksum, for more entries than are read or the section
/// has room for, for much more room than they need and for chunk numbers that no image
/// has, or what the source answers.
pub fn read_table(source: &dyn Source, section: &Section, segment: usize) -> Result<Option<Table>> {
    let header: TableHeader = read_sealed(source, section.data, "sector table header")?;
    let (first, count) = (header.first.get(), header.count.get());
    let corrupt = |what| Err(Error::corrupt_in(source.id(), section.data, what));
    if count > MOST_ENTRIES {
        return corrupt(format!("a table of {count} entries; {MOST_ENTRIES} are read"));
    }
    let needed = HEADER + u64::from(count) * PLACE + SEAL;
    let length = section.length;
    if length < needed || length - needed > SPARE {
        return corrupt(format!("table of {count} entries needs {needed} bytes and has {length}"));
    }
    if first >> 62 != 0 {
        return corrupt(format!("table begins with chunk {first}, which no image has"));
    }
    let entries = section.data.saturating_add(HEADER);
    let layout = Layout::Places { descriptor: section.descriptor };
    let copies = [Some(TableCopy { entries, base: 0 }), None];
    Ok((count > 0).then_some(Table { first, count, segment, layout, sealed: true, copies }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((size_of::<TableHeader>(), PLACE), (20, 16));
    }

    #[test]
    fn flags_tell_how_a_chunk_is_stored() {
        let read = |flags| {
            let offset = 100u64.to_le_bytes();
            Place { offset, size: U32::new(10), flags: U32::new(flags) }.read()
        };
        let held = |form| ChunkPlace::Held { start: 100, end: 110, form };
        assert_eq!([read(0), read(4)], [held(Form::Plain); 2]);
        assert_eq!([read(1), read(3)], [held(Form::Compressed); 2]);
        assert_eq!([read(2), read(6)], [held(Form::Sealed); 2]);
        assert_eq!([read(5), read(7)], [ChunkPlace::Fill([100, 0, 0, 0, 0, 0, 0, 0]); 2]);
        assert_eq!(read(9), ChunkPlace::Unknown(9));
        let last = Place { offset: [0xff; 8], size: U32::new(10), flags: U32::new(1) }.read();
        let form = Form::Compressed;
        assert_eq!(last, ChunkPlace::Held { start: u64::MAX, end: u64::MAX, form });
    }
}
