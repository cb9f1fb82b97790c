//! The disk of a UDIF image: from sectors to extents.

use alloc::rc::Rc;
use alloc::vec::Vec;

use fumehood_plugin::{Content, Disk, Error, Extent, Extents, Finding, Result};

use crate::image::Udif;
use crate::{MOST_EXTENTS, SECTOR, check};

/// An opened disk.
pub struct RunMap {
    udif: Rc<Udif>,
}

impl RunMap {
    /// The disk of `udif`.
    pub fn new(udif: Rc<Udif>) -> Self {
        Self { udif }
    }
}

impl Disk for RunMap {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let (udif, size) = (&*self.udif, self.udif.sectors * SECTOR);
        if offset >= size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(size);
        let mut answer = Extents::new();
        // An answer begins where its first extent does, which may be before what is asked.
        let runs = udif.runs.from(offset / SECTOR);
        let behind = runs.first().map_or(u64::MAX, |run| run.first * SECTOR);
        let mut at = if behind <= offset { behind } else { offset - offset % SECTOR };
        for run in runs {
            let first = run.first * SECTOR;
            if at >= end || answer.len() >= MOST_EXTENTS {
                break;
            }
            // What no table speaks of reads as zeroes.
            answer.push(at, first.saturating_sub(at), Content::Zero);
            answer.push(first, run.count * SECTOR, run.content(udif.stored_end()));
            at = run.end() * SECTOR;
        }
        if at < end && answer.len() < MOST_EXTENTS {
            answer.push(at, size - at, Content::Zero);
        }
        Ok(answer.finish())
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        check::check(&self.udif)
    }
}
