//! A disk: from clusters to extents.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Content, Disk, Error, Extent, Extents, Finding, Result, Stored};

use crate::archive::Archive;
use crate::check;
use crate::extent::BLOCK;
use crate::header::{CLUSTER, Device};
use crate::index::{Cluster, Index};

/// Extents an answer has at most, but for those of one cluster.
const MOST_EXTENTS: usize = 16384;
/// Clusters an answer looks at.
const MOST_CLUSTERS: u64 = 1 << 19;
/// Blocks a cluster.
const BLOCKS: u64 = CLUSTER / BLOCK;

/// An opened disk of an archive.
pub struct Map {
    archive: Rc<Archive>,
    /// The number in the index of its first cluster's record.
    first: u64,
    size: u64,
    complete: bool,
    damage: String,
}

impl Map {
    /// The disk `device`, whose records begin at `first`. All its clusters are there, or
    /// it is not `complete`.
    pub fn new(archive: Rc<Archive>, device: &Device, first: u64, complete: bool) -> Self {
        let damage = format!("the archive is incomplete: it lacks this part of {}", device.name);
        Self { archive, first, size: device.size, complete, damage }
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn answer(&self, index: &mut Index, offset: u64, end: u64) -> Result<Vec<Extent>> {
        let mut answer = Extents::new();
        let mut number = offset / CLUSTER;
        let stop = end.div_ceil(CLUSTER).min(number + MOST_CLUSTERS);
        while number < stop && answer.len() < MOST_EXTENTS {
            let record = self.first.saturating_add(number);
            let start = number * CLUSTER;
            match index.get(record)? {
                Some(cluster) => {
                    self.push_cluster(&mut answer, start, cluster);
                    number += 1;
                }
                None => {
                    // Disks share pages: the next record may be another's.
                    let next = index.skip_missing(record + 1) - self.first;
                    number = next.min(self.size.div_ceil(CLUSTER));
                    let end = number.saturating_mul(CLUSTER).min(self.size);
                    answer.push(start, end - start, Content::Damaged(self.damage.clone()));
                }
            }
        }
        let mut list = answer.finish();
        list.retain(|extent| extent.end() > offset);
        Ok(list)
    }

    /// Appends the runs of a cluster; the last may be cut by the disk's end.
    fn push_cluster(&self, answer: &mut Extents, start: u64, cluster: Cluster) {
        let length = CLUSTER.min(self.size - start);
        if cluster.mask == 0 {
            answer.push(start, length, Content::Zero);
            return;
        }
        let mut offset = cluster.offset;
        for block in 0..BLOCKS {
            let length = BLOCK.min(length.saturating_sub(block * BLOCK));
            let content = if cluster.mask >> block & 1 == 1 {
                let content = Content::Stored(Stored { source: 0, offset, writable: false });
                offset += BLOCK;
                content
            } else {
                Content::Zero
            };
            answer.push(start + block * BLOCK, length, content);
        }
    }
}

impl Disk for Map {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if offset >= self.size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(self.size);
        self.archive.with_index(|index| self.answer(index, offset, end))
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        check::check(self)
    }
}
