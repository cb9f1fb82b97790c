//! What the entries of L1 and L2 tables say (specification, "Tables" and "Cluster
//! offsets"). How they follow each other is for [`fumehood_plugin::two_level`].

use alloc::format;

use fumehood_plugin::two_level::{Cluster, Shape, Table, TwoLevel};
use zerocopy::little_endian::U64;

use crate::header::Header;

impl TwoLevel for Header {
    type Entry = U64;

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn table(&self, offset: u64, file_size: u64) -> Table {
        if offset == 0 {
            return Table::Absent;
        }
        match self.check_table(offset, file_size) {
            Ok(()) => Table::At(offset),
            Err(what) => {
                Table::Wrong(format!("expected an L2 table of {what}, found one at {offset}"))
            }
        }
    }

    fn cluster(&self, word: u64, file_size: u64) -> Cluster {
        match word {
            0 => Cluster::Absent,
            1 => Cluster::Zero,
            offset => {
                let inside = (self.length..file_size).contains(&offset);
                if inside && offset.is_multiple_of(self.shape.cluster_size) {
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
