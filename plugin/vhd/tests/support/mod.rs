//! What the integration tests share: tools that are not ours, and opening over memory.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, read_disk};
use fumehood_plugin::{Error, Format, Image, OpenOptions, Result, SourceHandle};
use fumehood_vhd::Vhd;

/// What children in these tests were made on.
pub const PARENT_ID: &str = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff";

/// A directory of its own for one test, removed at the end.
pub struct Bench {
    directory: PathBuf,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let own = format!("fumehood-vhd-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(own);
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs a tool that must succeed, and gives what it says.
pub fn run(tool: &str, package: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .output()
        .unwrap_or_else(|_| panic!("{tool} is missing: apt-get install {package}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn qemu_img(arguments: &[&str]) -> String {
    run("qemu-img", "qemu-utils", arguments)
}

pub fn qemu_io(arguments: &[&str]) -> String {
    run("qemu-io", "qemu-utils", arguments)
}

pub fn vhdiinfo(path: &Path) -> String {
    run("vhdiinfo", "libvhdi-utils", &[path.to_str().unwrap()])
}

/// Opens `bytes` for reading.
pub fn open(bytes: &[u8], settings: &[(&str, &str)]) -> Result<Box<dyn Image>> {
    let main: SourceHandle = Rc::new(MemorySource::new(0, "disk.vhd", bytes.to_vec()));
    let settings = settings.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    let options = OpenOptions { settings, ..OpenOptions::read_only() };
    Vhd::open(main, Rc::new(MemoryHost::new()), options)
}

/// All of the disk in `bytes`; absent reads as zeroes.
pub fn read_all(bytes: &[u8]) -> Result<Vec<u8>> {
    read_range(bytes, 0, u64::MAX)
}

/// A range of the disk in `bytes`, up to its end.
pub fn read_range(bytes: &[u8], offset: u64, length: u64) -> Result<Vec<u8>> {
    let image = open(bytes, &[])?;
    let size = image.disks()[0].size;
    let main: SourceHandle = Rc::new(MemorySource::new(0, "disk.vhd", bytes.to_vec()));
    let find = |id| (id == 0).then(|| main.clone());
    let decode = |_: &_, _: &[u8]| Err(Error::Io("nothing is encoded".into()));
    let length = length.min(size - offset);
    read_disk(&mut *image.disk(0)?, size, offset, length, &find, &decode)
}
