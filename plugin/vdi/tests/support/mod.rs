//! What the integration tests share: tools that are not ours, opening over memory, and
//! images made by hand.
#![allow(dead_code)]

pub mod writer;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, read_disk};
use fumehood_plugin::{Content, Error, Format, Image, OpenOptions, Result, SourceHandle};
use fumehood_vdi::Vdi;

/// A directory of its own for one test, removed at the end.
pub struct Bench {
    directory: PathBuf,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let own = format!("fumehood-vdi-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(own);
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    pub fn text(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_string()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.directory.join(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.directory.join(name), bytes).unwrap();
    }

    /// What QEMU reads from an image.
    pub fn by_qemu(&self, bytes: &[u8]) -> Vec<u8> {
        self.write("theirs.vdi", bytes);
        let (from, to) = (self.text("theirs.vdi"), self.text("theirs.raw"));
        run("qemu-img", &["convert", "-f", "vdi", "-O", "raw", &from, &to]);
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
    let output = Command::new(tool).args(arguments).output();
    let output = output
        .unwrap_or_else(|_| panic!("{tool} is missing: tests/run installs what the tests need"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Opens an image of this name for reading.
pub fn open_named(name: &str, bytes: &[u8], settings: &[(&str, &str)]) -> Result<Box<dyn Image>> {
    let main: SourceHandle = Rc::new(MemorySource::new(0, name, bytes.to_vec()));
    let settings = settings.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    let options = OpenOptions { settings, ..OpenOptions::read_only() };
    Vdi::open(main, Rc::new(MemoryHost::new()), options)
}

/// Opens an image for reading.
pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    open_named("disk.vdi", bytes, &[])
}

/// All of the disk in `bytes`, asked for in windows of `window` bytes; absent reads as
/// zeroes.
pub fn read_windows(bytes: &[u8], window: u64) -> Result<Vec<u8>> {
    let image = open(bytes)?;
    let size = image.disks()[0].size;
    let main: SourceHandle = Rc::new(MemorySource::new(0, "disk.vdi", bytes.to_vec()));
    let find = |id| (id == 0).then(|| main.clone());
    let decode = |_: &_, _: &[u8]| Err(Error::Io("nothing is encoded".into()));
    let mut disk = image.disk(0)?;
    let mut read = Vec::new();
    while (read.len() as u64) < size {
        let at = read.len() as u64;
        let length = window.min(size - at);
        read.extend(read_disk(&mut *disk, size, at, length, &find, &decode)?);
    }
    Ok(read)
}

/// All of the disk in `bytes`.
pub fn read_all(bytes: &[u8]) -> Result<Vec<u8>> {
    read_windows(bytes, u64::MAX)
}

/// The disk of the chain, from the top down: what is absent is the parent's.
pub fn read_chain(chain: &[&[u8]]) -> Vec<u8> {
    let Some((top, below)) = chain.split_first() else { return Vec::new() };
    let mut disk = read_all(top).unwrap();
    let size = disk.len() as u64;
    let mut under = read_chain(below);
    under.resize(disk.len(), 0);
    let extents = open(top).unwrap().disk(0).unwrap().extents(0, size).unwrap();
    check_answer(&extents, 0, size).unwrap();
    for extent in extents.iter().filter(|extent| extent.content == Content::Absent) {
        let range = extent.offset as usize..extent.end() as usize;
        disk[range.clone()].copy_from_slice(&under[range]);
    }
    disk
}
