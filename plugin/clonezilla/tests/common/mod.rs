//! What the integration tests share: folders in memory, a host that notes what it is asked
//! for, and tools that are not ours.
#![allow(dead_code)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::rc::Rc;

use fumehood_clonezilla::Clonezilla;
use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, read_disk};
use fumehood_plugin::{
    Access, Error, Format, Host, Image, Level, OpenOptions, Result, SourceHandle,
};
use fumehood_test_support::{Bench, not_encoded, prepare};

/// A host over a folder in memory, which notes the names that it is asked for.
pub struct FolderHost {
    files: MemoryHost,
    pub asked: RefCell<Vec<String>>,
    /// Fails once when it is asked for this.
    pub fails: RefCell<Option<String>>,
    /// Never granted.
    pub withheld: BTreeSet<String>,
}

impl Host for FolderHost {
    fn open(&self, reference: &str, access: Access) -> Result<SourceHandle> {
        self.asked.borrow_mut().push(reference.to_string());
        if self.withheld.contains(reference) {
            return Err(Error::NotGranted(reference.to_string()));
        }
        if self.fails.borrow_mut().take_if(|name| name == reference).is_some() {
            return Err(Error::Io("the network is away".into()));
        }
        self.files.open(reference, access)
    }
    fn declare(&self, reference: &str) -> Result<u32> {
        self.files.declare(reference)
    }
    fn keep_secret(&self, key: &[u8]) -> Result<u32> {
        self.files.keep_secret(key)
    }
    fn log(&self, level: Level, message: &str) {
        self.files.log(level, message);
    }
}

/// A folder in memory.
#[derive(Clone, Default)]
pub struct Folder {
    pub files: BTreeMap<String, Vec<u8>>,
    pub withheld: BTreeSet<String>,
}

impl Folder {
    /// One with this entry.
    pub fn new(parts: &str) -> Self {
        Self::default().with("parts", parts.as_bytes())
    }

    pub fn with(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.insert(name.into(), bytes.as_ref().to_vec());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        assert!(self.files.remove(name).is_some(), "{name}");
        self
    }

    pub fn host(&self) -> Rc<FolderHost> {
        let files = MemoryHost::new();
        self.files.iter().for_each(|(name, bytes)| files.grant(name, bytes.clone()));
        let withheld = self.withheld.clone();
        let (asked, fails) = (RefCell::default(), RefCell::default());
        Rc::new(FolderHost { files, asked, fails, withheld })
    }

    pub fn main(&self) -> SourceHandle {
        let parts = self.files.get("parts").cloned().unwrap_or_default();
        Rc::new(MemorySource::new(0, "parts", parts))
    }

    /// Opens it and prepares it to the end.
    pub fn open_by(&self, host: Rc<FolderHost>) -> Result<Opened> {
        let image = Clonezilla::open(self.main(), host.clone(), OpenOptions::read_only())?;
        prepare(&*image)?;
        Ok(Opened { image, host })
    }

    pub fn open(&self) -> Result<Opened> {
        self.open_by(self.host())
    }

    /// The error of opening, which must fail.
    pub fn refusal(&self) -> String {
        self.open().err().expect("it opened").to_string()
    }
}

/// An opened folder.
pub struct Opened {
    pub image: Box<dyn Image>,
    pub host: Rc<FolderHost>,
}

impl Opened {
    /// The names of the disks.
    pub fn names(&self) -> Vec<String> {
        self.image.disks().into_iter().map(|disk| disk.name).collect()
    }

    /// All of the disk with this name.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let number = self.names().iter().position(|own| own == name).expect(name);
        let size = self.image.disks()[number].size;
        let mut disk = self.image.disk(number as u32).unwrap();
        for at in [0, size / 2, size - 1] {
            check_answer(&disk.extents(at, 1).unwrap(), at, size).unwrap();
            check_answer(&disk.extents(at, u64::MAX).unwrap(), at, size).unwrap();
        }
        assert_eq!(disk.extents(size, 1), Err(Error::OutOfRange));
        let find = |id| self.host.files.source(id).map(|source| Rc::new(source) as SourceHandle);
        read_disk(&mut *disk, size, 0, size, &find, &not_encoded).unwrap()
    }

    /// The details of this name.
    pub fn details(&self, name: &str) -> Vec<String> {
        let details = self.image.info().details.into_iter();
        details.filter(|(own, _)| own == name).map(|(_, value)| value).collect()
    }

    pub fn warnings(&self) -> String {
        self.image.info().warnings.join("\n")
    }
}

/// Bytes that do not repeat.
pub fn noise(length: usize, seed: u32) -> Vec<u8> {
    let byte = |at: u32| (at.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13) as u8;
    (0..length as u32).map(byte).collect()
}

/// Runs a line of shell in the directory, which must succeed.
pub fn shell(bench: &Bench, line: &str) {
    bench.run("bash", &["-e", "-o", "pipefail", "-c", line]);
}

/// The files of a folder in the directory.
pub fn folder(bench: &Bench, name: &str) -> Folder {
    let mut folder = Folder::default();
    for entry in fs::read_dir(bench.path(name)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        folder = folder.with(&name, fs::read(entry.path()).unwrap());
    }
    folder
}
