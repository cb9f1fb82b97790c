//! What the integration tests share: tools that are not ours, sets of files in memory,
//! and reading disks as the host does.
#![allow(dead_code)]

pub mod generate;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, read_disk};
use fumehood_plugin::{
    Codec, Content, Disk, Encoded, Error, Format, Image, OpenOptions, Result, SourceHandle,
};
use fumehood_vmdk::Vmdk;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

/// A directory of its own for one test, removed at the end.
pub struct Bench {
    directory: PathBuf,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let own = format!("fumehood-vmdk-{name}-{}", std::process::id());
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

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// The file `main` as an image, and all others in the folder beside it.
    pub fn set(&self, main: &str) -> Set {
        Set::load(&self.directory, main)
    }

    /// What QEMU reads from an image.
    pub fn by_qemu(&self, main: &str) -> Vec<u8> {
        let to = self.text("theirs.raw");
        qemu_img(&["convert", "-f", "vmdk", "-O", "raw", &self.text(main), &to]);
        let disk = self.read("theirs.raw");
        fs::remove_file(to).unwrap();
        disk
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
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn qemu_img(arguments: &[&str]) -> String {
    run("qemu-img", arguments)
}

/// Has qemu-io carry out commands on a VMDK image.
pub fn qemu_io(path: &str, commands: &[&str]) {
    let mut arguments = vec!["-f", "vmdk"];
    commands.iter().for_each(|command| arguments.extend(["-c", command]));
    arguments.push(path);
    let told = run("qemu-io", &arguments);
    assert!(!told.contains("failed"), "{told}");
}

/// An image over memory, and the files beside it.
pub struct Set {
    pub main: MemorySource,
    pub host: Rc<MemoryHost>,
}

impl Set {
    pub fn new(main: &[u8], others: &[(&str, &[u8])]) -> Self {
        let host = MemoryHost::new();
        others.iter().for_each(|(name, bytes)| host.grant(name, bytes.to_vec()));
        Self { main: MemorySource::new(0, "disk.vmdk", main.to_vec()), host: Rc::new(host) }
    }

    pub fn single(main: &[u8]) -> Self {
        Self::new(main, &[])
    }

    pub fn load(folder: &Path, main: &str) -> Self {
        let host = MemoryHost::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name != main && path.is_file() {
                host.grant(name, fs::read(&path).unwrap());
            }
        }
        let main = MemorySource::new(0, main, fs::read(folder.join(main)).unwrap());
        Self { main, host: Rc::new(host) }
    }

    pub fn open(&self) -> Result<Box<dyn Image>> {
        Vmdk::open(Rc::new(self.main.clone()), self.host.clone(), OpenOptions::read_only())
    }

    pub fn refusal(&self) -> Error {
        self.open().err().expect("it opened")
    }

    pub fn source(&self, id: u32) -> Option<SourceHandle> {
        let source = if id == 0 { Some(self.main.clone()) } else { self.host.source(id) };
        source.map(|source| Rc::new(source) as SourceHandle)
    }

    pub fn read_range(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let image = self.open()?;
        let size = image.disks()[0].size;
        let length = length.min(size - offset);
        let sources = |id| self.source(id);
        read_disk(&mut *image.disk(0)?, size, offset, length, &sources, &decode)
    }

    /// All of the disk; absent reads as zeroes.
    pub fn read(&self) -> Result<Vec<u8>> {
        self.read_range(0, u64::MAX)
    }

    pub fn size(&self) -> u64 {
        self.open().unwrap().disks()[0].size
    }

    pub fn check(&self) -> Vec<String> {
        let findings = self.open().unwrap().disk(0).unwrap().check(false).unwrap();
        findings
            .into_iter()
            .map(|finding| format!("{}: {}", finding.offset, finding.what))
            .collect()
    }

    pub fn warnings(&self) -> Vec<String> {
        self.open().unwrap().info().warnings
    }

    /// Text of the damage at an offset.
    pub fn damage(&self, offset: u64) -> Option<String> {
        let image = self.open().unwrap();
        let size = image.disks()[0].size;
        let extents = image.disk(0).unwrap().extents(offset, 1).unwrap();
        check_answer(&extents, offset, size).unwrap();
        match &extents[0].content {
            Content::Damaged(what) => Some(what.clone()),
            _ => None,
        }
    }

    /// Opens and maps everything, as a host would with a hostile image: whatever comes
    /// out must keep the contract. Answers whether it opened.
    pub fn survive(&self) -> bool {
        let Ok(image) = self.open() else { return false };
        for name in image.info().documents {
            let _ = image.document(&name);
        }
        let size = image.disks()[0].size;
        assert!(image.disks()[0].granularity.is_power_of_two());
        let mut disk = image.disk(0).unwrap();
        let mut at = 0;
        for _ in 0..50 {
            at = self.answer(&mut *disk, at, size);
            if at >= size {
                break;
            }
        }
        self.answer(&mut *disk, size - 1, size);
        self.answer(&mut *disk, size / 2, size);
        assert!(disk.extents(size, 1).is_err());
        let _ = disk.check(false);
        let _ = self.read_range(0, size.min(256 << 10));
        true
    }

    /// Checks one answer; says where it ends.
    fn answer(&self, disk: &mut dyn Disk, at: u64, size: u64) -> u64 {
        let extents = match disk.extents(at, 64 << 20) {
            Ok(extents) => extents,
            Err(Error::OutOfRange) => panic!("{at} is inside of {size}"),
            Err(_) => return at.saturating_add(64 << 10).min(size),
        };
        check_answer(&extents, at, size).unwrap();
        assert!(extents.len() <= 65536);
        for extent in &extents {
            let (source, end) = match &extent.content {
                Content::Stored(stored) => (stored.source, stored.offset + extent.length),
                Content::Encoded(encoded) => {
                    assert!(encoded.decoded_length.max(encoded.stored_length) <= 64 << 20);
                    (encoded.source, encoded.offset + u64::from(encoded.stored_length))
                }
                _ => continue,
            };
            assert!(end <= self.source(source).unwrap().size(), "{extent:?}");
        }
        extents.last().unwrap().end()
    }
}

fn decode(encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
    assert_eq!(encoded.codec, Codec::Zlib);
    let length = encoded.decoded_length as usize;
    let block = decompress_to_vec_zlib_with_limit(stored, length);
    let block = block.map_err(|_| Error::Io(format!("bad zlib at {}", encoded.offset)))?;
    if block.len() != length {
        return Err(Error::Io(format!("{} bytes, not {length}", block.len())));
    }
    Ok(block)
}

/// Contents that no codec treats alike: zeroes, noise, text.
pub fn sample(length: usize) -> Vec<u8> {
    let mut random = fumehood_plugin::simulate::Random::new(77);
    let mut bytes = vec![0; length / 4];
    bytes.extend((0..length / 3).map(|_| random.next_word() as u8));
    let text = (0u32..).flat_map(|number| format!("line {number}\n").into_bytes());
    let rest = length - bytes.len();
    bytes.extend(text.take(rest));
    bytes
}
