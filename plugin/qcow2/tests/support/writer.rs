//! Opening images for writing over memory and over sparse files, and a workload that
//! a model, this plugin and QEMU carry out alike.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use fumehood_plugin::memory::MemoryHost;
use fumehood_plugin::simulate::{JournalSource, Random, SimulatedHost};
use fumehood_plugin::{
    Access, CreateOptions, Error, Format, Image, OpenOptions, Result, Source, SourceHandle,
};
use fumehood_qcow2::Qcow2;

/// Opens an image for writing.
pub fn open_source(source: SourceHandle) -> Result<Box<dyn Image>> {
    let options = OpenOptions { access: Access::ReadWrite, ..OpenOptions::read_only() };
    Qcow2::open(source, Rc::new(MemoryHost::new()), options)
}

/// A host that writes to the image in `bytes`; `parent` shows where it has nothing.
pub fn open_host(bytes: Vec<u8>, parent: &[u8]) -> (SimulatedHost, JournalSource) {
    let source = JournalSource::new(0, "disk.qcow2", bytes);
    let image = open_source(Rc::new(source.clone())).unwrap();
    let host = SimulatedHost::new(image, source.clone(), parent.to_vec()).unwrap();
    let decoder = Box::new(|encoded: &_, stored: &[u8]| super::decode(encoded, stored));
    (host.with_decoder(decoder), source)
}

/// Options from text as `qemu-img create -o` takes it.
pub fn options(size: u64, settings: &str) -> CreateOptions {
    let settings = settings.split(',').filter_map(|setting| setting.split_once('='));
    let settings = settings.map(|(name, value)| (name.into(), value.into())).collect();
    CreateOptions { settings, ..CreateOptions::new(size) }
}

/// A new image in `source`.
pub fn create(source: SourceHandle, options: CreateOptions) -> Result<Box<dyn Image>> {
    Qcow2::create(source, Rc::new(MemoryHost::new()), options)
}

/// The bytes of a new image that was closed.
pub fn created(options: CreateOptions) -> Vec<u8> {
    let source = JournalSource::new(0, "disk.qcow2", vec![]);
    let image = create(Rc::new(source.clone()), options).unwrap();
    image.disk(0).unwrap().flush().unwrap();
    image.close().unwrap();
    source.bytes()
}

/// One step of a workload: a fill byte, or zeroes.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub offset: u64,
    pub length: u64,
    pub fill: Option<u8>,
    pub drop: bool,
    pub flush: bool,
}

/// `count` steps over a disk of this size.
pub fn steps(seed: u64, count: usize, disk_size: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let step = |_| {
        let sectors = disk_size / 512;
        let longest = [8, 64, sectors / 8, sectors / 3][random.below(4) as usize].max(1);
        let count = 1 + random.below(longest.min(sectors));
        let first = random.below(sectors - count + 1);
        Step {
            offset: first * 512,
            length: count * 512,
            fill: (!random.one_in(4)).then(|| random.below(255) as u8 + 1),
            drop: random.one_in(2),
            flush: random.one_in(6),
        }
    };
    (0..count).map(step).collect()
}

/// Carries out the steps on an image, and on a model of its disk.
pub fn carry_out(host: &mut SimulatedHost, model: &mut [u8], steps: &[Step]) -> Result<()> {
    for step in steps {
        let range = step.offset as usize..(step.offset + step.length) as usize;
        match step.fill {
            Some(fill) => host.write(step.offset, &vec![fill; step.length as usize])?,
            None => host.zero(step.offset, step.length, step.drop)?,
        }
        model[range].fill(step.fill.unwrap_or(0));
        if step.flush {
            host.flush()?;
        }
    }
    Ok(())
}

/// The steps as commands of `qemu-io`.
pub fn commands(steps: &[Step]) -> Vec<String> {
    let command = |step: &Step| match (step.fill, step.drop) {
        (Some(fill), _) => format!("write -P {fill} {} {}", step.offset, step.length),
        (None, true) => format!("write -z -u {} {}", step.offset, step.length),
        (None, false) => format!("write -z {} {}", step.offset, step.length),
    };
    steps.iter().map(command).collect()
}

/// A source over a sparse file, for images that do not fit in memory.
pub struct SparseFile(File);

impl SparseFile {
    /// A new, empty one.
    pub fn create(path: &Path) -> Self {
        Self(File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap())
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::Io(error.to_string())
}

impl Source for SparseFile {
    fn id(&self) -> u32 {
        0
    }
    fn name(&self) -> String {
        "sparse".into()
    }
    fn size(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, offset).map_err(failed)?;
        Ok(bytes)
    }
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.write_all_at(bytes, offset).map_err(failed)
    }
    fn resize(&self, size: u64) -> Result<()> {
        self.0.set_len(size).map_err(failed)
    }
    fn discard(&self, _: u64, _: u64) -> Result<bool> {
        Ok(false)
    }
    fn zero(&self, offset: u64, length: u64) -> Result<()> {
        self.write(offset, &vec![0; length as usize])
    }
}
