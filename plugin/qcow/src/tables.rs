//! L1 and L2 tables: windows of them, and what an entry says. How they follow each
//! other is for [`crate::map`].

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::FromBytes;
use zerocopy::big_endian::U64;

use crate::header::{ENTRY_SIZE, Header, LENGTH};

/// The most entries read at once.
const WINDOW: u64 = 65_536;
/// Tables and clusters lie on sectors, though not on clusters: compressed ones stand
/// between them.
const SECTOR: u64 = 512;
const COMPRESSED: u64 = 1 << 63;

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
    /// It begins at this offset, which lies in the file.
    At(u64),
    /// It is deflated.
    Compressed {
        /// Offset of the first byte.
        offset: u64,
        /// How many there are at most, all in the file.
        length: u32,
    },
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
        let (offset, length) = (word.get(), self.table_length());
        if offset == 0 {
            return Table::Absent;
        }
        let inside = offset.checked_add(length).is_some_and(|end| end <= file_size);
        if inside && is_place(offset) {
            return Table::At(offset);
        }
        Table::Wrong(format!(
            "expected an L2 table of {length} bytes on a sector before the file's end at \
             {file_size}, found one at {offset}"
        ))
    }

    /// What the L2 entry `word` says, in a file of `file_size` bytes.
    pub fn cluster(&self, word: U64, file_size: u64) -> Cluster {
        let word = word.get();
        if word == 0 {
            return Cluster::Absent;
        }
        if word & COMPRESSED != 0 {
            return self.compressed(word, file_size);
        }
        if word < file_size && is_place(word) {
            return Cluster::At(word);
        }
        Cluster::Wrong(format!(
            "expected a cluster on a sector before the file's end at {file_size}, found one at \
             {word}"
        ))
    }

    /// Below the flag stand the length, in as many bits as an offset in a cluster has,
    /// and the offset.
    fn compressed(&self, word: u64, file_size: u64) -> Cluster {
        let shift = 63 - self.cluster_bits;
        let offset = word & ((1 << shift) - 1);
        let length = word >> shift & (self.cluster_size() - 1);
        // Both are far below 2^63.
        if length > 0 && offset >= LENGTH && offset + length <= file_size {
            // QEMU writes over a compressed cluster in place and leaves the length as it
            // was. The stream marks its own end, so the rest of the sector is given too.
            let end = (offset + length).next_multiple_of(SECTOR).min(file_size);
            // Below 65 KiB.
            return Cluster::Compressed { offset, length: (end - offset) as u32 };
        }
        Cluster::Wrong(format!(
            "expected a compressed cluster before the file's end at {file_size}, found {length} \
             bytes at {offset}"
        ))
    }
}

/// Whether a table or a cluster may begin here, if it fits into the file.
fn is_place(offset: u64) -> bool {
    offset >= LENGTH && offset.is_multiple_of(SECTOR)
}
