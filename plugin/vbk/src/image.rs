//! The opened archive as the host sees it: its disks, its texts, what is known of it.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::{
    Contents, Disk, DiskInfo, Error, Image, ImageInfo, Progress, Result, SourceHandle,
};

use crate::archive::Archive;
use crate::blocks::StoreEntry;
use crate::directory::{Directory, File};
use crate::document;
use crate::header::Header;
use crate::map::FileMap;
use crate::properties::{DISK_MARK, Property, read_properties};
use crate::slot::{Slots, read_slots};
use crate::vector::{Vector, Walk};

/// Reads of a step of preparing.
const STEP: u32 = 4096;
/// Endings of names of files that are texts.
const TEXTS: [&str; 9] =
    [".xml", ".txt", ".json", ".log", ".vmx", ".vmxf", ".vmsd", ".nvram", ".vmcx"];
/// Endings of names of disk images in a format of their own.
const IMAGES: [&str; 4] = [".vhdx", ".avhdx", ".vhd", ".avhd"];

/// A file, and what it is called.
struct Named {
    name: String,
    file: File,
    properties: Vec<Property>,
}

enum Store {
    Walking(Walk),
    Ready(Rc<Vector>),
}

/// An opened archive.
pub struct VbkImage {
    archive: Rc<Archive>,
    store: RefCell<Store>,
    folders: Vec<String>,
    disks: Vec<Named>,
    documents: Vec<Named>,
    warnings: Vec<String>,
}

impl VbkImage {
    /// Opens the newest state that is whole.
    ///
    /// # Errors
    /// As [`Header::read`]; [`Error::Corrupt`] where neither state is whole.
    pub fn open(source: SourceHandle) -> Result<Self> {
        let header = Header::read(&*source)?;
        let Slots { whole, flaws } = read_slots(&*source, &header)?;
        let mut warnings: Vec<String> = header.warning().into_iter().chain(flaws).collect();
        let mut failure = None;
        for snapshot in whole {
            let slot = snapshot.slot;
            let archive = Archive::new(Rc::clone(&source), header, snapshot);
            match Self::with_archive(archive, &warnings) {
                Ok(image) => return Ok(image),
                Err(error @ Error::Corrupt { .. }) => {
                    warnings.push(format!("snapshot slot {slot} cannot be used: {error}"));
                    failure = Some(error);
                }
                Err(other) => return Err(other),
            }
        }
        let none = || {
            let told = warnings.join("; ");
            Error::corrupt(4096, format!("no snapshot slot is whole: {told}"))
        };
        Err(failure.unwrap_or_else(none))
    }

    fn with_archive(archive: Archive, warnings: &[String]) -> Result<Self> {
        let directory = Directory::read(&archive)?;
        let size = size_of::<StoreEntry>();
        let walk = Walk::new(&archive, archive.snapshot.blocks, size, "block store")?;
        let mut image = Self {
            archive: Rc::new(archive),
            store: RefCell::new(Store::Walking(walk)),
            folders: directory.folders.clone(),
            disks: Vec::new(),
            documents: Vec::new(),
            warnings: warnings.to_vec(),
        };
        image.warnings.extend(directory.refused.iter().cloned());
        image.sort_out(&directory);
        if image.disks.is_empty()
            && let Some(refused) = directory.refused.first()
        {
            return Err(Error::Unsupported(refused.clone()));
        }
        let end = image.archive.snapshot.storage_end;
        if end > image.archive.source.size() {
            let size = image.archive.source.size();
            image.warnings.push(format!("the file is cut off: {size} bytes of {end}"));
        }
        Ok(image)
    }

    /// Tells disks from documents.
    fn sort_out(&mut self, directory: &Directory) {
        for file in &directory.files {
            let name = directory.shown(file);
            if file.unfinished {
                self.warnings.push(format!("{name} was being written"));
            }
            let properties = match file.properties.map(|page| read_properties(&self.archive, page))
            {
                None => Vec::new(),
                Some(Ok(properties)) => properties,
                Some(Err(error)) => {
                    self.warnings.push(format!("properties of {name}: {error}"));
                    Vec::new()
                }
            };
            let named = Named { name, file: file.clone(), properties };
            if named.is_disk() { &mut self.disks } else { &mut self.documents }.push(named);
        }
    }

    fn store(&self) -> Result<Rc<Vector>> {
        let mut store = self.store.borrow_mut();
        if let Store::Walking(walk) = &mut *store {
            walk.step(&self.archive, u32::MAX)?;
            *store = Store::Ready(Rc::new(walk.clone().finish()));
        }
        match &*store {
            Store::Ready(vector) => Ok(Rc::clone(vector)),
            Store::Walking(_) => Err(Error::OutOfRange),
        }
    }

    fn map(&self, file: &File) -> Result<FileMap> {
        FileMap::new(Rc::clone(&self.archive), self.store()?, file)
    }
}

impl Named {
    fn ends_with(&self, endings: &[&str]) -> bool {
        let name = self.file.name().to_ascii_lowercase();
        endings.iter().any(|ending| name.ends_with(ending))
    }

    /// Disks consist of sectors, and texts hardly ever; and texts are small.
    fn is_disk(&self) -> bool {
        let size = self.file.size;
        if size > document::MOST || self.properties.iter().any(|(name, _)| name == DISK_MARK) {
            return true;
        }
        size > 0 && size.is_multiple_of(512) && !self.ends_with(&TEXTS)
    }

    fn contents(&self) -> Contents {
        let image = self.ends_with(&IMAGES) || !self.file.size.is_multiple_of(512);
        if image { Contents::File } else { Contents::Disk }
    }

    fn info(&self, block_size: u32) -> DiskInfo {
        let granularity = if block_size.is_power_of_two() { block_size } else { 512 };
        let mut disk = DiskInfo::new(self.file.size, granularity);
        disk.name = self.name.clone();
        disk.contents = self.contents();
        let shown = |(name, value): &Property| Some((name.clone(), value.clone()?));
        disk.details = self.properties.iter().filter_map(shown).collect();
        disk
    }
}

impl Image for VbkImage {
    fn prepare(&self) -> Result<Progress> {
        let mut store = self.store.borrow_mut();
        let Store::Walking(walk) = &mut *store else { return Ok(Progress::DONE) };
        walk.step(&self.archive, STEP)?;
        let progress = Progress { done: walk.done(), total: walk.total() };
        if walk.is_done() {
            *store = Store::Ready(Rc::new(walk.clone().finish()));
            return Ok(Progress::DONE);
        }
        Ok(progress)
    }

    fn info(&self) -> ImageInfo {
        let (header, snapshot) = (&self.archive.header, &self.archive.snapshot);
        let mut details = alloc::vec![
            ("format version", header.version.to_string()),
            ("block size", header.block_size.to_string()),
            ("snapshot version", snapshot.version.to_string()),
            ("blocks", snapshot.blocks.count.to_string()),
        ];
        details.extend(self.folders.iter().take(64).map(|folder| ("folder", folder.clone())));
        ImageInfo {
            details: details.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
            documents: self.documents.iter().map(|document| document.name.clone()).collect(),
            snapshots: Vec::new(),
            warnings: self.warnings.clone(),
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        self.disks.iter().map(|disk| disk.info(self.archive.header.block_size)).collect()
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        let index = usize::try_from(number).map_err(|_| Error::OutOfRange)?;
        let disk = self.disks.get(index).ok_or(Error::OutOfRange)?;
        let mut map = self.map(&disk.file)?;
        map.refuse_early()?;
        Ok(Box::new(map))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let found = self.documents.iter().find(|document| document.name == name);
        let found = found.ok_or_else(|| Error::Missing(name.to_string()))?;
        document::read_all(&mut self.map(&found.file)?)
    }
}
