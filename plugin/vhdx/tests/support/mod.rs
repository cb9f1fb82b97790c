//! What the integration tests share: tools of other people, files for them, and
//! opening images over memory.
#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use fumehood_plugin::memory::MemoryHost;
use fumehood_plugin::simulate::{JournalSource, SimulatedHost};
use fumehood_plugin::{Access, CreateOptions, Format, Image, OpenOptions, Result};
use fumehood_test_support::{Bench, Sources, not_encoded};
use fumehood_vhdx::Vhdx;

/// Writes a file where holes stay holes: QEMU looks for them.
pub fn write_sparse(bench: &Bench, name: &str, bytes: &[u8]) {
    let file = fs::File::create(bench.path(name)).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (number, chunk) in bytes.chunks(1 << 16).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            file.write_all_at(chunk, (number as u64) << 16).unwrap();
        }
    }
}

/// What QEMU reads, after it found nothing wrong (it carries out a dirty log only where it
/// may repair).
pub fn qemu_contents(bench: &Bench, image: &[u8]) -> Vec<u8> {
    write_sparse(bench, "image.vhdx", image);
    bench.run("qemu-img", &["check", "-q", "-r", "all", "-f", "vhdx", "image.vhdx"]);
    bench.run("qemu-img", &["check", "-q", "-f", "vhdx", "image.vhdx"]);
    bench.qemu_reads("vhdx", "image.vhdx")
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
pub fn open_read(bytes: &[u8]) -> Result<(Box<dyn Image>, Sources)> {
    let sources = Sources::new("disk.vhdx", bytes);
    Ok((sources.open::<Vhdx>(OpenOptions::read_only())?, sources))
}

pub fn create(source: JournalSource, options: &CreateOptions) -> Result<Box<dyn Image>> {
    Vhdx::create(Rc::new(source), host(), options.clone())
}

/// Options with settings.
pub fn settings(size: u64, list: &[(&str, &str)]) -> CreateOptions {
    let settings = fumehood_test_support::settings(list);
    CreateOptions { settings, ..CreateOptions::new(size) }
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
    let (image, sources) = open_read(bytes)?;
    sources.read_windows(&*image, window, &not_encoded)
}

/// What the plugin's own check finds.
pub fn findings(bytes: &[u8]) -> Vec<fumehood_plugin::Finding> {
    open_read(bytes).unwrap().0.disk(0).unwrap().check(false).unwrap()
}

/// Bytes that differ from sector to sector, none of them zero.
pub fn sample(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| ((at / 512 * 7 + seed) % 255 + 1) as u8).collect()
}
