//! The opened archive as the host sees it: what is known of it, its texts, its disks.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Disk, DiskInfo, Error, Image, ImageInfo, Progress, Result, SourceHandle};

use crate::archive::Archive;
use crate::extent::BLOCK;
use crate::header::{CLUSTER, Device, Header, Kind};
use crate::index::{Summary, Tally};
use crate::map::Map;
use crate::text::{date, uuid};

/// An opened archive.
pub struct VmaImage {
    archive: Rc<Archive>,
}

impl VmaImage {
    /// The archive in `main`.
    pub fn new(
        main: SourceHandle,
        header: Header,
        scratch: Option<SourceHandle>,
        seed: &[u8; 32],
    ) -> Self {
        Self { archive: Rc::new(Archive::new(main, header, scratch, seed)) }
    }

    /// Its disks, and where the index has them.
    fn list(&self) -> impl Iterator<Item = (usize, &Device, u64)> {
        let devices = self.archive.header.devices.iter().enumerate();
        devices.filter_map(|(number, device)| match device.kind {
            Kind::Disk(first) => Some((number, device, first)),
            Kind::State => None,
        })
    }
}

impl Image for VmaImage {
    fn prepare(&self) -> Result<Progress> {
        self.archive.prepare()
    }

    fn info(&self) -> ImageInfo {
        let header = &self.archive.header;
        let summary = self.archive.summary().ok();
        let mut details: Vec<(&str, String)> =
            alloc::vec![("archive", uuid(&header.uuid)), ("created", date(header.created))];
        let states = header.devices.iter().enumerate();
        for (number, device) in states.filter(|(_, device)| device.kind == Kind::State) {
            let tally = summary.as_ref().and_then(|summary| summary.tallies.get(number));
            details.push(("memory state", state(device, tally)));
        }
        details.extend(summary.iter().map(|summary| ("extents", summary.extents.to_string())));
        ImageInfo {
            details: details.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
            documents: header.configs.iter().map(|config| config.name.clone()).collect(),
            snapshots: Vec::new(),
            warnings: summary.map(|summary| warnings(&self.archive, &summary)).unwrap_or_default(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let summary = self.archive.summary().unwrap_or_default();
        let describe = |(number, device, _): (usize, &Device, u64)| {
            let mut disk = DiskInfo::new(device.size, CLUSTER as u32);
            disk.name = device.name.clone();
            disk.details.push(("device".to_string(), device.id.to_string()));
            if let Some(tally) = summary.tallies.get(number) {
                let stored = tally.blocks.saturating_mul(BLOCK).to_string();
                disk.details.push(("stored bytes".to_string(), stored));
            }
            disk
        };
        self.list().map(describe).collect()
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        let (place, device, first) = self.list().nth(number as usize).ok_or(Error::OutOfRange)?;
        let summary = self.archive.summary()?;
        let tally = summary.tallies.get(place);
        let complete = tally.is_some_and(|tally| tally.found == device.clusters());
        Ok(Box::new(Map::new(Rc::clone(&self.archive), device, first, complete)))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let config = self.archive.header.configs.iter().find(|config| config.name == name);
        let config = config.ok_or_else(|| Error::Missing(name.to_string()))?;
        read_bytes(&*self.archive.main, config.offset, config.length, name)
    }
}

fn state(device: &Device, tally: Option<&Tally>) -> String {
    let clusters = tally.map(|tally| tally.found.saturating_mul(CLUSTER));
    let clusters = clusters.map(|bytes| format!(", {bytes} bytes in the archive"));
    format!("{}: about {} bytes{}", device.name, device.size, clusters.unwrap_or_default())
}

fn warnings(archive: &Archive, summary: &Summary) -> Vec<String> {
    let (end, size) = (summary.end, archive.main.size());
    let mut warnings = Vec::new();
    if end < size {
        warnings.push(format!("the archive is cut: no whole extent follows from {end} to {size}"));
    }
    for (device, tally) in archive.header.devices.iter().zip(&summary.tallies) {
        let (name, all) = (&device.name, device.clusters());
        if matches!(device.kind, Kind::Disk(_)) && tally.found < all {
            let (missing, first) = (all - tally.found, tally.first_missing);
            warnings.push(format!(
                "{name} is incomplete: {missing} of {all} clusters of 64 KiB are missing, the \
                 first of them is {first}, at offset {}",
                first * CLUSTER
            ));
        }
        if tally.disordered {
            warnings.push(format!("{name}, the machine's memory, is not in order"));
        }
    }
    warnings
}
