//! What the tests share: archives in memory, and reading them as a host does.
#![allow(dead_code)]

pub mod generator;

use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, read_disk};
use fumehood_plugin::{Disk, Error, Format, Image, OpenOptions, Progress, Result, SourceHandle};
use fumehood_test_support::{Sources, not_encoded, prepare};
use fumehood_vma::Vma;

pub fn source(bytes: &[u8]) -> SourceHandle {
    Rc::new(MemorySource::new(0, "disk.vma", bytes.to_vec()))
}

/// Opens `main` and scans it, with a scratch if one is given.
pub fn open_source(main: SourceHandle, scratch: Option<SourceHandle>) -> Result<Box<dyn Image>> {
    let options = OpenOptions { scratch, seed: [7; 32], ..OpenOptions::read_only() };
    let image = Vma::open(main, Rc::new(MemoryHost::new()), options)?;
    prepare(&*image)?;
    assert_eq!(image.prepare(), Ok(Progress::DONE));
    Ok(image)
}

pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    open_source(source(bytes), None)
}

/// The error of opening, which must fail.
pub fn refusal(bytes: &[u8]) -> Error {
    open(bytes).err().expect("it opened")
}

/// A range of a disk.
pub fn read(
    disk: &mut dyn Disk,
    main: &SourceHandle,
    size: u64,
    range: (u64, u64),
) -> Result<Vec<u8>> {
    let sources = |id| (id == 0).then(|| main.clone());
    read_disk(disk, size, range.0, range.1, &sources, &not_encoded)
}

/// All of a disk.
pub fn contents(image: &dyn Image, bytes: &[u8], number: u32) -> Result<Vec<u8>> {
    let size = image.disks()[number as usize].size;
    read(&mut *image.disk(number)?, &source(bytes), size, (0, size))
}

/// Opens and maps everything, as a host would with a hostile image: whatever comes out
/// must keep the contract. Answers whether it opened.
pub fn survive(bytes: &[u8]) -> bool {
    let Ok(image) = open(bytes) else { return false };
    for name in &image.info().documents {
        let _ = image.document(name);
    }
    let sources = Sources::single(source(bytes));
    for (number, info) in image.disks().iter().enumerate().take(4) {
        let Ok(mut disk) = image.disk(number as u32) else { continue };
        sources.walk(&mut *disk, info.size, 1 << 30, 64).unwrap();
        let _ = disk.check(false);
    }
    true
}
