//! Reference counts (specification, "Host cluster management"): a two-level table
//! from host clusters to counts of 1 to 64 bits, read and changed here. The mapping
//! alone decides what a disk reads; who may have a cluster is for [`crate::space`],
//! and new blocks and tables are for [`crate::growth`].

use alloc::format;

use fumehood_plugin::{Error, Result};
use zerocopy::big_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use crate::geometry::Geometry;
use crate::header::RefcountLocation;
use crate::tables::Tables;

/// Bytes an entry of the refcount table.
pub const ENTRY_SIZE: u64 = 8;
/// Bits 0–8 of a refcount table entry are reserved.
const OFFSET: u64 = !0x1ff;
/// Bytes of a block that are changed at once.
const STEP: u64 = 64 << 10;

/// Clusters that follow each other in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterRun {
    /// Number of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

impl ClusterRun {
    /// The clusters that `length` bytes at `offset` touch.
    pub fn touched(geometry: Geometry, offset: u64, length: u64) -> Self {
        let first = offset >> geometry.cluster_bits();
        let end = geometry.clusters(offset.saturating_add(length));
        Self { first, count: end.saturating_sub(first) }
    }

    /// Number of the cluster after the last.
    pub fn end(self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

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

    /// Where the table lies.
    pub fn location(self) -> RefcountLocation {
        self.location
    }

    /// Refcount blocks that the table can name.
    pub fn blocks(self) -> u64 {
        self.location.length / ENTRY_SIZE
    }

    /// Clusters that one block counts.
    pub fn clusters_per_block(self) -> u64 {
        clusters_per_block(self.geometry, self.location.order)
    }

    /// The largest count.
    pub fn most(self) -> u64 {
        u64::MAX >> (64 - (1u32 << self.location.order))
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

    /// Makes the `index`-th entry of the table name the block at `offset`.
    ///
    /// # Errors
    /// As [`Tables::write`].
    pub fn set_block(self, tables: &mut Tables, index: u64, offset: u64) -> Result<()> {
        let at = self.location.offset + index * ENTRY_SIZE;
        tables.write(at, U64::new(offset).as_bytes())
    }

    /// Calls `each` with (cluster, its count) for the clusters of the block at
    /// `block`, the `index`-th, that lie in `clusters`; it goes on while `each` says so.
    ///
    /// # Errors
    /// As [`Tables::entries`].
    pub fn for_each(
        self,
        tables: &mut Tables,
        (index, block): (u64, Option<u64>),
        clusters: ClusterRun,
        each: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let base = index * self.clusters_per_block();
        let end = (base + self.clusters_per_block()).min(clusters.end());
        let mut cluster = base.max(clusters.first);
        let Some(block) = block else {
            while cluster < end && each(cluster, 0) {
                cluster += 1;
            }
            return Ok(());
        };
        // Eight counts are `width` bytes, whatever the order: 1 bit to 8 bytes each.
        let width = 1u64 << self.location.order;
        while cluster < end {
            let group = (cluster - base) / 8;
            let length = (end - base).div_ceil(8) * width - group * width;
            let at = block + group * width;
            let bytes = tables.entries(at, length, width, "refcount block")?;
            let known = base + (group + bytes.len() as u64 / width) * 8;
            for cluster in cluster..known.min(end) {
                let count = get(bytes, cluster - base - group * 8, self.location.order);
                if !each(cluster, count) {
                    return Ok(());
                }
            }
            cluster = known;
        }
        Ok(())
    }

    /// The count of one cluster.
    ///
    /// # Errors
    /// As [`Refcounts::block`].
    pub fn count(self, tables: &mut Tables, cluster: u64) -> Result<u64> {
        let index = cluster / self.clusters_per_block();
        let block = self.block(tables, index)?;
        let mut found = 0;
        let run = ClusterRun { first: cluster, count: 1 };
        self.for_each(tables, (index, block), run, &mut |_, count| {
            found = count;
            true
        })?;
        Ok(found)
    }

    /// Replaces the count of every cluster in `run` by what `change` makes of
    /// (cluster, count). Clusters without a block have none and are passed over.
    ///
    /// # Errors
    /// As [`Refcounts::block`] and [`Tables::write`].
    pub fn change(
        self,
        tables: &mut Tables,
        run: ClusterRun,
        change: &mut dyn FnMut(u64, u64) -> u64,
    ) -> Result<()> {
        let mut cluster = run.first;
        while cluster < run.end() {
            let index = cluster / self.clusters_per_block();
            let base = index * self.clusters_per_block();
            // Whole bytes, whatever the width of a count.
            let step = base + ((cluster - base) + ((STEP * 8) >> self.location.order)) / 8 * 8;
            let end = run.end().min(base + self.clusters_per_block()).min(step);
            if let Some(block) = self.block(tables, index)? {
                let part = ClusterRun { first: cluster - base, count: end - cluster };
                self.change_part(tables, block, part, &mut |at, count| change(base + at, count))?;
            }
            cluster = end;
        }
        Ok(())
    }

    /// As [`Refcounts::change`], by place in the block at `block`, which need not be
    /// in the table yet.
    ///
    /// # Errors
    /// As [`Tables::write`].
    pub fn change_part(
        self,
        tables: &mut Tables,
        block: u64,
        part: ClusterRun,
        change: &mut dyn FnMut(u64, u64) -> u64,
    ) -> Result<()> {
        let order = self.location.order;
        let from = (part.first << order) / 8;
        let to = (part.end() << order).div_ceil(8);
        let mut bytes = tables.bytes(block + from, to - from, "refcount block")?;
        let skipped = (from * 8) >> order;
        for at in part.first..part.end() {
            let old = get(&bytes, at - skipped, order);
            set(&mut bytes, at - skipped, order, change(at, old));
        }
        tables.write(block + from, &bytes)
    }
}

/// Clusters that a block counts whose counts have `1 << order` bits.
pub fn clusters_per_block(geometry: Geometry, order: u32) -> u64 {
    (geometry.cluster_size() * 8) >> order
}

/// Counts the first `used` clusters of a block once each.
pub fn fill_block(block: &mut [u8], used: u64, order: u32) {
    (0..used).for_each(|number| set(block, number, order, 1));
}

/// The `number`-th count in `bytes`. Counts of less than a byte begin at its lowest
/// bits, wider ones are big-endian.
fn get(bytes: &[u8], number: u64, order: u32) -> u64 {
    let (first, width) = (number << order, 1u32 << order);
    let start = (first / 8) as usize;
    if width < 8 {
        let byte = bytes.get(start).copied().unwrap_or(0);
        return u64::from(byte >> (first % 8) & ((1 << width) - 1));
    }
    let count = bytes.get(start..start + (width / 8) as usize).unwrap_or_default();
    count.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Puts `value` at the `number`-th place of `bytes`.
fn set(bytes: &mut [u8], number: u64, order: u32, value: u64) {
    let (first, width) = (number << order, 1u32 << order);
    let start = (first / 8) as usize;
    if width < 8 {
        let mask = ((1u8 << width) - 1) << (first % 8);
        if let Some(byte) = bytes.get_mut(start) {
            *byte = *byte & !mask | (value as u8) << (first % 8) & mask;
        }
        return;
    }
    let value = value.to_be_bytes();
    let width = (width / 8) as usize;
    if let (Some(old), Some(new)) = (bytes.get_mut(start..start + width), value.get(8 - width..)) {
        old.copy_from_slice(new);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn counts_of_every_width() {
        assert_eq!((get(&[0b0100_0000], 6, 0), get(&[0b0100_0000], 5, 0)), (1, 0));
        assert_eq!((get(&[0, 0b0000_1000], 5, 1), get(&[0, 0b0000_1000], 4, 1)), (2, 0));
        assert_eq!(get(&[0, 0, 0x12, 0x34], 1, 4), 0x1234);
        for order in 0..=6 {
            let most = u64::MAX >> (64 - (1u32 << order));
            let mut bytes = vec![0; 64];
            (0..8).for_each(|number| set(&mut bytes, number, order, most.wrapping_sub(number)));
            for number in 0..8 {
                assert_eq!(get(&bytes, number, order), most.wrapping_sub(number) & most);
            }
        }
    }
}
