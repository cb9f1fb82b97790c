//! The opened image as the host sees it: preparing it, and what is known of it.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::{Disk, DiskInfo, Error, Image, ImageInfo, Progress, Result};

use crate::date::date;
use crate::documents;
use crate::hex::hex;
use crate::keys::brief;
use crate::manifest::Manifest;
use crate::map::ChunkMap;
use crate::open::usable;
use crate::prepare::Preparation;
use crate::snapshot::{Entry, Findings, Snapshot};

/// Letters of a text that are shown of it.
const SHOWN: usize = 200;

/// An opened snapshot.
pub struct PbsImage {
    snapshot: Snapshot,
    preparation: RefCell<Preparation>,
}

impl PbsImage {
    /// The image of what was opened.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, preparation: RefCell::default() }
    }

    /// What was learned of a disk.
    fn findings(&self, number: usize) -> Result<Findings> {
        let mut preparation = self.preparation.borrow_mut();
        while !preparation.is_done(&self.snapshot) {
            preparation.step(&self.snapshot)?;
        }
        preparation.findings.get(number).cloned().ok_or(Error::OutOfRange)
    }
}

impl Image for PbsImage {
    fn prepare(&self) -> Result<Progress> {
        self.preparation.borrow_mut().step(&self.snapshot)
    }

    fn info(&self) -> ImageInfo {
        let snapshot = &self.snapshot;
        let preparation = self.preparation.borrow();
        let mut warnings = snapshot.warnings.clone();
        for (entry, findings) in snapshot.disks.iter().zip(&preparation.findings) {
            let flaw = findings.flaw.iter();
            warnings.extend(flaw.map(|flaw| alloc::format!("{} {flaw}", entry.name)));
        }
        warnings.extend(preparation.warning.clone());
        if state(snapshot) == Some("failed") {
            warnings.push("its server found chunks of it corrupt when it last verified it".into());
        }
        ImageInfo {
            details: snapshot.manifest.as_ref().map_or_else(Vec::new, |it| details(it, snapshot)),
            documents: documents::names(snapshot),
            snapshots: Vec::new(),
            warnings,
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        self.snapshot.disks.iter().map(disk_info).collect()
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        let number = number as usize;
        let entry = self.snapshot.disks.get(number).ok_or(Error::OutOfRange)?;
        let index = usable(&self.snapshot, entry)?;
        let findings = self.findings(number)?;
        if let Some(flaw) = findings.flaw.as_ref().filter(|_| !self.snapshot.lenient) {
            return Err(flaw.clone());
        }
        Ok(Box::new(ChunkMap {
            index,
            store: Rc::clone(&self.snapshot.store),
            mode: entry.mode,
            key: self.snapshot.key.as_ref().map(|active| active.number),
            findings,
        }))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        documents::read(&self.snapshot, name)
    }
}

fn disk_info(entry: &Entry) -> DiskInfo {
    let mut details: Vec<(&str, String)> = Vec::new();
    let mut info = DiskInfo::new(entry.size, 512);
    if let Ok(index) = &entry.index {
        info.granularity = index.chunk;
        info.identity = Some(hex(&index.uuid));
        details.push(("created", date(index.created)));
        details.push(("chunk size", index.chunk.to_string()));
        details.push(("chunks", index.chunks.to_string()));
    }
    details.extend(entry.mode.map(|mode| ("encryption", mode.name().into())));
    info.name = entry.name.clone();
    info.details = details.into_iter().map(|(name, value)| (name.into(), value)).collect();
    info
}

fn state(snapshot: &Snapshot) -> Option<&str> {
    snapshot.manifest.as_ref()?.text_of("/unprotected/verify_state/state")
}

fn details(manifest: &Manifest, snapshot: &Snapshot) -> Vec<(String, String)> {
    let text = |pointer| manifest.text_of(pointer).map(shown);
    let mut list = vec![
        ("backup type", text("/backup-type")),
        ("backup id", text("/backup-id")),
        ("backup time", manifest.time().map(date)),
        ("notes", text("/unprotected/notes")),
        ("verification", state(snapshot).map(shown)),
        ("key fingerprint", manifest.fingerprint.as_ref().map(brief)),
    ];
    let signature = match (manifest.is_signed(), &snapshot.key) {
        (true, Some(_)) => Some("sound"),
        (true, None) => Some("not compared, for want of the key"),
        (false, _) => None,
    };
    list.push(("signature", signature.map(Into::into)));
    if !snapshot.archives.is_empty() {
        list.push(("archives of files, not shown", Some(shown(&snapshot.archives.join(", ")))));
    }
    let given = list.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?)));
    given.collect()
}

/// A text as one line of bounded length.
fn shown(text: &str) -> String {
    let line = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().take(SHOWN).map(line).collect()
}
