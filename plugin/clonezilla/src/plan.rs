//! What was to be saved, by the folder's texts: the entry names the partitions, others say
//! what they are.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, Source};

use crate::devices::{Device, Devices};
use crate::folder::{Folder, TEXT_LIMIT, text_of};
use crate::layers::Layers;
use crate::names::{disk_of, file_name, shown};

/// The file by which a folder is opened: every image has it.
pub const ENTRY: &str = "parts";
/// Names the disks, where whole ones were saved.
pub const DISKS: &str = "disk";
/// Is there when the other files were written through eCryptfs.
pub const ENCRYPTED: &str = "ecryptfs.info";
/// Devices and their file systems, as Clonezilla found them.
pub const FILE_SYSTEMS: &str = "dev-fs.list";
/// Devices, as `lsblk` shows them.
pub const BLOCKS: &str = "blkdev.list";

/// Partitions are far fewer, and a host opens no more.
const PARTITION_LIMIT: usize = 256;
/// Disks in one image.
const DISK_LIMIT: usize = 64;

/// A partition or volume that may have a file.
#[derive(Debug)]
pub struct Planned {
    /// As its files are called.
    pub name: String,
    pub device: Device,
    /// Its being there was not stated, so its being missing is no harm.
    pub guessed: bool,
}

/// What was to be saved.
#[derive(Debug, Default)]
pub struct Plan {
    pub partitions: Vec<Planned>,
    pub disks: Vec<String>,
    pub details: Vec<(String, String)>,
}

impl Plan {
    /// Reads the texts of `folder`; `main` is one of its files.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an encrypted image, [`Error::Missing`] without an entry,
    /// [`Error::Corrupt`] for an entry that names no partitions.
    pub fn read(main: &dyn Source, folder: &Folder) -> Result<Self> {
        if folder.find(ENCRYPTED).is_ok_and(|found| found.is_some()) {
            return Err(Error::Unsupported(format!(
                "{ENCRYPTED} says that this image is encrypted by eCryptfs; decrypt it with \
                 ocs-decrypt-img, or open the folder that a mounted eCryptfs shows"
            )));
        }
        let text = match main.name() == ENTRY {
            true => text_of(main, TEXT_LIMIT)?,
            false => {
                let entry = folder.find(ENTRY)?;
                text_of(&*entry.ok_or_else(|| Error::Missing(ENTRY.into()))?, TEXT_LIMIT)?
            }
        };
        let stated = devices_in(text.as_bytes())?;
        let mut plan = Self { disks: disks(folder, &stated)?, ..Self::default() };
        let devices = plan.read_devices(folder)?;
        plan.add_partitions(&stated, &Layers::read(folder)?, &devices)?;
        Ok(plan)
    }

    /// What is known of devices, and notes what is known of disks.
    fn read_devices(&mut self, folder: &Folder) -> Result<Devices> {
        let mut devices = Devices::default();
        let text = |name: &str| folder.text(name, TEXT_LIMIT).map(Option::unwrap_or_default);
        devices.read_file_systems(&text(FILE_SYSTEMS)?);
        devices.read_blocks(&text(BLOCKS)?);
        for disk in &self.disks {
            devices.read_parted(disk, &text(&format!("{disk}-pt.parted"))?);
            let table = devices.read_table(&text(&format!("{disk}-pt.sf"))?);
            let facts = [table.label, table.identity].into_iter().flatten();
            let facts: Vec<String> = facts.collect();
            if !facts.is_empty() {
                self.details.push((format!("partition table of {disk}"), facts.join(", ")));
            }
        }
        Ok(devices)
    }

    fn add_partitions(
        &mut self,
        stated: &[String],
        layers: &Layers,
        devices: &Devices,
    ) -> Result<()> {
        let mut seen = BTreeSet::new();
        let named = stated.iter().chain(&layers.volumes).map(|name| (name, false));
        for (name, guessed) in named.chain(devices.swaps().map(|name| (name, true))) {
            if !seen.insert(name) {
                continue;
            }
            let device = devices.get(name);
            if let Some(layer) = layers.below.get(name) {
                self.details.push((name.clone(), format!("{layer}, which has no disk here")));
                continue;
            }
            if self.partitions.len() == PARTITION_LIMIT && guessed {
                break;
            }
            if self.partitions.len() == PARTITION_LIMIT {
                let what = format!("more than {PARTITION_LIMIT} partitions in one image");
                return Err(Error::Unsupported(what));
            }
            self.partitions.push(Planned { name: name.clone(), device, guessed });
        }
        Ok(())
    }
}

/// The partitions that an entry names, as their files are called.
///
/// # Errors
/// [`Error::Corrupt`] where it names none, or is no list of devices.
pub fn devices_in(text: &[u8]) -> Result<Vec<String>> {
    let corrupt = |offset: usize, found: &str| {
        let found = shown(found);
        let what = format!("expected names of partitions such as sda1, found {found:?}");
        Error::corrupt(offset as u64, what)
    };
    let text = core::str::from_utf8(text)
        .map_err(|error| corrupt(error.valid_up_to(), "bytes that are no text"))?;
    let mut names = Vec::new();
    for word in text.split_ascii_whitespace() {
        let offset = word.as_ptr().addr() - text.as_ptr().addr();
        let name = file_name(word)
            .filter(|name| name.starts_with(|letter: char| letter.is_ascii_alphabetic()));
        names.push(name.ok_or_else(|| corrupt(offset, word))?);
        if names.len() > PARTITION_LIMIT {
            return Err(corrupt(offset, "more of them than an image has"));
        }
    }
    match names.is_empty() {
        true => Err(corrupt(0, "nothing")),
        false => Ok(names),
    }
}

/// The disks that were saved, or that the saved partitions lie on.
fn disks(folder: &Folder, partitions: &[String]) -> Result<Vec<String>> {
    let text = folder.text(DISKS, TEXT_LIMIT)?.unwrap_or_default();
    let stated = text.split_whitespace().filter_map(file_name);
    let others = partitions.iter().map(|name| disk_of(name).to_string());
    let mut seen = BTreeSet::new();
    let disks = stated.chain(others).filter(|disk| seen.insert(disk.clone()));
    Ok(disks.take(DISK_LIMIT).collect())
}
