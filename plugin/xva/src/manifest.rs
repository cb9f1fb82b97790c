//! `ova.xml`: which disks there are, how large, and which machine has them where.
//!
//! Source: xen-api, `importexport.ml` (the structure of the manifest) and the classes
//! VM, VBD and VDI of its data model.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};
use roxmltree::{Document, ParsingOptions};

use crate::rpc::Value;
use crate::text::harmless;

/// The longest manifest in bytes; usual ones have some ten thousand.
pub const MOST_MANIFEST: u64 = 4 << 20;
/// The most nodes of a manifest: they take more memory than its text.
const MOST_NODES: u32 = 300_000;
/// The most disks of a manifest.
const MOST_DISKS: usize = 4096;

/// A disk of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vdi {
    /// The folder of its chunks, such as `Ref:12`.
    pub id: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its name, fit to be shown; may be empty.
    pub label: String,
    /// Anything else worth showing, in order.
    pub details: Vec<(String, String)>,
    /// How it is attached to a machine as a disk, if it is.
    pub attached: Option<Attachment>,
    /// Whether it holds the memory of a suspended machine.
    pub is_suspended: bool,
}

/// How a machine has a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The place of the machine in the manifest.
    pub machine: usize,
    /// The position there; the last where it is no number.
    pub position: u32,
}

/// What is known from the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Worth showing, in order.
    pub details: Vec<(String, String)>,
    /// Disks, in their order.
    pub vdis: Vec<Vdi>,
}

/// Details of the export as a whole: member of `version`, label.
const VERSION: [(&str, &str); 6] = [
    ("product_brand", "product"),
    ("product_version", "product version"),
    ("build_number", "build"),
    ("hostname", "host"),
    ("date", "date"),
    ("export_vsn", "export version"),
];

/// An object of the manifest: its class, its id, its record.
struct Object<'a, 'input> {
    class: String,
    id: String,
    record: Value<'a, 'input>,
}

impl Manifest {
    /// Parses a manifest that lies at `offset` of the archive.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for what is no manifest, two disks of one id, or a size that is
    /// none; [`Error::Unsupported`] for the form of 2007 and for too large a one.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Self> {
        let corrupt = |what: String| Error::corrupt(offset, format!("ova.xml: {what}"));
        let text = core::str::from_utf8(bytes).map_err(|_| corrupt("it is not UTF-8".into()))?;
        // The document type is where entities come from, and none has one.
        let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options)
            .map_err(|error| corrupt(harmless(&error.to_string())))?;
        let root = document.root_element();
        if root.has_tag_name("appliance") {
            let what = "an export in the form of 2007, with an appliance in ova.xml";
            return Err(Error::Unsupported(what.into()));
        }
        let objects = Value::of(root).and_then(|root| root.member("objects"));
        let (Some(root), Some(objects)) = (Value::of(root), objects) else {
            return Err(corrupt("it lists no objects".into()));
        };
        let objects: Vec<_> = objects.elements().filter_map(Object::of).collect();
        let mut vdis = Vec::new();
        let mut places = BTreeMap::new();
        for object in objects.iter().filter(|object| object.class == "VDI") {
            if places.insert(object.id.as_str(), vdis.len()).is_some() {
                return Err(corrupt(format!("two disks are called {}", harmless(&object.id))));
            }
            if vdis.len() >= MOST_DISKS {
                return Err(Error::Unsupported(format!("an export of over {MOST_DISKS} disks")));
            }
            vdis.push(object.vdi().map_err(corrupt)?);
        }
        let mut details = version(root);
        attach(&objects, &places, &mut vdis, &mut details);
        Ok(Self { details, vdis })
    }
}

impl<'a, 'input> Object<'a, 'input> {
    fn of(value: Value<'a, 'input>) -> Option<Self> {
        let (class, id) = (value.text_of("class"), value.text_of("id"));
        Some(Self { class, id, record: value.member("snapshot")? })
    }

    fn vdi(&self) -> core::result::Result<Vdi, String> {
        let text = self.record.text_of("virtual_size");
        let size = text.trim().parse().ok().filter(|size| i64::try_from(*size).is_ok());
        let size = size
            .ok_or_else(|| format!("disk {} of {} bytes", harmless(&self.id), harmless(&text)))?;
        let mut details = Vec::new();
        for (name, label) in [("uuid", "uuid"), ("name_description", "description")] {
            add(&mut details, label, &self.record.text_of(name));
        }
        let label = harmless(&self.record.text_of("name_label"));
        let (id, attached) = (self.id.clone(), None);
        Ok(Vdi { id, size, label, details, attached, is_suspended: false })
    }
}

/// Tells disks which machines have them, and adds machines to the details.
fn attach(
    objects: &[Object<'_, '_>],
    places: &BTreeMap<&str, usize>,
    vdis: &mut [Vdi],
    details: &mut Vec<(String, String)>,
) {
    let mut machines = BTreeMap::new();
    for object in objects.iter().filter(|object| object.class == "VM") {
        let label = object.record.text_of("name_label");
        add(details, "machine", &label);
        machines.insert(object.id.as_str(), (machines.len(), label));
        let suspended = object.record.text_of("suspend_VDI");
        if let Some(vdi) = places.get(suspended.as_str()).and_then(|at| vdis.get_mut(*at)) {
            vdi.is_suspended = true;
            add(&mut vdi.details, "holds", "the memory of a suspended machine");
        }
    }
    for object in objects.iter().filter(|object| object.class == "VBD") {
        let record = &object.record;
        let place = places.get(record.text_of("VDI").as_str());
        let Some(vdi) = place.and_then(|place| vdis.get_mut(*place)) else { continue };
        // What is in a drive is not exported, for all it may be described.
        if record.text_of("type") != "Disk" {
            continue;
        }
        let machine = machines.get(record.text_of("VM").as_str());
        let position = record.text_of("userdevice");
        let attachment = Attachment {
            machine: machine.map_or(usize::MAX, |(place, _)| *place),
            position: position.trim().parse().unwrap_or(u32::MAX),
        };
        if vdi.attached.is_none() {
            vdi.attached = Some(attachment);
        }
        add(&mut vdi.details, "machine", machine.map_or("", |(_, label)| label));
        add(&mut vdi.details, "position", &position);
        add(&mut vdi.details, "device", &record.text_of("device"));
        if matches!(record.text_of("bootable").as_str(), "1" | "true") {
            add(&mut vdi.details, "bootable", "yes");
        }
    }
}

fn version(root: Value<'_, '_>) -> Vec<(String, String)> {
    let mut details = Vec::new();
    if let Some(version) = root.member("version") {
        VERSION.iter().for_each(|(name, label)| add(&mut details, label, &version.text_of(name)));
    }
    details
}

/// More than so many of one thing are not shown.
const MOST_DETAILS: usize = 64;

/// Adds a detail, unless it is empty.
fn add(details: &mut Vec<(String, String)>, label: &str, text: &str) {
    let text = harmless(text);
    if !text.is_empty() && details.len() < MOST_DETAILS {
        details.push((label.to_string(), text));
    }
}
