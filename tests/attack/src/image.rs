//! The attacker's image: disks that cannot be, and the one that attacks.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

use fumehood_plugin::{
    Disk, DiskInfo, Extent, Image, ImageInfo, Placement, Progress, Result, SourceHandle, Stored,
};

use crate::{answers, crumbs, exhaust, hostile, writes};

/// An image, its disk, and what they are up to.
#[derive(Clone)]
pub struct Attacker {
    pub attack: alloc::string::String,
    pub main: SourceHandle,
    pub writable: bool,
    /// A source that was declared and never opened.
    pub declared: u32,
    /// So many steps were taken to prepare.
    pub steps: Cell<u64>,
}

impl Attacker {
    /// The bytes at `offset` of the main source.
    pub fn stored(&self, offset: u64) -> Stored {
        Stored { source: self.main.id(), offset, writable: self.writable }
    }
}

impl Image for Attacker {
    fn prepare(&self) -> Result<Progress> {
        let step = self.steps.get() + 1;
        self.steps.set(step);
        Ok(match self.attack.as_str() {
            "prepare:still" => Progress { done: 7, total: 8 },
            "prepare:backwards" => Progress { done: 1000 - step, total: 1000 },
            "prepare:endless" => Progress { done: step, total: u64::MAX },
            "prepare:loop" => {
                exhaust::run("loop");
                Progress::DONE
            }
            "prepare:reads" => loop {
                self.main.read(0, 512)?;
            },
            _ => Progress::DONE,
        })
    }

    fn info(&self) -> ImageInfo {
        let mut info = ImageInfo::default();
        if self.attack == "info:escapes" {
            info.warnings.push(hostile::ESCAPES.into());
            info.documents.push(hostile::ESCAPES.into());
            info.details.push((hostile::ESCAPES.into(), hostile::ESCAPES.into()));
        }
        info
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let mut disk = DiskInfo::new(self.main.size(), 4096);
        match self.attack.as_str() {
            "disks:sector-0" => disk.logical_sector = 0,
            "disks:sector-513" => disk.physical_sector = 513,
            "disks:sector-2g" => disk.logical_sector = 1 << 31,
            "disks:granularity-0" => disk.granularity = 0,
            "disks:granularity-3" => disk.granularity = 3,
            "disks:granularity-2g" => disk.granularity = 1 << 31,
            "disks:size" => disk.size = u64::MAX,
            "disks:many" => return vec![disk; 100_000],
            "disks:over-limit" => return vec![disk; 4097],
            "disks:loop" => exhaust::run("loop"),
            "disks:none" => return Vec::new(),
            "info:escapes" => disk.name = hostile::ESCAPES.into(),
            "crumbs:bytes" => disk.granularity = 1 << 20,
            _ => {}
        }
        if self.attack.starts_with("crumbs:") {
            disk.size = crumbs::disk_size(&self.attack);
        }
        vec![disk]
    }

    fn disk(&self, _number: u32) -> Result<Box<dyn Disk>> {
        Ok(Box::new(self.clone()))
    }
}

impl Disk for Attacker {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if let Some(attack) = self.attack.strip_prefix("extents:") {
            exhaust::run(attack);
        }
        if let Some(answer) = crumbs::answer(self, offset) {
            return Ok(answer);
        }
        if let Some(answer) = writes::answer(self)? {
            return Ok(answer);
        }
        Ok(answers::answer(self, offset, length))
    }

    fn read(&mut self, _offset: u64, length: usize) -> Result<Vec<u8>> {
        match self.attack.as_str() {
            "computed:short" => Ok(vec![0; length - 1]),
            "computed:long" => Ok(vec![0; length + 1]),
            "computed:giant" => Ok(vec![0; 20 << 20]),
            "computed:loop" => {
                exhaust::run("loop");
                Ok(Vec::new())
            }
            _ => Ok(vec![0; length]),
        }
    }

    fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        writes::place(self, offset, length)
    }

    fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        writes::commit(self, ranges)
    }
}
