//! What the tests share: bundles in memory, images built by hand from the format's
//! description, tools that are not ours.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use fumehood_parallels::Parallels;
use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, read_disk};
use fumehood_plugin::{Content, Error, Format, Glimpse, Image, OpenOptions, Result, SourceHandle};

/// The state that is written to, by convention.
pub const TOP: &str = "{5fbaabe3-6958-40ff-92a7-860e329aab41}";
pub const NONE: &str = "{00000000-0000-0000-0000-000000000000}";

/// Files by name; the main one first.
pub struct Set {
    main: MemorySource,
    host: Rc<MemoryHost>,
}

impl Set {
    pub fn new(name: &str, main: &[u8], others: &[(String, Vec<u8>)]) -> Self {
        let host = MemoryHost::new();
        for (name, bytes) in others {
            host.grant(name, bytes.clone());
        }
        Self { main: MemorySource::new(0, name, main.to_vec()), host: Rc::new(host) }
    }

    pub fn single(bytes: &[u8]) -> Self {
        Self::new("disk.hds", bytes, &[])
    }

    pub fn open_state(&self, snapshot: Option<&str>) -> Result<Box<dyn Image>> {
        let snapshot = snapshot.map(str::to_string);
        let options = OpenOptions { snapshot, ..OpenOptions::read_only() };
        Parallels::open(Rc::new(self.main.clone()), self.host.clone(), options)
    }

    pub fn open(&self) -> Result<Box<dyn Image>> {
        self.open_state(None)
    }

    pub fn source(&self, id: u32) -> Option<SourceHandle> {
        let source = if id == 0 { Some(self.main.clone()) } else { self.host.source(id) };
        source.map(|source| Rc::new(source) as SourceHandle)
    }

    /// The whole disk in a state; absent reads as zeroes.
    pub fn contents(&self, snapshot: Option<&str>) -> Result<Vec<u8>> {
        let image = self.open_state(snapshot)?;
        let size = image.disks()[0].size;
        let decode = |_: &_, _: &[u8]| Err(Error::Io("nothing is encoded".into()));
        read_disk(&mut *image.disk(0)?, size, 0, size, &|id| self.source(id), &decode)
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
        let mut at = 0;
        for _ in 0..100 {
            if at >= size {
                break;
            }
            let Ok(extents) = disk.extents(at, 1 << 24) else { break };
            check_answer(&extents, at, size).unwrap();
            for extent in &extents {
                if let Content::Stored(stored) = extent.content {
                    let end = stored.offset + extent.length;
                    assert!(end <= self.source(stored.source).unwrap().size());
                }
            }
            at = extents.last().unwrap().end();
        }
        assert!(disk.extents(size, 1).is_err());
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

/// A directory of its own for one test, removed at the end.
pub struct Bench {
    directory: PathBuf,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let own = format!("fumehood-parallels-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(own);
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_string()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// What QEMU reads from an image.
    pub fn by_qemu(&self, bytes: &[u8]) -> Vec<u8> {
        fs::write(self.path("theirs.hds"), bytes).unwrap();
        let (from, to) = (self.path("theirs.hds"), self.path("theirs.raw"));
        run("qemu-img", &["convert", "-f", "parallels", "-O", "raw", &from, &to]);
        self.read("theirs.raw")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs a tool that must succeed, and gives what it says.
pub fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .output()
        .unwrap_or_else(|_| panic!("{tool} is missing: tests/run installs what the tests need"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {said}{error}");
    said
}
