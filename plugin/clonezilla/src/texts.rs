//! The texts of the folder that are shown as documents.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::Result;
use fumehood_plugin::read::read_bytes;

use crate::folder::Folder;
use crate::{layers, plan, sums};

/// The longest text that is shown.
const SHOWN_LIMIT: u64 = 4 << 20;

/// Texts of the image as a whole.
const GENERAL: [&str; 21] = [
    "clonezilla-img",
    plan::ENTRY,
    plan::DISKS,
    plan::FILE_SYSTEMS,
    plan::BLOCKS,
    "blkid.list",
    layers::PHYSICAL,
    layers::LOGICAL,
    layers::LUKS,
    "efi-nvram.dat",
    "Info-img-id.txt",
    "Info-img-size.txt",
    "Info-saved-by-cmd.txt",
    "Info-packages.txt",
    "Info-OS-prober.txt",
    "Info-dmi.txt",
    "Info-hwinfo.txt",
    "Info-lshw.txt",
    "Info-lspci.txt",
    "Info-lsusb.txt",
    "Info-smart.txt",
];
/// Endings of texts about a disk.
const OF_DISK: [&str; 4] = ["-pt.sf", "-pt.parted", "-pt.parted.compact", "-chs.sf"];

/// Texts that are there, and those that are too long.
#[derive(Debug, Default)]
pub struct Texts {
    pub names: Vec<String>,
    /// Name and size.
    pub long: Vec<(String, u64)>,
}

impl Texts {
    /// Looks for the texts of `folder` and of these disks.
    ///
    /// # Errors
    /// As [`Folder::find_text`].
    pub fn look(folder: &Folder, disks: &[String]) -> Result<Self> {
        let mut texts = Self::default();
        let general = GENERAL.into_iter().chain(sums::LISTS.map(|(name, _)| name));
        let of_disks = disks.iter().flat_map(|disk| OF_DISK.map(|end| format!("{disk}{end}")));
        for name in general.map(ToString::to_string).chain(of_disks) {
            match folder.find_text(&name)?.map(|source| source.size()) {
                None => (),
                Some(size) if size > SHOWN_LIMIT => texts.long.push((name, size)),
                Some(_) => texts.names.push(name),
            }
        }
        Ok(texts)
    }

    /// A text that is listed, or `None`.
    ///
    /// # Errors
    /// As [`Folder::find`] and [`read_bytes`].
    pub fn read(&self, folder: &Folder, name: &str) -> Result<Option<Vec<u8>>> {
        if !self.names.iter().any(|own| own == name) {
            return Ok(None);
        }
        let source = folder.find(name)?;
        source.map(|source| read_bytes(&*source, 0, source.size(), "text")).transpose()
    }
}
