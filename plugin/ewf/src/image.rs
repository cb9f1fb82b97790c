//! The opened image as the host sees it: what is known of it, its texts, its disk.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::text::{brief, harmless};
use fumehood_plugin::{Disk, DiskInfo, Error, Image, ImageInfo, Result};

use crate::evidence::Evidence;
use crate::map::ChunkMap;
use crate::media::{Origin, hex};
use crate::notes::{Field, Notes};
use crate::texts::TextKind;

/// The merged, readable case notes.
const NOTES: &str = "header";

/// Details taken from the case notes.
const SHOWN: [(Field, &str); 9] = [
    (Field::Case, "case number"),
    (Field::Evidence, "evidence number"),
    (Field::Description, "description"),
    (Field::Examiner, "examiner"),
    (Field::Acquired, "acquired"),
    (Field::System, "acquired on"),
    (Field::Software, "acquired with version"),
    (Field::Model, "model"),
    (Field::SerialNumber, "serial number"),
];

/// What the media hides from whoever acquires it: see `Acquisition::hidden_sectors`.
const HIDDEN: [&str; 2] = ["host protected area", "device configuration overlay"];

/// An opened set of segment files.
pub struct EwfImage {
    evidence: Rc<Evidence>,
    details: Vec<(String, String)>,
    warnings: Vec<String>,
}

impl EwfImage {
    /// The image of a surveyed set; reads the case notes.
    pub fn new(evidence: Evidence) -> Self {
        let mut warnings: Vec<String> =
            evidence.flaws.iter().map(|flaw| harmless(&flaw.what)).collect();
        let (notes, errors) = notes(&evidence);
        warnings.extend(errors.iter().map(|error| format!("case notes: {error}")));
        let details = details(&evidence, &notes);
        Self { evidence: Rc::new(evidence), details, warnings }
    }
}

impl Image for EwfImage {
    fn info(&self) -> ImageInfo {
        let texts =
            TextKind::ALL.iter().filter(|(kind, _)| self.evidence.find_text(*kind).is_some());
        let mut documents: Vec<String> = texts.map(|(_, name)| name.to_string()).collect();
        if !documents.is_empty() {
            documents.insert(0, NOTES.to_string());
        }
        ImageInfo {
            details: self.details.clone(),
            documents,
            snapshots: Vec::new(),
            warnings: self.warnings.clone(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let media = &self.evidence.media;
        let sector = media.measures.bytes_per_sector;
        let granularity = if media.chunk.is_power_of_two() { media.chunk } else { sector };
        let mut disk = DiskInfo::new(media.size, granularity);
        disk.logical_sector = sector;
        disk.physical_sector = sector;
        disk.identity = media.set().map(|set| hex(&set));
        disk.digests = self.evidence.digests.list();
        vec![disk]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number != 0 {
            return Err(Error::OutOfRange);
        }
        Ok(Box::new(ChunkMap::new(Rc::clone(&self.evidence))))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let missing = || Error::Missing(name.to_string());
        if name == NOTES {
            return Ok(notes(&self.evidence).0.text().into_bytes());
        }
        let (kind, _) = TextKind::ALL.iter().find(|(_, own)| *own == name).ok_or_else(missing)?;
        self.evidence.text(*kind).ok_or_else(missing)?.map(String::into_bytes)
    }
}

/// The case notes, and what is wrong with their texts.
fn notes(evidence: &Evidence) -> (Notes, Vec<Error>) {
    let (mut notes, mut errors) = (Notes::default(), Vec::new());
    for text in TextKind::NOTES.into_iter().filter_map(|kind| evidence.text(kind)) {
        match text {
            Ok(text) => notes.complete(Notes::parse(&text)),
            Err(error) => errors.push(error),
        }
    }
    (notes, errors)
}

fn details(evidence: &Evidence, notes: &Notes) -> Vec<(String, String)> {
    let media = &evidence.media;
    let mut list: Vec<(&str, String)> = vec![
        ("variant", variant(evidence).to_string()),
        ("segments", evidence.segments.len().to_string()),
        ("chunk size", media.chunk.to_string()),
    ];
    if let Some(acquisition) = media.acquisition() {
        let extent = if acquisition.physical { "physical" } else { "logical" };
        list.push(("media type", acquisition.media_type.clone()));
        list.push(("acquisition", extent.to_string()));
        list.push(("compression", acquisition.compression.clone()));
        list.extend(acquisition.write_blocker.map(|name| ("write blocker", name.to_string())));
        if acquisition.error_granularity > 0 {
            list.push(("error granularity", format!("{} sectors", acquisition.error_granularity)));
        }
        for (label, sectors) in HIDDEN.into_iter().zip(acquisition.hidden_sectors) {
            list.extend((sectors > 0).then(|| (label, format!("{sectors} sectors"))));
        }
    }
    list.extend(media.set().map(|set| ("set identifier", hex(&set))));
    let value = |(field, label): &(Field, &'static str)| Some((*label, brief(&notes.get(*field)?)));
    list.extend(SHOWN.iter().filter_map(value));
    let ranges: u64 = evidence.unreadable.iter().map(|list| u64::from(list.item.count)).sum();
    if ranges > 0 {
        list.push(("unreadable at acquisition", format!("{ranges} ranges of sectors")));
    }
    if evidence.find_text(TextKind::Restart).is_some() {
        list.push(("acquisition restarted", "see restart.txt".to_string()));
    }
    list.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// The variant of the format, as far as its sections tell.
fn variant(evidence: &Evidence) -> &'static str {
    match &evidence.media.origin {
        Origin::Original { smart: true } => "SMART (S01)",
        Origin::Original { smart: false } => "original EWF",
        Origin::Extended(_) if evidence.find_text(TextKind::XmlHeader).is_some() => "EWF-X",
        Origin::Extended(_) if evidence.find_text(TextKind::Header2).is_some() => {
            "EnCase 4 to 7 (E01)"
        }
        Origin::Extended(_) if evidence.chunks_in_tables => "EnCase 1 (E01)",
        Origin::Second(_) => "EnCase 7 and later (Ex01)",
        Origin::Extended(_) => "EnCase 2 or 3, FTK Imager or linen (E01)",
    }
}
