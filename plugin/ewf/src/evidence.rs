//! What is known of a whole set: the media, the segments, the directory of tables,
//! and where everything else stands. [`crate::survey`] and [`crate::ewf2::survey`]
//! find it out.
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
use crate::media::Media;
use crate::table::Table;
use crate::texts::Text;
use crate::unreadable::Unreadable;

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

/// Something in a segment, and the place of that segment in the set.
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

/// Said of a chunk that no table places although all segments are there.
pub const UNPLACED: &str = "no table places this chunk";

/// A surveyed set.
pub struct Evidence {
    /// The media's measures.
    pub media: Media,
    /// The files, in order.
    pub segments: Vec<Segment>,
    /// The tables, in the order of the chunks they place; no two place the same chunk.
    pub tables: Vec<Table>,
    /// Why chunks that no table places cannot be read.
    pub absence: String,
    /// Embedded texts: the first of each kind.
    pub texts: Vec<Text>,
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
        let index = self.behind(number).checked_sub(1)?;
        let table = self.tables.get(index)?;
        (number < table.end()).then_some((index, table))
    }

    /// Why no table places chunk `number`, and which of the chunks behind it is the
    /// first that one places, if any.
    pub fn lacking(&self, number: u64) -> (Option<u64>, &str) {
        match self.tables.get(self.behind(number)) {
            Some(table) => (Some(table.first), UNPLACED),
            None => (None, &self.absence),
        }
    }

    /// The place of the first table that begins behind chunk `number`.
    fn behind(&self, number: u64) -> usize {
        self.tables.partition_point(|table| table.first <= number)
    }

    /// The segment that holds `table`.
    pub fn segment_of(&self, table: &Table) -> Result<&Segment> {
        self.segments.get(table.segment).ok_or(Error::OutOfRange)
    }
}
