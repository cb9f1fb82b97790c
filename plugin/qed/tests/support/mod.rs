//! What the integration tests share: tools that are not ours, and opening over memory.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, read_disk};
use fumehood_plugin::{Error, Format, Image, OpenOptions, Result, SourceHandle};
use fumehood_qed::Qed;

/// A directory of its own for one test, removed at the end.
pub struct Bench {
    directory: PathBuf,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let own = format!("fumehood-qed-{name}-{}", std::process::id());
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
        self.write("theirs.qed", bytes);
        let (from, to) = (self.text("theirs.qed"), self.text("theirs.raw"));
        run("qemu-img", &["convert", "-f", "qed", "-O", "raw", &from, &to]);
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

/// Opens an image for reading.
pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    let main: SourceHandle = Rc::new(MemorySource::new(0, "disk.qed", bytes.to_vec()));
    Qed::open(main, Rc::new(MemoryHost::new()), OpenOptions::read_only())
}

/// All of the disk in `bytes`, asked for in windows of `window` bytes; absent reads as
/// zeroes.
pub fn read_windows(bytes: &[u8], window: u64) -> Result<Vec<u8>> {
    let image = open(bytes)?;
    let size = image.disks()[0].size;
    let main: SourceHandle = Rc::new(MemorySource::new(0, "disk.qed", bytes.to_vec()));
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

pub fn put32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn put64(bytes: &mut [u8], offset: usize, value: u64) {
    bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

pub fn get64(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

/// An image that QEMU makes with these options and then carries out writes on.
pub fn made(bench: &Bench, create: &[&str], writes: &[&str]) -> Vec<u8> {
    let path = bench.text("disk.qed");
    let (last, options) = create.split_last().unwrap();
    let arguments = [&["create", "-q", "-f", "qed"], options, &[&path, last]].concat();
    run("qemu-img", &arguments);
    for write in writes {
        let said = run("qemu-io", &["-f", "qed", "-c", write, &path]);
        assert!(!said.contains("failed"), "{write}: {said}");
    }
    bench.read("disk.qed")
}
