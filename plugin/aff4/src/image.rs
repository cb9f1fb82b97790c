//! The opened set as the host sees it: what is known of it, its texts, its disks.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::text::brief;
use fumehood_plugin::{Disk, DiskInfo, Error, Image, ImageInfo, Progress, Result};

use crate::details;
use crate::disk::AffDisk;
use crate::evidence::Evidence;
use crate::plan::{Data, DiskPlan};
use crate::survey::Survey;
use crate::volume::{MOST_TURTLE, TURTLE, VERSION};
use crate::zip::contents;

/// The unit of allocation where a map may be cut anywhere.
const SECTOR: u32 = 512;

/// An opened set.
pub struct AffImage {
    survey: RefCell<Survey>,
}

impl AffImage {
    /// The set that a survey begins to find.
    pub fn new(survey: Survey) -> Self {
        Self { survey: RefCell::new(survey) }
    }

    /// What was found, once `prepare` is done.
    fn evidence(&self) -> Result<Rc<Evidence>> {
        self.survey.borrow().evidence()
    }
}

impl Image for AffImage {
    fn prepare(&self) -> Result<Progress> {
        self.survey.borrow_mut().step()
    }

    fn info(&self) -> ImageInfo {
        let Ok(evidence) = self.evidence() else { return ImageInfo::default() };
        let main = evidence.volumes.first();
        let texts = [TURTLE, VERSION]
            .into_iter()
            .filter(|name| main.is_some_and(|main| main.member(name).is_some()));
        ImageInfo {
            details: details::image(&evidence),
            documents: texts.map(|name| name.trim_start_matches('/').to_string()).collect(),
            snapshots: Vec::new(),
            warnings: details::warnings(&evidence),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let Ok(evidence) = self.evidence() else { return Vec::new() };
        evidence.plan.disks.iter().map(|disk| describe(&evidence, disk)).collect()
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        let evidence = self.evidence()?;
        let plan = evidence.plan.disks.get(number as usize).ok_or(Error::OutOfRange)?;
        Ok(Box::new(AffDisk::new(Rc::clone(&evidence), plan)?))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let missing = || Error::Missing(name.to_string());
        let evidence = self.evidence()?;
        let main = evidence.volumes.first().ok_or_else(missing)?;
        let known = [TURTLE, VERSION].into_iter().find(|own| own.strip_prefix('/') == Some(name));
        let member = known.and_then(|own| main.member(own)).ok_or_else(missing)?;
        contents(&*main.source, &member, MOST_TURTLE, name)
    }
}

fn describe(evidence: &Evidence, plan: &DiskPlan) -> DiskInfo {
    let granularity = match plan.data {
        Data::Stream(place) => evidence.plan.streams.get(place).map(|stream| stream.chunk),
        Data::Map(_) => None,
    };
    let granularity = granularity.filter(|chunk| chunk.is_power_of_two()).unwrap_or(SECTOR);
    // A map that cannot be read any more fails when the disk is opened.
    let mut disk = DiskInfo::new(evidence.size(plan).unwrap_or_default(), granularity);
    if evidence.plan.disks.len() > 1 {
        disk.name = brief(&plan.urn);
    }
    disk.logical_sector = plan.sector;
    disk.physical_sector = plan.sector;
    disk.identity = Some(brief(&plan.urn));
    disk.digests = details::digests(evidence, plan);
    disk.details = details::disk(evidence, plan);
    disk
}
