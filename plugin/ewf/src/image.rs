//! The opened image as the host sees it: what is known of it, its texts, its disk.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Disk, DiskInfo, Error, Image, ImageInfo, Result};

use crate::evidence::{Evidence, Placed};
use crate::inflate::inflate_all;
use crate::map::ChunkMap;
use crate::notes::{Field, Notes};
use crate::section::{Kind, Section};
use crate::text::{brief, harmless, narrow, utf16};
use crate::volume::{Origin, hex};

/// What case notes may decode to, in bytes: EnCase stops at 1 MiB.
const MOST_TEXT: u64 = 16 << 20;

/// The merged, readable case notes.
const NOTES: &str = "header";
/// The texts as they stand in the image.
const TEXTS: [(Kind, &str); 4] = [
    (Kind::Header2, "header2.txt"),
    (Kind::Header, "header.txt"),
    (Kind::XmlHeader, "xheader.xml"),
    (Kind::XmlHash, "xhash.xml"),
];

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
        let mut notes = Notes::default();
        // In this order, for what comes first wins.
        for kind in [Kind::Header2, Kind::Header] {
            match text(&evidence, kind) {
                Some(Ok(text)) => notes.complete(Notes::parse(&text)),
                Some(Err(error)) => warnings.push(format!("case notes: {error}")),
                None => (),
            }
        }
        let details = details(&evidence, &notes);
        Self { evidence: Rc::new(evidence), details, warnings }
    }
}

impl Image for EwfImage {
    fn info(&self) -> ImageInfo {
        let texts = TEXTS.iter().filter(|(kind, _)| find(&self.evidence, *kind).is_some());
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
            let mut notes = Notes::default();
            for kind in [Kind::Header2, Kind::Header] {
                if let Some(Ok(text)) = text(&self.evidence, kind) {
                    notes.complete(Notes::parse(&text));
                }
            }
            return Ok(notes.text().into_bytes());
        }
        let (kind, _) = TEXTS.iter().find(|(_, own)| *own == name).ok_or_else(missing)?;
        text(&self.evidence, *kind).ok_or_else(missing)?.map(String::into_bytes)
    }
}

fn find(evidence: &Evidence, kind: Kind) -> Option<&Placed<Section>> {
    evidence.texts.iter().find(|text| text.item.kind == kind)
}

/// The text of the section of that kind, if there is one.
fn text(evidence: &Evidence, kind: Kind) -> Option<Result<String>> {
    let place = find(evidence, kind)?;
    let source = &*evidence.segments.get(place.segment)?.source;
    let section = &place.item;
    let bytes = inflate_all(source, section.payload(), section.payload_length(), MOST_TEXT);
    Some(bytes.map(|bytes| if kind == Kind::Header2 { utf16(&bytes) } else { narrow(&bytes) }))
}

fn details(evidence: &Evidence, notes: &Notes) -> Vec<(String, String)> {
    let media = &evidence.media;
    let mut list: Vec<(&str, String)> = vec![
        ("variant", variant(evidence).to_string()),
        ("segments", evidence.segments.len().to_string()),
        ("chunk size", media.chunk.to_string()),
    ];
    if let Origin::Extended(acquisition) = &media.origin {
        list.push(("media type", acquisition.media_type()));
        list.push(("acquisition", acquisition.extent().to_string()));
        list.push(("compression level", acquisition.compression()));
        list.extend(acquisition.write_blocker().map(|name| ("write blocker", name.to_string())));
        if acquisition.error_granularity > 0 {
            list.push(("error granularity", format!("{} sectors", acquisition.error_granularity)));
        }
    }
    list.extend(media.set().map(|set| ("set identifier", hex(&set))));
    let value = |(field, label): &(Field, &'static str)| Some((*label, brief(&notes.get(*field)?)));
    list.extend(SHOWN.iter().filter_map(value));
    let ranges: u64 = evidence.unreadable.iter().map(|list| u64::from(list.item.count)).sum();
    if ranges > 0 {
        list.push(("unreadable at acquisition", format!("{ranges} ranges of sectors")));
    }
    list.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// The variant of the format, as far as its sections tell.
fn variant(evidence: &Evidence) -> &'static str {
    match &evidence.media.origin {
        Origin::Original { smart: true } => "SMART (S01)",
        Origin::Original { smart: false } => "original EWF",
        Origin::Extended(_) if find(evidence, Kind::XmlHeader).is_some() => "EWF-X",
        Origin::Extended(_) if find(evidence, Kind::Header2).is_some() => "EnCase 4 to 7 (E01)",
        Origin::Extended(_) if evidence.chunks_in_tables => "EnCase 1 (E01)",
        Origin::Extended(_) => "EnCase 2 or 3, FTK Imager or linen (E01)",
    }
}
