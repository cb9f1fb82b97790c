//! The directory of tables: which chunks a table places and where its entries
//! stand. The entries themselves are [`crate::entries`]'s; the header that version 2
//! puts before them is [`crate::ewf2::table`]'s.
//!
//! Source: libewf, "Expert Witness Compression Format", Table section.

use alloc::format;

use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::ewf2::table::PLACE;
use crate::sealed::{SEAL, read_sealed};
use crate::section::Section;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TableHeader {
    count: U32,
    padding: U32,
    base: U64,
    padding2: U32,
    checksum: U32,
}

const HEADER: u64 = size_of::<TableHeader>() as u64;

/// Length of a table entry in bytes.
const ENTRY: u64 = 4;

/// One copy of a table: its entries lie wholly inside its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableCopy {
    /// Offset of the first entry in the segment.
    pub entries: u64,
    /// What the entries' offsets count from.
    pub base: u64,
}

/// What entries look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Those of version 1: an offset, and a mark. A chunk ends where the next begins.
    Offsets {
        /// Offset just past the section that holds the chunks.
        data_end: u64,
    },
    /// Those of version 2: offset, length and flags.
    Places {
        /// Offset of the descriptor of the table's section.
        descriptor: u64,
    },
}

impl Layout {
    /// Length of an entry in bytes.
    pub fn entry(self) -> u64 {
        match self {
            Self::Offsets { .. } => ENTRY,
            Self::Places { .. } => PLACE,
        }
    }
}

/// A table and its mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Number of the first chunk it places.
    pub first: u64,
    /// How many chunks it places.
    pub count: u32,
    /// Place of its segment in the set, counted from 0.
    pub segment: usize,
    /// What its entries look like.
    pub layout: Layout,
    /// Whether a checksum stands behind the entries.
    pub sealed: bool,
    /// `table` and `table2`, where their headers can be trusted.
    pub copies: [Option<TableCopy>; 2],
}

impl Table {
    /// Number of the chunk just past those it places.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// Length of its entries in bytes.
    pub fn length(&self) -> u64 {
        u64::from(self.count) * self.layout.entry()
    }
}

/// Reads a table's header: how many entries, and where.
///
/// # Errors
/// [`Error::Corrupt`] for a wrong checksum or more entries than the section has
/// room for, or what the source answers.
pub fn read_header(
    source: &dyn Source,
    section: &Section,
    sealed: bool,
) -> Result<(u32, TableCopy)> {
    let offset = section.payload();
    let header: TableHeader = read_sealed(source, offset, "table header")?;
    let count = header.count.get();
    let needed = HEADER + u64::from(count) * ENTRY + if sealed { SEAL } else { 0 };
    let length = section.payload_length();
    if needed > length {
        let what = format!("table of {count} entries needs {needed} bytes and has {length}");
        return Err(Error::corrupt_in(source.id(), offset, what));
    }
    Ok((count, TableCopy { entries: offset.saturating_add(HEADER), base: header.base.get() }))
}

/// How many entries a table section without a header to trust must have, given
/// that it holds nothing else.
pub fn count_by_size(section: &Section) -> u32 {
    let entries = section.payload_length().saturating_sub(HEADER + SEAL) / ENTRY;
    u32::try_from(entries).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_its_size() {
        assert_eq!(HEADER, 24);
    }
}
