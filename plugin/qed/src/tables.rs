//! L1 and L2 tables (specification, "Tables" and "Cluster offsets"): windows of them,
//! and what an entry says. How they follow each other is for [`crate::map`].

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use crate::header::{ENTRY_SIZE, Header};

/// The most entries read at once.
const WINDOW: u64 = 65_536;

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
    /// The entry contradicts the format: what is wrong.
    Wrong(String),
}

/// Up to `count` entries of the table at `offset` from the entry `first` on. All of
/// them lie in the table, and the table in the file.
///
/// # Errors
/// As [`read_bytes`].
pub fn window(
    main: &dyn Source,
    offset: u64,
    first: u64,
    count: u64,
    name: &str,
) -> Result<Vec<U64>> {
    let at = offset + first * ENTRY_SIZE;
    let bytes = read_bytes(main, at, count.min(WINDOW) * ENTRY_SIZE, name)?;
    // All of them at once: one by one costs the sandbox far more than the reading.
    let entries = <[U64]>::ref_from_bytes(&bytes);
    entries.map(<[U64]>::to_vec).map_err(|_| Error::corrupt(at, "a table of odd length"))
}

impl Header {
    /// What the L1 entry `word` says, in a file of `file_size` bytes.
    pub fn table(&self, word: U64, file_size: u64) -> Table {
        match word.get() {
            0 => Table::Absent,
            offset => match self.check_table(offset, file_size) {
                Ok(()) => Table::At(offset),
                Err(what) => {
                    Table::Wrong(format!("expected an L2 table of {what}, found one at {offset}"))
                }
            },
        }
    }

    /// What the L2 entry `word` says, in a file of `file_size` bytes.
    pub fn cluster(&self, word: U64, file_size: u64) -> Cluster {
        match word.get() {
            0 => Cluster::Absent,
            1 => Cluster::Zero,
            offset => {
                let inside = (self.length..file_size).contains(&offset);
                if inside && offset.is_multiple_of(self.cluster_size) {
                    return Cluster::At(offset);
                }
                let first = self.length;
                Cluster::Wrong(format!(
                    "expected a cluster on its boundary from {first} to the file's end at \
                     {file_size}, found one at {offset}"
                ))
            }
        }
    }
}
