//! Reference counts (specification, "Host cluster management"): a two-level table
//! from host clusters to counts of 1 to 64 bits. Only [`crate::check`] needs them:
//! the mapping alone decides what a disk reads.

use alloc::format;

use fumehood_plugin::{Error, Result};
use zerocopy::FromBytes;
use zerocopy::big_endian::U64;

use crate::geometry::Geometry;
use crate::header::RefcountLocation;
use crate::tables::Tables;

const ENTRY_SIZE: u64 = 8;
/// Bits 0–8 of a refcount table entry are reserved.
const OFFSET: u64 = !0x1ff;

/// The refcount table of an image.
#[derive(Debug, Clone, Copy)]
pub struct Refcounts {
    location: RefcountLocation,
    geometry: Geometry,
}

impl Refcounts {
    /// The table at `location`.
    pub fn new(location: RefcountLocation, geometry: Geometry) -> Self {
        Self { location, geometry }
    }

    /// Refcount blocks that the table can name.
    pub fn blocks(self) -> u64 {
        self.location.length / ENTRY_SIZE
    }

    /// Clusters that one block counts.
    pub fn clusters_per_block(self) -> u64 {
        (self.geometry.cluster_size() * 8) >> self.location.order
    }

    /// Offset of a block; `None` where there is none, and every count in it is 0.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for an entry that is no cluster inside the file.
    pub fn block(self, tables: &mut Tables, index: u64) -> Result<Option<u64>> {
        if index >= self.blocks() {
            return Ok(None);
        }
        let at = self.location.offset + index * ENTRY_SIZE;
        let bytes = tables.entries(at, ENTRY_SIZE, ENTRY_SIZE, "refcount table")?;
        let entry = U64::read_from_bytes(bytes).map_err(|_| Error::OutOfRange)?.get();
        if entry == 0 {
            return Ok(None);
        }
        let inside = entry < tables.file_size();
        if entry & !OFFSET != 0 || !self.geometry.is_aligned(entry) || !inside {
            let what = format!(
                "expected a refcount block on a cluster boundary before {}, found {entry:#x}",
                tables.file_size()
            );
            return Err(Error::corrupt(at, what));
        }
        Ok(Some(entry))
    }

    /// Calls `each` with (cluster, whether its count is above 0) for the clusters of
    /// the block at `block`, the `index`-th, that lie below `clusters`.
    ///
    /// # Errors
    /// As [`Tables::entries`].
    pub fn for_each(
        self,
        tables: &mut Tables,
        (index, block): (u64, Option<u64>),
        clusters: u64,
        each: &mut dyn FnMut(u64, bool),
    ) -> Result<()> {
        let first = index * self.clusters_per_block();
        let end = (first + self.clusters_per_block()).min(clusters);
        let Some(block) = block else {
            (first..end).for_each(|cluster| each(cluster, false));
            return Ok(());
        };
        // Eight counts are `width` bytes, whatever the order: 1 bit to 8 bytes each.
        let width = 1u64 << self.location.order;
        let mut cluster = first;
        while cluster < end {
            let at = block + (cluster - first) / 8 * width;
            let length = (end - cluster).div_ceil(8) * width;
            let bytes = tables.entries(at, length, width, "refcount block")?;
            for group in bytes.chunks_exact(width as usize) {
                for number in (0..8).take_while(|number| cluster + number < end) {
                    each(cluster + number, is_counted(group, number, width));
                }
                cluster += 8;
            }
        }
        Ok(())
    }
}

/// Whether the `number`-th of eight counts in `group` is above 0. Counts of less
/// than a byte begin at its lowest bits.
fn is_counted(group: &[u8], number: u64, width: u64) -> bool {
    let first = number * width;
    if width < 8 {
        let mask = (1u8 << width) - 1;
        let byte = group.get((first / 8) as usize).copied().unwrap_or(0);
        return byte >> (first % 8) & mask != 0;
    }
    let (start, length) = ((first / 8) as usize, (width / 8) as usize);
    group.get(start..start + length).is_some_and(|count| count.iter().any(|byte| *byte != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_every_width() {
        assert!(is_counted(&[0b0100_0000], 6, 1) && !is_counted(&[0b0100_0000], 5, 1));
        assert!(is_counted(&[0, 0b0000_0100], 5, 2) && !is_counted(&[0, 0b0000_0100], 4, 2));
        let mut wide = [0; 16];
        wide[6] = 1;
        assert!(is_counted(&wide, 3, 16) && !is_counted(&wide, 2, 16));
        let mut widest = [0; 64];
        widest[63] = 1;
        assert!(is_counted(&widest, 7, 64) && !is_counted(&widest, 6, 64));
    }
}
