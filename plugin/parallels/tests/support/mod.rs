//! What the tests of this format share: bundles in memory, and images built by hand from
//! the format's description.
#![allow(dead_code)]

use std::collections::BTreeMap;

use fumehood_parallels::Parallels;
use fumehood_plugin::{Glimpse, Image, OpenOptions, Result};
use fumehood_test_support::{Sources, not_encoded};

/// The state that is written to, by convention.
pub const TOP: &str = "{5fbaabe3-6958-40ff-92a7-860e329aab41}";
pub const NONE: &str = "{00000000-0000-0000-0000-000000000000}";

/// Files by name; the main one first.
pub struct Set(Sources);

impl Set {
    pub fn new(name: &str, main: &[u8], others: &[(String, Vec<u8>)]) -> Self {
        Self(Sources::new(name, main).beside(others))
    }

    pub fn single(bytes: &[u8]) -> Self {
        Self::new("disk.hds", bytes, &[])
    }

    pub fn open_state(&self, snapshot: Option<&str>) -> Result<Box<dyn Image>> {
        let snapshot = snapshot.map(str::to_string);
        self.0.open::<Parallels>(OpenOptions { snapshot, ..OpenOptions::read_only() })
    }

    pub fn open(&self) -> Result<Box<dyn Image>> {
        self.open_state(None)
    }

    /// The whole disk in a state; absent reads as zeroes.
    pub fn contents(&self, snapshot: Option<&str>) -> Result<Vec<u8>> {
        self.0.read(&*self.open_state(snapshot)?, 0, 0, u64::MAX, &not_encoded)
    }

    /// Opens and maps everything as a host would; answers whether it opened.
    pub fn survive(&self) -> bool {
        let Ok(image) = self.open() else { return false };
        let info = image.info();
        for name in &info.documents {
            image.document(name).unwrap();
        }
        for snapshot in &info.snapshots {
            let _ = self.open_state(Some(&snapshot.id));
        }
        let size = image.disks()[0].size;
        let mut disk = image.disk(0).unwrap();
        let _ = self.0.walk(&mut *disk, size, 1 << 24, 100);
        assert!(disk.check(false).unwrap().len() <= 1000);
        true
    }
}

/// An image of either generation, built by hand.
pub struct Hds {
    pub second: bool,
    /// Sectors a cluster.
    pub tracks: u32,
    /// Sectors of the disk.
    pub sectors: u64,
    /// What clusters hold.
    pub clusters: BTreeMap<u32, Vec<u8>>,
}

impl Hds {
    pub fn new(second: bool, tracks: u32, sectors: u64) -> Self {
        Self { second, tracks, sectors, clusters: BTreeMap::new() }
    }

    /// Fills a cluster with a byte.
    pub fn fill(mut self, cluster: u32, byte: u8) -> Self {
        self.clusters.insert(cluster, vec![byte; self.tracks as usize * 512]);
        self
    }

    pub fn entries(&self) -> u32 {
        self.sectors.div_ceil(self.tracks.into()) as u32
    }

    /// First sector of the data.
    pub fn data_offset(&self) -> u32 {
        let table_end = (64 + 4 * self.entries()).div_ceil(512);
        if self.second { table_end.next_multiple_of(self.tracks) } else { table_end }
    }

    pub fn build(&self) -> Vec<u8> {
        let magic: &[u8; 16] = if self.second { b"WithouFreSpacExt" } else { b"WithoutFreeSpace" };
        let mut bytes = magic.to_vec();
        for word in [2, 16, 1, self.tracks, self.entries()] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.extend(self.sectors.to_le_bytes());
        for word in [0x312e_3276, self.data_offset(), 0, 0, 0] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.resize(self.data_offset() as usize * 512, 0);
        for (cluster, data) in &self.clusters {
            let sector = bytes.len() as u32 / 512;
            let entry = if self.second { sector / self.tracks } else { sector };
            let at = 64 + 4 * *cluster as usize;
            bytes[at..at + 4].copy_from_slice(&entry.to_le_bytes());
            bytes.extend(data);
        }
        bytes
    }
}

/// A storage of a descriptor: first sector, end, cluster size, images.
pub struct Storage<'a> {
    pub range: (u64, u64),
    pub block: u64,
    /// State, type, file.
    pub images: Vec<(&'a str, &'a str, &'a str)>,
}

/// A descriptor's text.
pub fn descriptor(sectors: u64, storages: &[Storage], shots: &[(&str, &str)]) -> String {
    let mut text = format!(
        "<?xml version='1.0' encoding='UTF-8'?>\n<Parallels_disk_image Version=\"1.0\">\n\
         <Disk_Parameters><Disk_size>{sectors}</Disk_size><Padding>0</Padding>\
         <Name>a disk</Name></Disk_Parameters>\n<StorageData>\n"
    );
    for storage in storages {
        let ((start, end), block) = (storage.range, storage.block);
        text += &format!(
            "<Storage><Start>{start}</Start><End>{end}</End><Blocksize>{block}</Blocksize>\n"
        );
        for (guid, kind, file) in &storage.images {
            text += &format!(
                "<Image><GUID>{guid}</GUID><Type>{kind}</Type><File>{file}</File></Image>\n"
            );
        }
        text += "</Storage>\n";
    }
    text += "</StorageData>\n<Snapshots>\n";
    for (guid, parent) in shots {
        text += &format!("<Shot><GUID>{guid}</GUID><ParentGUID>{parent}</ParentGUID></Shot>\n");
    }
    text + "</Snapshots>\n</Parallels_disk_image>\n"
}

pub fn glimpse(bytes: &[u8]) -> Glimpse {
    let head = bytes[..bytes.len().min(65536)].to_vec();
    let tail = bytes[bytes.len().saturating_sub(65536)..].to_vec();
    Glimpse { name: "x".into(), size: bytes.len() as u64, head, tail }
}
