//! The opened image as the host sees it: a single `.hds`, or a bundle. Puts together
//! what the other modules know.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{
    Access, Disk, DiskInfo, Error, Host, Image, ImageInfo, Result, SnapshotInfo, SourceHandle,
};

use crate::descriptor::{Descriptor, ImageEntry, StorageEntry, read_text};
use crate::extension;
use crate::guid::Guid;
use crate::header::{Generation, SECTOR};
use crate::layer::{Expanding, Layer};
use crate::map::{Map, MappedDisk, Storage};

/// The text a bundle is made of.
pub const DESCRIPTOR: &str = "DiskDescriptor.xml";

/// An opened image.
pub struct ParallelsImage {
    map: Rc<Map>,
    physical_sector: u32,
    info: ImageInfo,
    text: Option<String>,
}

impl ParallelsImage {
    /// The image that one `.hds` is.
    ///
    /// # Errors
    /// As [`Expanding::open`]; [`Error::Missing`] for a snapshot, which only bundles have.
    pub fn single(main: SourceHandle, snapshot: Option<&str>) -> Result<Self> {
        if let Some(name) = snapshot {
            let what = format!("snapshot {name}: a single image has none, its bundle may");
            return Err(Error::Missing(what));
        }
        let image = Expanding::open(main)?;
        let mut info = ImageInfo::default();
        if state_in_name(&image.source.name()).is_some_and(|state| state != Guid::TOP) {
            info.warnings.push(format!(
                "by its name this image holds the changes of one state only: open {DESCRIPTOR}, \
                 or its folder, for the whole disk"
            ));
        }
        describe(&image, &mut info);
        let size = image.header.size;
        let layers = vec![Layer::Expanding(image)];
        let map = Map { size, storages: vec![Storage { start: 0, end: size, layers }] };
        Ok(Self { map: Rc::new(map), physical_sector: 512, info, text: None })
    }

    /// The bundle whose descriptor is `main`, in the state `snapshot` or as it is now.
    ///
    /// # Errors
    /// As [`Descriptor::parse`] and its checks; [`Error::Missing`] for a snapshot that
    /// is not there, and for an image.
    pub fn bundle(main: &SourceHandle, host: &dyn Host, snapshot: Option<&str>) -> Result<Self> {
        let text = read_text(&**main)?;
        let descriptor = Descriptor::parse(&text)?;
        let state = match snapshot {
            None => descriptor.top(),
            Some(name) => find_state(&descriptor, name)?,
        };
        let chain = descriptor.ancestry(state)?;
        let ordered = descriptor.ordered()?;
        let images = descriptor.images(&ordered, &chain)?;
        let mut info = bundle_info(&descriptor, &chain, ordered.len());
        let mut storages = Vec::new();
        for (entry, images) in ordered.iter().zip(images) {
            storages.push(open_storage(entry, &images, host, &mut info)?);
        }
        let end = storages.last().map_or(0, |storage| storage.end);
        let size = descriptor.sectors * SECTOR;
        if size < end {
            let what = format!("the storages hold {end} bytes, and the disk is {size} long");
            info.warnings.push(what);
        }
        let map = Map { size, storages };
        let physical_sector = descriptor.physical_sector;
        Ok(Self { map: Rc::new(map), physical_sector, info, text: Some(text) })
    }
}

impl Image for ParallelsImage {
    fn info(&self) -> ImageInfo {
        self.info.clone()
    }

    fn disks(&self) -> Vec<DiskInfo> {
        vec![DiskInfo {
            physical_sector: self.physical_sector,
            ..DiskInfo::new(self.map.size, self.map.granularity())
        }]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        match number {
            0 => Ok(Box::new(MappedDisk::new(Rc::clone(&self.map)))),
            _ => Err(Error::OutOfRange),
        }
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let text = self.text.as_ref().filter(|_| name == DESCRIPTOR);
        text.map(|text| text.clone().into_bytes()).ok_or_else(|| Error::Missing(name.into()))
    }
}

/// The state that an operator names, in braces or without.
fn find_state(descriptor: &Descriptor, name: &str) -> Result<Guid> {
    let known = |guid: &Guid| descriptor.shots.iter().any(|shot| shot.guid == *guid);
    Guid::parse(name).filter(known).ok_or_else(|| Error::Missing(format!("snapshot {name}")))
}

/// The state in a name such as `disk.hdd.0.{5fbaabe3-…}.hds`.
fn state_in_name(name: &str) -> Option<Guid> {
    let start = name.find('{')?;
    let end = name.rfind('}')?;
    Guid::parse(name.get(start..=end)?)
}

fn bundle_info(descriptor: &Descriptor, chain: &[Guid], storages: usize) -> ImageInfo {
    let mut details = descriptor.details.clone();
    details.push(("variant".into(), "bundle".into()));
    details.push(("storages".into(), storages.to_string()));
    details.push(("images in the chain".into(), chain.len().to_string()));
    details.extend(chain.first().map(|state| ("state".into(), state.to_string())));
    let snapshot = |guid: Guid| SnapshotInfo {
        id: guid.to_string(),
        name: guid.to_string(),
        created: None,
        disk_size: descriptor.sectors.saturating_mul(SECTOR),
        vm_state_size: 0,
    };
    ImageInfo {
        details,
        documents: vec![DESCRIPTOR.into()],
        snapshots: descriptor.kept().map(|shot| snapshot(shot.guid)).collect(),
        warnings: Vec::new(),
    }
}

fn open_storage(
    entry: &StorageEntry,
    images: &[&ImageEntry],
    host: &dyn Host,
    info: &mut ImageInfo,
) -> Result<Storage> {
    let (start, end) = (entry.start.saturating_mul(SECTOR), entry.end.saturating_mul(SECTOR));
    let mut layers: Vec<Layer> = Vec::new();
    for image in images {
        let source = host.open(&image.file, Access::Read)?;
        if !image.expanding {
            layers.push(Layer::Plain(source));
            // It holds everything, and older ones are never asked.
            break;
        }
        let opened = Expanding::open(source)?;
        compare(&opened, entry, layers.is_empty(), info)?;
        describe(&opened, info);
        layers.push(Layer::Expanding(opened));
    }
    Ok(Storage { start, end, layers })
}

/// Whether an image is what the descriptor says of it.
fn compare(
    image: &Expanding,
    entry: &StorageEntry,
    newest: bool,
    info: &mut ImageInfo,
) -> Result<()> {
    let (source, header) = (&*image.source, &image.header);
    let wanted = entry.block.saturating_mul(SECTOR);
    if header.cluster != wanted {
        let what = format!("clusters of {} bytes, the descriptor says {wanted}", header.cluster);
        return Err(Error::corrupt_in(source.id(), 28, what));
    }
    let length = (entry.end - entry.start).saturating_mul(SECTOR);
    // Older ones may have been made when the disk was smaller.
    if newest && header.size < length {
        let what = format!("a disk of {} bytes in a storage of {length}", header.size);
        return Err(Error::corrupt_in(source.id(), 36, what));
    }
    if header.size > length {
        let what = format!("{} holds {} bytes of {length}", source.name(), header.size);
        info.warnings.push(what);
    }
    Ok(())
}

/// What there is to say of an image.
fn describe(image: &Expanding, info: &mut ImageInfo) {
    let (source, header) = (&*image.source, &image.header);
    let name = source.name();
    let mut detail = |name: &str, value: String| info.details.push((name.into(), value));
    detail("image", name.clone());
    let generation = match header.generation {
        Generation::First => "expanding, first generation",
        Generation::Second => "expanding, second generation",
    };
    detail("  variant", generation.into());
    detail("  cluster size", header.cluster.to_string());
    if header.empty {
        detail("  written to", "never".into());
    }
    if let Some(letters) = header.closed_by() {
        detail("  closed by", letters);
    }
    match extension::features(source, header) {
        Ok(features) if features.is_empty() => (),
        Ok(features) => detail("  extensions", features.join(", ")),
        Err(error) => info.warnings.push(format!("{name}: {error}")),
    }
    if header.is_open() {
        info.warnings.push(format!(
            "{name} is open elsewhere or was not closed: what was written last may be missing"
        ));
    }
}
