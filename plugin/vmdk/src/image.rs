//! The opened image as the host sees it: what is known of it, its descriptor, its disk.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Disk, DiskInfo, Error, Host, Image, ImageInfo, Result, SourceHandle};

use crate::descriptor::Descriptor;
use crate::line::SECTOR;
use crate::map::Map;
use crate::part::{self, Holding, Part};
use crate::sparse::Sparse;

/// The name of the descriptor as a document.
const DOCUMENT: &str = "descriptor";

/// Keys of the descriptor worth showing, and how they are called.
const SHOWN: [(&str, &str); 10] = [
    ("ddb.adapterType", "adapter"),
    ("ddb.virtualHWVersion", "hardware version"),
    ("ddb.toolsVersion", "tools version"),
    ("ddb.thinProvisioned", "thin provisioned"),
    ("ddb.uuid", "UUID"),
    ("ddb.uuid.image", "image UUID"),
    ("ddb.longContentID", "long content identifier"),
    ("ddb.comment", "comment"),
    ("changeTrackPath", "change tracking"),
    ("isNativeSnapshot", "native snapshot"),
];
/// The longest value shown.
const SHOWN_LIMIT: usize = 256;

/// An opened image.
pub struct VmdkImage {
    host: Rc<dyn Host>,
    descriptor: Option<Descriptor>,
    parts: Rc<[Part]>,
    warnings: Vec<String>,
}

/// Opens the image whose descriptor or sparse extent is `main`.
///
/// # Errors
/// [`Error::Unrecognised`] for neither; otherwise as [`Descriptor::read_file`],
/// [`Sparse::open`] and [`part::open_all`].
pub fn open(main: SourceHandle, host: Rc<dyn Host>) -> Result<VmdkImage> {
    let Some(sparse) = Sparse::open(main.clone())? else {
        let descriptor = Descriptor::read_file(&*main)?;
        let parts = part::open_all(&descriptor, &*main, &*host)?;
        return Ok(VmdkImage::new(host, Some(descriptor), parts));
    };
    let (offset, length) = sparse.descriptor.unwrap_or_default();
    let descriptor = match Descriptor::read_embedded(&*main, offset, length) {
        // Room for a descriptor, and none in it.
        Err(Error::Unrecognised) => None,
        descriptor => Some(descriptor?),
    };
    Ok(VmdkImage::new(host, descriptor, part::single(sparse)))
}

impl VmdkImage {
    fn new(host: Rc<dyn Host>, descriptor: Option<Descriptor>, parts: Vec<Part>) -> Self {
        let mut warnings = Vec::new();
        for part in &parts {
            let Holding::Sparse(sparse) = &part.holding else { continue };
            warnings.extend(sparse.warnings.iter().cloned());
            if sparse.capacity != part.length {
                let (name, found) = (sparse.source.name(), sparse.capacity);
                let what = "bytes, of which the descriptor uses";
                warnings.push(format!("{name} has {found} {what} {}", part.length));
            }
        }
        warnings.extend(single_warning(descriptor.as_ref(), &parts));
        Self { host, descriptor, parts: parts.into(), warnings }
    }

    fn size(&self) -> u64 {
        self.parts.last().map_or(0, Part::end)
    }

    fn details(&self) -> Vec<(String, String)> {
        let mut list: Vec<(&str, String)> = Vec::new();
        let value = |key: &str| {
            let value = self.descriptor.as_ref()?.get(key)?;
            Some(value).filter(|value| !value.is_empty()).map(brief)
        };
        list.extend(value("createType").map(|kind| ("variant", kind)));
        let first = self.parts.iter().find_map(|part| match &part.holding {
            Holding::Sparse(sparse) => Some(sparse),
            _ => None,
        });
        list.extend(first.map(|sparse| ("extent kind", sparse.title.clone())));
        list.extend(first.map(|sparse| ("grain size", sparse.grain.to_string())));
        list.push(("extents", self.parts.len().to_string()));
        let geometry = ["cylinders", "heads", "sectors"];
        let geometry = geometry.map(|name| value(&format!("ddb.geometry.{name}")));
        if let [Some(cylinders), Some(heads), Some(sectors)] = geometry {
            list.push(("geometry", format!("{cylinders}/{heads}/{sectors}")));
        }
        list.extend(SHOWN.iter().filter_map(|(key, name)| Some((*name, value(key)?))));
        list.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }
}

/// What is to say of a sparse extent that was opened by itself.
fn single_warning(descriptor: Option<&Descriptor>, parts: &[Part]) -> Option<String> {
    let [Part { length, holding: Holding::Sparse(sparse), .. }] = parts else { return None };
    let Some(descriptor) = descriptor else {
        return Some(
            "one extent, opened without its descriptor: it may be a part of a larger disk, and \
             what a parent may hold reads as zeroes"
                .into(),
        );
    };
    let said = descriptor.lines.iter().map(|line| line.sectors).fold(0, u64::saturating_add);
    let said = said.saturating_mul(SECTOR);
    let differs = sparse.descriptor.is_some() && said != *length;
    differs.then(|| format!("the descriptor tells of {said} bytes, the extent has {length}"))
}

fn brief(value: &str) -> String {
    value.chars().take(SHOWN_LIMIT).collect()
}

impl Image for VmdkImage {
    fn info(&self) -> ImageInfo {
        let documents = self.descriptor.iter().map(|_| DOCUMENT.to_string()).collect();
        ImageInfo {
            details: self.details(),
            documents,
            snapshots: Vec::new(),
            warnings: self.warnings.clone(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        let mut disk = DiskInfo::new(self.size(), part::granularity(&self.parts));
        if let Some(descriptor) = &self.descriptor {
            disk.parent = descriptor.parent.clone();
            disk.identity = descriptor.identity();
        }
        vec![disk]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number != 0 {
            return Err(Error::OutOfRange);
        }
        Ok(Box::new(Map::new(Rc::clone(&self.parts), Rc::clone(&self.host))))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let descriptor = self.descriptor.as_ref().filter(|_| name == DOCUMENT);
        let missing = || Error::Missing(name.to_string());
        descriptor.map(|descriptor| descriptor.text.clone().into_bytes()).ok_or_else(missing)
    }
}
