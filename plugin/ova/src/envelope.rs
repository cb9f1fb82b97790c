//! The OVF document: files, disks, and the machine they belong to (DSP0243, 7 to 9).
//! Elements are known by their local names, for the namespaces differ by version.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};
use roxmltree::{Document, Node, ParsingOptions};

/// The most nodes of a document: what they take of memory is bounded by it.
const NODES_LIMIT: u32 = 100_000;

/// A file that the appliance consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub id: String,
    pub href: String,
    pub size: Option<u64>,
    /// "gzip", or anything else but "identity".
    pub compression: Option<String>,
    /// It lies in parts of so many bytes.
    pub chunk: Option<u64>,
}

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub id: String,
    /// None for an empty disk.
    pub file: Option<String>,
    pub capacity: Option<u64>,
    pub format: Option<String>,
    pub parent: Option<String>,
}

/// What the document says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    pub files: Vec<File>,
    pub disks: Vec<Disk>,
    /// Names of machines, products and systems, with what they are.
    pub notes: Vec<(String, String)>,
}

impl Envelope {
    /// The document in `text`, which lies at `offset` of the archive.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for what is no OVF document or contradicts itself, entities and
    /// names of files elsewhere among it.
    pub fn parse(text: &str, offset: u64) -> Result<Self> {
        let corrupt = |what: String| Error::corrupt(offset, what);
        let options = ParsingOptions { nodes_limit: NODES_LIMIT, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options)
            .map_err(|error| corrupt(format!("expected an OVF document: {error}")))?;
        let root = document.root_element();
        if root.tag_name().name() != "Envelope" {
            let found = root.tag_name().name();
            return Err(corrupt(format!("expected an OVF envelope, found element {found:?}")));
        }
        let mut envelope = Self::default();
        for section in root.children().filter(Node::is_element) {
            match section.tag_name().name() {
                "References" => {
                    for node in elements(section, "File") {
                        envelope.files.push(file(node).map_err(corrupt)?);
                    }
                }
                // The older of OVF's two ways to name sections.
                "DiskSection" => envelope.read_disks(section).map_err(corrupt)?,
                "Section"
                    if attribute(section, "type")
                        .is_some_and(|kind| kind.contains("DiskSection")) =>
                {
                    envelope.read_disks(section).map_err(corrupt)?;
                }
                "VirtualSystem" | "VirtualSystemCollection" | "Content" => envelope.note(section),
                _ => (),
            }
        }
        envelope.check().map_err(corrupt)?;
        Ok(envelope)
    }

    fn read_disks(&mut self, section: Node<'_, '_>) -> core::result::Result<(), String> {
        for node in elements(section, "Disk") {
            self.disks.push(disk(node)?);
        }
        Ok(())
    }

    fn note(&mut self, system: Node<'_, '_>) {
        let mut note = |label: &str, value: Option<&str>| {
            if let Some(value) = value.map(str::trim).filter(|value| !value.is_empty())
                && self.notes.len() < 32
            {
                self.notes.push((label.to_string(), value.to_string()));
            }
        };
        note("machine", attribute(system, "id"));
        for node in system.descendants().filter(Node::is_element) {
            match node.tag_name().name() {
                "Name" => note("machine name", node.text()),
                "Product" => note("product", node.text()),
                "Vendor" => note("vendor", node.text()),
                "Version" => note("version", node.text()),
                "VirtualSystemType" => note("virtual hardware", node.text()),
                "OperatingSystemSection" => {
                    let description = elements(node, "Description").next();
                    note("operating system", description.and_then(|node| node.text()));
                }
                _ => (),
            }
        }
    }

    /// Names that occur twice, or lead nowhere or in circles.
    fn check(&self) -> core::result::Result<(), String> {
        unique("file id", self.files.iter().map(|file| &file.id))?;
        unique("file", self.files.iter().map(|file| &file.href))?;
        unique("disk id", self.disks.iter().map(|disk| &disk.id))?;
        unique("file of disks", self.disks.iter().filter_map(|disk| disk.file.as_ref()))?;
        let files: BTreeSet<&String> = self.files.iter().map(|file| &file.id).collect();
        let parents: BTreeMap<&String, Option<&String>> =
            self.disks.iter().map(|disk| (&disk.id, disk.parent.as_ref())).collect();
        for disk in &self.disks {
            if let Some(file) = disk.file.as_ref().filter(|file| !files.contains(file)) {
                return Err(format!("disk {:?} is in file {file:?}, which is not listed", disk.id));
            }
        }
        // A chain longer than there are disks goes round; each disk is followed once.
        let mut sound = BTreeSet::new();
        for disk in &self.disks {
            let mut path = BTreeSet::new();
            let mut at = Some(&disk.id);
            while let Some(id) = at.filter(|id| !sound.contains(*id)) {
                if !path.insert(id) {
                    return Err(format!("the parents of disk {:?} go in a circle", disk.id));
                }
                let parent = parents.get(id).copied();
                at = parent
                    .ok_or_else(|| format!("{id:?}, a parent of {:?}, is no disk", disk.id))?;
            }
            sound.extend(path);
        }
        Ok(())
    }
}

fn unique<'a>(
    what: &str,
    names: impl Iterator<Item = &'a String>,
) -> core::result::Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("{what} {name:?} occurs twice"));
        }
    }
    Ok(())
}

fn elements<'a, 'input: 'a>(
    parent: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    parent.children().filter(move |node| node.is_element() && node.tag_name().name() == name)
}

/// An attribute by its local name.
fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|attribute| attribute.name() == name).map(|attribute| attribute.value())
}

fn number(node: Node<'_, '_>, name: &str) -> core::result::Result<Option<u64>, String> {
    let Some(text) = attribute(node, name) else { return Ok(None) };
    let number = text.trim().parse();
    number.map(Some).map_err(|_| format!("expected a number as {name}, found {text:?}"))
}

fn file(node: Node<'_, '_>) -> core::result::Result<File, String> {
    let need = |name| attribute(node, name).ok_or_else(|| format!("a file without {name}"));
    let href = need("href")?;
    let plain = !href.is_empty()
        && href.len() <= 255
        && href != "."
        && href != ".."
        && !href.contains(['/', '\\', ':'])
        && !href.contains(char::is_control);
    if !plain {
        return Err(format!("expected a file of the appliance's own, found {href:?}"));
    }
    let compression = attribute(node, "compression").filter(|kind| *kind != "identity");
    let chunk = number(node, "chunkSize")?;
    if chunk == Some(0) {
        return Err(format!("expected chunks of {href:?}, found a size of 0"));
    }
    Ok(File {
        id: need("id")?.to_string(),
        href: href.to_string(),
        size: number(node, "size")?,
        compression: compression.map(ToString::to_string),
        chunk,
    })
}

fn disk(node: Node<'_, '_>) -> core::result::Result<Disk, String> {
    let id = attribute(node, "diskId").ok_or("a disk without an id")?;
    // It may name a property of the machine; then it is nothing we know.
    let capacity = attribute(node, "capacity").and_then(|text| text.trim().parse::<u64>().ok());
    let units = units(attribute(node, "capacityAllocationUnits").unwrap_or("byte"));
    let capacity = match (capacity, units) {
        (Some(count), Some(unit)) => {
            let bytes = count.checked_mul(unit).filter(|bytes| *bytes <= i64::MAX as u64);
            Some(bytes.ok_or_else(|| format!("disk {id:?} of {count} times {unit} bytes"))?)
        }
        _ => None,
    };
    let text = |name| attribute(node, name).map(ToString::to_string);
    Ok(Disk {
        id: id.to_string(),
        file: text("fileRef").filter(|file| !file.is_empty()),
        capacity,
        format: text("format"),
        parent: text("parentRef").filter(|parent| !parent.is_empty()),
    })
}

/// Bytes of a unit such as "byte * 2^30" or "MegaBytes"; none where it is none we know.
fn units(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let power = match text.as_str() {
        "byte" | "bytes" => 0,
        "kilobytes" => 10,
        "megabytes" => 20,
        "gigabytes" => 30,
        _ => {
            let (unit, power) = text.split_once('*')?;
            let base = power.trim().strip_prefix("2^")?;
            base.parse().ok().filter(|_| unit.trim() == "byte")?
        }
    };
    1u64.checked_shl(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(body: &str) -> Result<Envelope> {
        Envelope::parse(&format!("<Envelope xmlns:ovf=\"urn:x\">{body}</Envelope>"), 512)
    }

    #[test]
    fn files_and_disks_are_read() {
        let found = envelope(
            "<References><File ovf:id=\"f\" ovf:href=\"a.vmdk\" ovf:size=\"9\"/></References>\
             <DiskSection><Info/><Disk ovf:diskId=\"d\" ovf:fileRef=\"f\" ovf:capacity=\"3\" \
             ovf:capacityAllocationUnits=\"byte * 2^30\"/><Disk ovf:diskId=\"e\" \
             ovf:capacity=\"512\"/></DiskSection>\
             <VirtualSystem ovf:id=\"vm\"><Name>one</Name></VirtualSystem>",
        )
        .unwrap();
        assert_eq!((&*found.files[0].href, found.files[0].size), ("a.vmdk", Some(9)));
        assert_eq!((found.disks[0].capacity, found.disks[1].file.as_ref()), (Some(3 << 30), None));
        assert_eq!(found.notes.len(), 2);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let file = |id: &str, href: &str| format!("<File id='{id}' href='{href}'/>");
        let files = |list: &[String]| format!("<References>{}</References>", list.concat());
        let disks = |list: &str| format!("<DiskSection>{list}</DiskSection>");
        for href in ["/etc/passwd", "../a", "..", "http://x/a", "c:a", "a\\b", "", "."] {
            assert!(envelope(&files(&[file("f", href)])).is_err(), "{href}");
        }
        for body in [
            files(&[file("f", "a"), file("f", "b")]),
            files(&[file("f", "a"), file("g", "a")]),
            disks("<Disk diskId='a' fileRef='none'/>"),
            disks("<Disk diskId='a'/><Disk diskId='a'/>"),
            disks("<Disk diskId='a' parentRef='b'/><Disk diskId='b' parentRef='a'/>"),
            disks("<Disk diskId='a' parentRef='a'/>"),
            disks("<Disk diskId='a' parentRef='b'/>"),
            disks("<Disk diskId='a' capacity='9' capacityAllocationUnits='byte * 2^63'/>"),
            disks(
                "<Disk diskId='a' capacity='9999999999999' capacityAllocationUnits='gigabytes'/>",
            ),
            "<References><File id='f' href='a' chunkSize='0'/></References>".into(),
            "<References><File id='f' href='a' size='-1'/></References>".into(),
            "<unclosed>".into(),
        ] {
            assert!(envelope(&body).is_err(), "{body}");
        }
        assert!(
            Envelope::parse("<!DOCTYPE a [<!ENTITY b 'c'>]><Envelope>&b;</Envelope>", 0).is_err()
        );
        assert!(Envelope::parse("<html/>", 0).is_err());
        let deep = "<a>".repeat(50_000);
        assert!(envelope(&deep).is_err());
    }
}
