//! `DiskDescriptor.xml`: which storages make up the disk, which images make up a
//! storage, and which states there are. Reading only; whether it fits together is for
//! [`crate::chain`].
//!
//! Source: QEMU, "Parallels Disk Format" (`prl-xml.txt`), and descriptors of Parallels
//! Desktop.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::str::FromStr;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};
use roxmltree::{Document, Node, ParsingOptions};

use crate::guid::Guid;

/// The root element, by which a descriptor is known.
pub const ROOT: &str = "Parallels_disk_image";

/// Real ones have a few KiB.
const SIZE_LIMIT: u64 = 1 << 20;
/// What an XML parser spends on them is bounded too.
const NODE_LIMIT: u32 = 1 << 16;

/// An image of a storage.
#[derive(Debug)]
pub struct ImageEntry {
    /// Which state's changes it holds.
    pub guid: Guid,
    /// Whether it has a table, or is plain.
    pub expanding: bool,
    /// Its file's name, relative to the bundle.
    pub file: String,
}

/// A part of the disk.
#[derive(Debug)]
pub struct StorageEntry {
    /// First sector.
    pub start: u64,
    /// The sector behind the last one.
    pub end: u64,
    /// Sectors a cluster.
    pub block: u64,
    /// One image for each state that changed it.
    pub images: Vec<ImageEntry>,
}

/// A state of the disk.
#[derive(Debug, Clone, Copy)]
pub struct Shot {
    /// Its name.
    pub guid: Guid,
    /// What it was made on.
    pub parent: Guid,
}

/// All of a descriptor that matters here.
#[derive(Debug)]
pub struct Descriptor {
    /// Size of the disk in sectors.
    pub sectors: u64,
    /// Bytes a physical sector.
    pub physical_sector: u32,
    /// Its parts, in the order of the text.
    pub storages: Vec<StorageEntry>,
    /// Its states.
    pub shots: Vec<Shot>,
    /// The state that is written to, if the text names it.
    pub top: Option<Guid>,
    /// Worth showing.
    pub details: Vec<(String, String)>,
}

/// The whole text.
///
/// # Errors
/// [`Error::Corrupt`] where it is too long or not UTF-8.
pub fn read_text(main: &dyn Source) -> Result<String> {
    let size = main.size();
    if size > SIZE_LIMIT {
        return Err(Error::corrupt(0, format!("a descriptor of {size} bytes")));
    }
    let bytes = read_bytes(main, 0, size, "descriptor")?;
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to() as u64;
        Error::corrupt(offset, "a descriptor that is not UTF-8")
    })
}

impl Descriptor {
    /// Reads a descriptor.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] for another root element, [`Error::Unsupported`] for an
    /// encrypted disk and for other sectors, [`Error::Corrupt`] where something is not
    /// as it must be.
    pub fn parse(text: &str) -> Result<Self> {
        let options =
            ParsingOptions { allow_dtd: false, nodes_limit: NODE_LIMIT, ..Default::default() };
        let document = Document::parse_with_options(text.trim_start_matches('\u{feff}'), options)
            .map_err(|error| Error::corrupt(0, format!("the descriptor: {error}")))?;
        let root = document.root_element();
        if root.tag_name().name() != ROOT {
            return Err(Error::Unrecognised);
        }
        let version = root.attribute("Version").unwrap_or("1.0");
        if version != "1.0" {
            return Err(Error::Unsupported(format!("a descriptor of version {version}")));
        }
        let parameters = child(root, "Disk_Parameters")?;
        refuse_encrypted(parameters)?;
        refuse_padding_and_sectors(parameters)?;
        let storages = children(child(root, "StorageData")?, "Storage").map(storage);
        let snapshots = optional(root, "Snapshots");
        let shots = snapshots.map(|node| children(node, "Shot").map(shot).collect());
        let top = snapshots.and_then(|node| optional(node, "TopGUID"));
        Ok(Self {
            sectors: number(parameters, "Disk_size")?,
            physical_sector: physical_sector(parameters),
            storages: storages.collect::<Result<_>>()?,
            shots: shots.unwrap_or(Ok(Vec::new()))?,
            top: top.map(guid).transpose()?,
            details: details(parameters),
        })
    }
}

fn refuse_encrypted(parameters: Node) -> Result<()> {
    let Some(encryption) = optional(parameters, "Encryption") else { return Ok(()) };
    let engine = optional(encryption, "Engine").map_or("", content);
    if engine.is_empty() || Guid::parse(engine) == Some(Guid::ZERO) {
        return Ok(());
    }
    Err(Error::Unsupported(format!("an encrypted disk (engine {engine})")))
}

fn refuse_padding_and_sectors(parameters: Node) -> Result<()> {
    let value = |name| match optional(parameters, name) {
        Some(node) => parse::<u64>(node),
        None => Ok(0),
    };
    let (padding, sector) = (value("Padding")?, value("LogicSectorSize")?);
    if padding != 0 {
        return Err(Error::Unsupported(format!("a disk with a padding of {padding}")));
    }
    if !matches!(sector, 0 | 512) {
        return Err(Error::Unsupported(format!("logical sectors of {sector} bytes")));
    }
    Ok(())
}

fn physical_sector(parameters: Node) -> u32 {
    let sound = |size: &u32| size.is_power_of_two() && (512..=65536).contains(size);
    let node = optional(parameters, "PhysicalSectorSize");
    node.and_then(|node| parse(node).ok()).filter(sound).unwrap_or(512)
}

/// What is shown of the parameters.
fn details(parameters: Node) -> Vec<(String, String)> {
    let shown = [("Name", "name"), ("UID", "identifier")];
    let value = |(element, label): &(&str, &str)| {
        let text = optional(parameters, element).map(content)?;
        let brief: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        (!brief.is_empty()).then(|| (label.to_string(), brief))
    };
    shown.iter().filter_map(value).collect()
}

fn storage(node: Node) -> Result<StorageEntry> {
    Ok(StorageEntry {
        start: number(node, "Start")?,
        end: number(node, "End")?,
        block: number(node, "Blocksize")?,
        images: children(node, "Image").map(image).collect::<Result<_>>()?,
    })
}

fn image(node: Node) -> Result<ImageEntry> {
    let expanding = match content(child(node, "Type")?) {
        "Compressed" => true,
        "Plain" => false,
        other => return Err(Error::Unsupported(format!("an image of the type {other:?}"))),
    };
    let file = content(child(node, "File")?).to_string();
    Ok(ImageEntry { guid: guid(child(node, "GUID")?)?, expanding, file })
}

fn shot(node: Node) -> Result<Shot> {
    Ok(Shot { guid: guid(child(node, "GUID")?)?, parent: guid(child(node, "ParentGUID")?)? })
}

/// An error at a place of the text.
fn wrong(node: Node, what: String) -> Error {
    Error::corrupt(node.range().start as u64, what)
}

fn children<'a, 'b>(node: Node<'a, 'b>, name: &str) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

fn optional<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    children(node, name).next()
}

fn child<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Result<Node<'a, 'b>> {
    let missing = || wrong(node, format!("{} without {name}", node.tag_name().name()));
    optional(node, name).ok_or_else(missing)
}

fn content<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().unwrap_or("").trim()
}

fn number(node: Node, name: &str) -> Result<u64> {
    parse(child(node, name)?)
}

fn parse<T: FromStr>(node: Node) -> Result<T> {
    let text = content(node);
    let name = node.tag_name().name();
    text.parse().map_err(|_| wrong(node, format!("{name} is {text:?}, not a number")))
}

fn guid(node: Node) -> Result<Guid> {
    let text = content(node);
    let name = node.tag_name().name();
    Guid::parse(text).ok_or_else(|| wrong(node, format!("{name} is {text:?}, not a GUID")))
}
