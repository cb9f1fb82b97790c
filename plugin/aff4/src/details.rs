//! What is worth showing of a set: the case, the acquisition, the disk, and warnings.
//!
//! Source: terms as in the reference images of AFF4 Standard v1.0.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::text::brief;
use fumehood_plugin::{DigestKind, DiskDigest};

use crate::disk::lost;
use crate::evidence::Evidence;
use crate::graph::{Graph, Object};
use crate::names::hex_byte;
use crate::plan::{Data, DiskPlan, Map, Target};
use crate::symbol::{Symbol, term};
use crate::text::shown;
use crate::turtle::Node;

/// Values of one property that are shown.
const MOST_VALUES: usize = 8;
/// Warnings that are shown.
const MOST_WARNINGS: usize = 128;

/// Types of objects, their properties, and labels for people.
const CASE: [(&str, &str, &str); 9] = [
    ("CaseDetails", "caseName", "case name"),
    ("CaseDetails", "caseDescription", "case description"),
    ("CaseDetails", "examiner", "examiner"),
    ("CaseNotes", "caseNumber", "case number"),
    ("CaseNotes", "evidenceNumber", "evidence number"),
    ("CaseNotes", "notes", "notes"),
    ("TimeStamps", "startTime", "acquisition began"),
    ("TimeStamps", "endTime", "acquisition ended"),
    ("ZipVolume", "creationTime", "created"),
];

/// Properties of an image, as they are called now and were before the standard.
const DISK: [(&str, &str); 22] = [
    ("acquisitionType", "acquisition"),
    ("acquisitionCompletionState", "acquisition ended"),
    ("diskDeviceName", "device"),
    ("deviceName", "device"),
    ("diskDeviceType", "device type"),
    ("deviceType", "device type"),
    ("diskInterfaceType", "interface"),
    ("diskMake", "make"),
    ("make", "make"),
    ("diskModel", "model"),
    ("model", "model"),
    ("diskSerial", "serial number"),
    ("serial", "serial number"),
    ("diskFirmware", "firmware"),
    ("firmwareString", "firmware"),
    ("diskPartitionTableType", "partition table"),
    ("partitionTableType", "partition table"),
    ("diskNumberOfPartitions", "partitions"),
    ("numberOfPartitions", "partitions"),
    ("sectorCount", "sectors"),
    ("caseName", "case name"),
    ("caseDescription", "case description"),
];

/// The details of the set.
pub fn image(evidence: &Evidence) -> Vec<(String, String)> {
    let mut list = Vec::new();
    let Some(main) = evidence.volumes.first() else { return list };
    list.push(("volume".to_string(), brief(&main.urn)));
    list.push(("files".to_string(), evidence.volumes.len().to_string()));
    for (kind, property, label) in CASE {
        list.extend(values(&main.graph, kind, property).map(|value| (label.to_string(), value)));
    }
    list
}

/// The values of a property of all objects of a type, each once.
fn values<'g>(
    graph: &'g Graph,
    kind: &'static str,
    property: &'static str,
) -> impl Iterator<Item = String> + 'g {
    let mut seen: Vec<String> = Vec::new();
    let texts = graph.of_type(kind).filter_map(move |(_, object)| object.text(property)).map(brief);
    let once = texts.filter(move |text| {
        let new = !text.is_empty() && !seen.contains(text);
        if new {
            seen.push(text.clone());
        }
        new
    });
    once.take(MOST_VALUES)
}

/// The objects that describe a disk: the image, and its data.
fn objects<'e>(evidence: &'e Evidence, disk: &'e DiskPlan) -> impl Iterator<Item = &'e Object> {
    let graph = evidence.volumes.first().map(|main| &main.graph);
    let image = graph.and_then(|graph| graph.get(&disk.urn));
    let data =
        graph.and_then(|graph| graph.get(&disk.data_urn)).filter(|_| disk.urn != disk.data_urn);
    image.into_iter().chain(data)
}

/// The details of a disk.
pub fn disk(evidence: &Evidence, disk: &DiskPlan) -> Vec<(String, String)> {
    let mut list = Vec::from([("image".to_string(), brief(&disk.urn))]);
    for object in objects(evidence, disk).take(1) {
        for (property, label) in DISK {
            let value = object.text(property).map(brief).filter(|value| !value.is_empty());
            list.extend(value.map(|value| (label.to_string(), value)));
        }
    }
    for stream in streams(evidence, disk.data).filter_map(|place| evidence.plan.streams.get(place))
    {
        let value = format!("{} in chunks of {} bytes", stream.compression.name, stream.chunk);
        let label = "compression".to_string();
        if !list.contains(&(label.clone(), value.clone())) {
            list.push((label, value));
        }
    }
    for object in objects(evidence, disk) {
        for (kind, value) in hashes(object) {
            let unchecked = digest(&kind, value).is_none();
            if unchecked && !value.is_empty() {
                list.push((format!("{} (not compared)", brief(&kind)), brief(value)));
            }
        }
    }
    list
}

/// The streams that hold a disk's bytes.
fn streams(evidence: &Evidence, data: Data) -> impl Iterator<Item = usize> {
    let (map, stream) = match data {
        Data::Map(place) => (evidence.plan.maps.get(place), None),
        Data::Stream(place) => (None, Some(place)),
    };
    let targets = map.into_iter().flat_map(|map| &map.targets);
    let of_map = targets.filter_map(|target| match target {
        Target::Stream(place) => Some(*place),
        _ => None,
    });
    stream.into_iter().chain(of_map)
}

/// The digests over a disk's bytes that the host can compare.
pub fn digests(evidence: &Evidence, disk: &DiskPlan) -> Vec<DiskDigest> {
    let mut list = Vec::new();
    for object in objects(evidence, disk) {
        for found in hashes(object).filter_map(|(kind, value)| digest(&kind, value)) {
            if !list.contains(&found) && list.len() < MOST_VALUES {
                list.push(found);
            }
        }
    }
    list
}

/// The values of `hash`, with the name of their function.
fn hashes(object: &Object) -> impl Iterator<Item = (String, &str)> {
    let literals = object.all("hash").filter_map(|node| match node {
        Node::Literal { text, datatype } => Some((term(datatype)?, text.as_str())),
        Node::Iri(_) => None,
    });
    literals.map(|(kind, text)| (kind.to_string(), text)).take(MOST_VALUES)
}

fn digest(kind: &str, value: &str) -> Option<DiskDigest> {
    let (kind, length) = match kind {
        "MD5" => (DigestKind::Md5, 16),
        "SHA1" => (DigestKind::Sha1, 20),
        "SHA256" => (DigestKind::Sha256, 32),
        _ => return None,
    };
    let (pairs, rest) = value.as_bytes().as_chunks::<2>();
    let value: Vec<u8> = pairs.iter().map(hex_byte).collect::<Option<_>>()?;
    (rest.is_empty() && value.len() == length).then_some(DiskDigest { kind, value })
}

/// What the operator should know.
pub fn warnings(evidence: &Evidence) -> Vec<String> {
    let of_maps = evidence.plan.maps.iter().flat_map(|map| {
        let gap = Some(map.gap).filter(|gap| *gap == Symbol::Unknown).map(Target::Symbol);
        let of_targets = map.targets.iter().filter_map(|target| warning(map, target));
        of_targets.chain(gap.and_then(|gap| warning(map, &gap)))
    });
    evidence.notes.iter().cloned().chain(of_maps).take(MOST_WARNINGS).collect()
}

/// What a target of a map is worth saying.
fn warning(map: &Map, target: &Target) -> Option<String> {
    match target {
        Target::Lost(urn) => Some(format!("part of the disk is missing: {}", lost(urn))),
        Target::Symbol(Symbol::Unknown) => Some(reads_as(&map.urn, "was not read", "UNKNOWN")),
        Target::Symbol(Symbol::Unreadable) => {
            Some(reads_as(&map.urn, "could not be read", "UNREADABLEDATA"))
        }
        _ => None,
    }
}

fn reads_as(map: &str, why: &str, text: &str) -> String {
    let map = shown(map);
    format!("part of the disk {why} when it was acquired; it shows the text {text} ({map})")
}
