//! What is known of a whole set: the media, the segments, the directory of tables,
//! and where everything else stands. [`crate::survey`] finds it out.
//!
//! ```text
//!  E01: header … volume sectors table table2 next
//!  E02: data            sectors table table2 next       chunks are numbered on
//!  E03: data            sectors table table2 hash done  through all segments
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, SourceHandle};

use crate::digests::Digests;
use crate::section::Section;
use crate::table::Table;
use crate::unreadable::Unreadable;
use crate::volume::Media;

/// One file of the set.
#[derive(Clone)]
pub struct Segment {
    /// The file.
    pub source: SourceHandle,
    /// Its number among the sources.
    pub id: u32,
    /// Its name, for messages.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A section and the place of its segment in the set.
#[derive(Debug, Clone, Copy)]
pub struct Placed<T> {
    /// Counted from 0.
    pub segment: usize,
    /// What stands there.
    pub item: T,
}

/// Something that contradicts the format or is missing, seen while opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// How far the tables had placed the disk by then, in bytes.
    pub offset: u64,
    /// What was expected and found, with the file and the offset in it.
    pub what: String,
}

/// A surveyed set.
pub struct Evidence {
    /// The media's measures.
    pub media: Media,
    /// The files, in order.
    pub segments: Vec<Segment>,
    /// The tables, in the order of the chunks they place.
    pub tables: Vec<Table>,
    /// Why chunks that no table places cannot be read.
    pub absence: String,
    /// Embedded texts: the first section of each kind.
    pub texts: Vec<Placed<Section>>,
    /// Digests over the media.
    pub digests: Digests,
    /// Sectors unreadable at acquisition.
    pub unreadable: Vec<Placed<Unreadable>>,
    /// What is wrong with it.
    pub flaws: Vec<Flaw>,
    /// Whether chunk data stands inside the table sections.
    pub chunks_in_tables: bool,
}

impl Evidence {
    /// The table that places chunk `number`, and its place in the directory.
    pub fn table_of(&self, number: u64) -> Option<(usize, &Table)> {
        let behind = self.tables.partition_point(|table| table.first <= number);
        let index = behind.checked_sub(1)?;
        let table = self.tables.get(index)?;
        (number < table.end()).then_some((index, table))
    }

    /// The segment that holds `table`.
    pub fn segment_of(&self, table: &Table) -> Result<&Segment> {
        self.segments.get(table.segment).ok_or(Error::OutOfRange)
    }
}
