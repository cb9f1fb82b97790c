//! Images whose disk is mapped by two levels of tables, of 64-bit entries both: one of
//! the first level (L1) names a table of the second (L2), and one of that a cluster.
//!
//! ```text
//!   L1 ─▶ L2 ─▶ cluster ─▶ extents   disk offset ─▶ extents
//!                          Check     every table and cluster once, in the file
//! ```
//!
//! What an entry says is the format's: it implements [`TwoLevel`]. Here is how they
//! follow each other. Tables are read over a window at a time and never whole, and work
//! stays bounded where many L1 entries name the same L2 table.

use alloc::string::String;
use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::error::Result;
use crate::extent::Codec;
use crate::read::read_table;
use crate::source::Source;

mod check;
mod map;

pub use check::{Check, UNIT_LIMIT};
pub use map::extents;

/// Bytes an entry of a table.
pub const ENTRY_SIZE: u64 = 8;
/// The most entries read at once.
const WINDOW: u64 = 65_536;

/// A format of two levels, with a header that was checked.
pub trait TwoLevel {
    /// An entry as it lies on disk: a `U64` in the format's byte order.
    type Entry: FromBytes + Immutable + KnownLayout + Unaligned + Clone + Into<u64>;

    /// How the disk is divided.
    fn shape(&self) -> &Shape;

    /// What the L1 entry `word` says, in a file of `file_size` bytes.
    fn table(&self, word: u64, file_size: u64) -> Table;

    /// What the L2 entry `word` says, in a file of `file_size` bytes.
    fn cluster(&self, word: u64, file_size: u64) -> Cluster;
}

/// How a disk is divided. The format has checked that the L1 table lies in the file, that
/// nothing is 0, and that the disk is smaller than 2^63 bytes and what an L2 table maps
/// no larger than 2^62.
#[derive(Debug)]
pub struct Shape {
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// Bytes a cluster.
    pub cluster_size: u64,
    /// Entries of an L2 table.
    pub table_entries: u64,
    /// Where the L1 table lies.
    pub l1_offset: u64,
}

impl Shape {
    /// Bytes of an L2 table.
    pub fn table_length(&self) -> u64 {
        self.table_entries * ENTRY_SIZE
    }

    /// Bytes of the disk that one L2 table maps.
    pub fn table_span(&self) -> u64 {
        self.table_entries * self.cluster_size
    }

    /// Entries of the L1 table that the disk needs.
    pub fn l1_entries(&self) -> u64 {
        self.disk_size.div_ceil(self.table_span())
    }
}

/// What an L1 entry says of the range that it maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// Nothing of it is in this image.
    Absent,
    /// It is mapped by the L2 table at this offset, which lies in the file.
    At(u64),
    /// The entry contradicts the format: what is wrong.
    Wrong(String),
}

/// What an L2 entry says of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// It is not in this image.
    Absent,
    /// It reads as zeroes, whatever a backing file holds.
    Zero,
    /// It begins at this offset, which lies in the file.
    At(u64),
    /// It is encoded on its own, in a format whose clusters are smaller than 4 GiB.
    Encoded {
        /// Offset of the first byte.
        offset: u64,
        /// How many there are at most, all in the file.
        length: u32,
        /// How.
        codec: Codec,
    },
    /// The entry contradicts the format: what is wrong.
    Wrong(String),
}

/// Up to `count` entries of the table at `offset` from the entry `first` on. All of
/// them lie in the table, and the table in the file.
fn window<F: TwoLevel>(
    main: &dyn Source,
    offset: u64,
    first: u64,
    count: u64,
    name: &str,
) -> Result<Vec<F::Entry>> {
    read_table(main, offset + first * ENTRY_SIZE, count.min(WINDOW), name)
}
