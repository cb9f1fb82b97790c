//! Layers between partitions and file systems: LVM and LUKS. What is saved of them are the
//! volumes on top; a partition below has no file of its own.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::Result;

use crate::folder::{Folder, TEXT_LIMIT};
use crate::names::{file_name, shown};

/// Logical volumes, a device and what `file` says of it a line.
pub const LOGICAL: &str = "lvm_logv.list";
/// Physical volumes: group, device, UUID.
pub const PHYSICAL: &str = "lvm_vg_dev.list";
/// Opened partitions: device, UUID, mapped name.
pub const LUKS: &str = "luks-dev.list";

/// What the texts say of layers.
#[derive(Debug, Default)]
pub struct Layers {
    /// Devices that hold a layer and nothing that was saved, and what for.
    pub below: BTreeMap<String, String>,
    /// Devices on top, in order. A physical volume may lie on what LUKS opened, so that one
    /// of these is below, too.
    pub volumes: Vec<String>,
}

impl Layers {
    /// What the texts in `folder` say.
    ///
    /// # Errors
    /// As [`Folder::text`].
    pub fn read(folder: &Folder) -> Result<Self> {
        let mut layers = Self::default();
        let text = |name| folder.text(name, TEXT_LIMIT).map(Option::unwrap_or_default);
        layers.read_luks(&text(LUKS)?);
        layers.read_physical(&text(PHYSICAL)?);
        let logical = text(LOGICAL)?;
        let devices = logical.lines().filter_map(|line| line.split_whitespace().next());
        devices.for_each(|device| layers.volumes.extend(file_name(device)));
        Ok(layers)
    }

    fn read_luks(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (device, opened) = (words.next().and_then(file_name), words.nth(1));
            if let (Some(device), Some(opened)) = (device, opened.and_then(file_name)) {
                self.below.insert(device, format!("encrypted by LUKS; saved opened, as {opened}"));
                self.volumes.push(opened);
            }
        }
    }

    fn read_physical(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(group), Some(device)) = (words.next(), words.next().and_then(file_name)) {
                let what = format!("physical volume of LVM, group {}", shown(group));
                self.below.insert(device, what);
            }
        }
    }
}
