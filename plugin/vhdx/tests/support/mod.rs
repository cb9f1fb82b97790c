//! What the integration tests share: tools of other people, files for them, and
//! opening images over memory.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, read_disk};
use fumehood_plugin::simulate::{JournalSource, SimulatedHost};
use fumehood_plugin::{
    Access, CreateOptions, Error, Format, Image, OpenOptions, Result, SourceHandle,
};
use fumehood_vhdx::Vhdx;

/// A directory of its own for one test, removed at the end.
pub struct Bench {
    directory: PathBuf,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let name = format!("fumehood-vhdx-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().into()
    }

    pub fn run(&self, tool: &str, arguments: &[&str]) -> String {
        let output = Command::new(tool).args(arguments).current_dir(&self.directory).output();
        let output = output.unwrap_or_else(|error| {
            panic!("{tool}: {error}: apt-get install qemu-utils libvhdi-utils gzip bzip2")
        });
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{tool} {arguments:?}: {text}");
        text
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.directory.join(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        // Holes stay holes: QEMU looks for them.
        use std::os::unix::fs::FileExt;
        let file = fs::File::create(self.directory.join(name)).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        for (number, chunk) in bytes.chunks(1 << 16).enumerate() {
            if chunk.iter().any(|byte| *byte != 0) {
                file.write_all_at(chunk, (number as u64) << 16).unwrap();
            }
        }
    }

    /// What QEMU reads, after it found nothing wrong (it carries out a dirty log only
    /// where it may repair).
    pub fn qemu_contents(&self, image: &[u8]) -> Vec<u8> {
        self.write("image.vhdx", image);
        self.run("qemu-img", &["check", "-q", "-r", "all", "-f", "vhdx", "image.vhdx"]);
        self.run("qemu-img", &["check", "-q", "-f", "vhdx", "image.vhdx"]);
        self.run("qemu-img", &["convert", "-f", "vhdx", "-O", "raw", "image.vhdx", "image.raw"]);
        self.read("image.raw")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn host() -> Rc<MemoryHost> {
    Rc::new(MemoryHost::new())
}

/// Opens for writing.
pub fn open(source: JournalSource) -> Result<Box<dyn Image>> {
    let options = OpenOptions { access: Access::ReadWrite, ..OpenOptions::read_only() };
    Vhdx::open(Rc::new(source), host(), options)
}

/// Opens for reading.
pub fn open_read(bytes: &[u8]) -> Result<(Box<dyn Image>, SourceHandle)> {
    let source: SourceHandle = Rc::new(MemorySource::new(0, "disk.vhdx", bytes.to_vec()));
    Ok((Vhdx::open(source.clone(), host(), OpenOptions::read_only())?, source))
}

pub fn create(source: JournalSource, options: &CreateOptions) -> Result<Box<dyn Image>> {
    Vhdx::create(Rc::new(source), host(), options.clone())
}

/// Options with settings.
pub fn settings(size: u64, list: &[(&str, &str)]) -> CreateOptions {
    let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    CreateOptions { settings: list.iter().map(own).collect(), ..CreateOptions::new(size) }
}

/// A new image in a source, and a host that writes to it.
pub fn created(options: &CreateOptions, parent: &[u8]) -> (JournalSource, SimulatedHost) {
    let source = JournalSource::new(0, "disk.vhdx", vec![]);
    let image = create(source.clone(), options).unwrap();
    let host = SimulatedHost::new(image, source.clone(), parent.to_vec()).unwrap();
    (source, host)
}

/// A host that writes to an image.
pub fn opened(source: &JournalSource, parent: &[u8]) -> SimulatedHost {
    SimulatedHost::new(open(source.clone()).unwrap(), source.clone(), parent.to_vec()).unwrap()
}

/// All of the disk, opened for reading, in windows of `window` bytes.
pub fn contents(bytes: &[u8], window: u64) -> Result<Vec<u8>> {
    let (image, source) = open_read(bytes)?;
    let size = image.disks()[0].size;
    let mut disk = image.disk(0)?;
    let mut contents = Vec::new();
    while (contents.len() as u64) < size {
        let at = contents.len() as u64;
        let find = |_| Some(source.clone());
        let decode = |_: &_, _: &[u8]| Err(Error::Io("nothing is encoded".into()));
        contents.extend(read_disk(&mut *disk, size, at, window.min(size - at), &find, &decode)?);
    }
    Ok(contents)
}

/// What the plugin's own check finds.
pub fn findings(bytes: &[u8]) -> Vec<fumehood_plugin::Finding> {
    open_read(bytes).unwrap().0.disk(0).unwrap().check(false).unwrap()
}

/// Bytes that differ from sector to sector, none of them zero.
pub fn sample(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| ((at / 512 * 7 + seed) % 255 + 1) as u8).collect()
}
