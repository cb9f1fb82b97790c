//! What the entries of L1 and L2 tables say. How they follow each other is for
//! [`fumehood_plugin::two_level`].

use alloc::format;

use fumehood_plugin::Codec;
use fumehood_plugin::two_level::{Cluster, Shape, Table, TwoLevel};
use zerocopy::big_endian::U64;

use crate::header::{Header, LENGTH};

/// Tables and clusters lie on sectors, though not on clusters: compressed ones stand
/// between them.
pub const SECTOR: u64 = 512;
const COMPRESSED: u64 = 1 << 63;

impl TwoLevel for Header {
    type Entry = U64;

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn table(&self, offset: u64, file_size: u64) -> Table {
        let length = self.shape.table_length();
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

    fn cluster(&self, word: u64, file_size: u64) -> Cluster {
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
}

impl Header {
    /// Below the flag stand the length, in as many bits as an offset in a cluster has,
    /// and the offset.
    fn compressed(&self, word: u64, file_size: u64) -> Cluster {
        let size = self.shape.cluster_size;
        let shift = 63 - size.trailing_zeros();
        let offset = word & ((1 << shift) - 1);
        let length = word >> shift & (size - 1);
        // Both are far below 2^63.
        if length > 0 && offset >= LENGTH && offset + length <= file_size {
            // QEMU writes over a compressed cluster in place and leaves the length as it
            // was. The stream marks its own end, so the rest of the sector is given too.
            let end = (offset + length).next_multiple_of(SECTOR).min(file_size);
            // Below 65 KiB.
            let length = (end - offset) as u32;
            return Cluster::Encoded { offset, length, codec: Codec::Deflate };
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
