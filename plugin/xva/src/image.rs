//! The opened export as the host sees it: what is known of it, its manifest, its disks.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Disk, DiskInfo, Error, Image, ImageInfo, Progress, Result};

use crate::archive::{Archive, MANIFEST};
use crate::index::{Summary, Tally};
use crate::manifest::Vdi;
use crate::map::Map;
use crate::text::harmless;

/// Warnings an image has at most.
const MOST_WARNINGS: usize = 64;

/// An opened export.
pub struct XvaImage {
    archive: Rc<Archive>,
}

impl XvaImage {
    /// The image of an opened archive.
    pub fn new(archive: Archive) -> Self {
        Self { archive: Rc::new(archive) }
    }

    /// The disks that are exported, in the order of machines and their positions; others
    /// (memory, what nothing has) behind them.
    fn list(&self) -> Vec<(&Vdi, Tally)> {
        let summary = self.archive.summary().unwrap_or_default();
        let tally = |place| summary.tallies.get(place).copied().unwrap_or_default();
        let vdis = self.archive.manifest.vdis.iter().enumerate();
        let disks = vdis.map(|(place, vdi)| (vdi, tally(place)));
        let is_disk =
            |(vdi, tally): &(&Vdi, Tally)| vdi.attached.is_some() || vdi.is_suspended || tally.seen;
        let mut disks: Vec<_> = disks.filter(is_disk).collect();
        disks.sort_by_key(|(vdi, _)| (vdi.attached.is_none(), vdi.attached.clone()));
        disks
    }

    fn warnings(&self, summary: &Summary) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(at) = summary.cut {
            warnings.push(format!("the export is cut: it ends in the member at {at}"));
        }
        for (vdi, tally) in self.list().into_iter().filter(|(vdi, tally)| tally.end < vdi.size) {
            let (id, label) = (harmless(&vdi.id), &vdi.label);
            let (size, missing) = (vdi.size, vdi.size - tally.end);
            warnings.push(format!(
                "{id} ({label}) is incomplete: its last {missing} of {size} bytes are missing"
            ));
        }
        if summary.others > 0 {
            let others = summary.others;
            warnings.push(format!("{others} members are of no disk and are passed over"));
        }
        warnings.truncate(MOST_WARNINGS);
        warnings
    }
}

impl Image for XvaImage {
    fn prepare(&self) -> Result<Progress> {
        self.archive.prepare()
    }

    fn info(&self) -> ImageInfo {
        let summary = self.archive.summary().ok();
        let mut details = self.archive.manifest.details.clone();
        if let Some(summary) = &summary {
            details.push(("chunk size".to_string(), summary.chunk.to_string()));
        }
        ImageInfo {
            details,
            documents: vec![MANIFEST.to_string()],
            snapshots: Vec::new(),
            warnings: summary.map(|summary| self.warnings(&summary)).unwrap_or_default(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let mut names = BTreeMap::new();
        let list = self.list();
        for (vdi, _) in &list {
            *names.entry(vdi.label.as_str()).or_insert(0) += 1;
        }
        let describe = |(vdi, tally): &(&Vdi, Tally)| {
            // Chunks may have any length, so nothing more is sure.
            let mut disk = DiskInfo::new(vdi.size, 512);
            let id = harmless(&vdi.id);
            disk.name = match names.get(vdi.label.as_str()) {
                Some(1) if !vdi.label.is_empty() => vdi.label.clone(),
                _ => format!("{} {id}", vdi.label).trim().to_string(),
            };
            disk.details.push(("reference".to_string(), id));
            disk.details.extend(vdi.details.iter().cloned());
            disk.details.push(("stored bytes".to_string(), tally.stored.to_string()));
            if tally.unchecked > 0 {
                let chunks = format!("{} of {}", tally.unchecked, tally.count);
                disk.details.push(("chunks without checksum".to_string(), chunks));
            }
            disk
        };
        list.iter().map(describe).collect()
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        self.archive.summary()?;
        let (vdi, tally) = self.list().into_iter().nth(number as usize).ok_or(Error::OutOfRange)?;
        Ok(Box::new(Map::new(Rc::clone(&self.archive), vdi, tally)))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        if name == MANIFEST { self.archive.text() } else { Err(Error::Missing(name.to_string())) }
    }
}
