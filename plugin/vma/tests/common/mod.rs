//! What the tests share: archives in memory, and reading them as a host does.
#![allow(dead_code)]

pub mod generator;

use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, read_disk};
use fumehood_plugin::{
    Content, Disk, Error, Format, Image, OpenOptions, Progress, Result, Source, SourceHandle,
};
use fumehood_vma::Vma;

pub fn source(bytes: &[u8]) -> SourceHandle {
    Rc::new(MemorySource::new(0, "disk.vma", bytes.to_vec()))
}

/// Opens `main` and scans it, with a scratch if one is given.
pub fn open_source(main: SourceHandle, scratch: Option<SourceHandle>) -> Result<Box<dyn Image>> {
    let options = OpenOptions { scratch, seed: [7; 32], ..OpenOptions::read_only() };
    let image = Vma::open(main, Rc::new(MemoryHost::new()), options)?;
    let mut before = None;
    loop {
        let Progress { done, total } = image.prepare()?;
        if done >= total {
            assert_eq!(image.prepare(), Ok(Progress::DONE));
            break;
        }
        assert!(before.is_none_or(|before| before < done), "every step comes on");
        before = Some(done);
    }
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
    let decode = |_: &_, _: &[u8]| Err(Error::Io("nothing is encoded".into()));
    read_disk(disk, size, range.0, range.1, &sources, &decode)
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
    for (number, info) in image.disks().iter().enumerate().take(4) {
        let Ok(mut disk) = image.disk(number as u32) else { continue };
        let mut at = 0;
        for _ in 0..64 {
            if at >= info.size {
                break;
            }
            let extents = disk.extents(at, 1 << 30).unwrap();
            check_answer(&extents, at, info.size).unwrap();
            for extent in &extents {
                if let Content::Stored(stored) = &extent.content {
                    // The last block of a disk may be cut, in the archive it is whole.
                    assert!(stored.offset + extent.length <= bytes.len() as u64);
                }
            }
            at = extents.last().unwrap().end();
        }
        assert_eq!(disk.extents(info.size, 1), Err(Error::OutOfRange));
        let _ = disk.check(false);
    }
    true
}

/// A source that counts how it is read.
pub struct Counted {
    pub inner: MemorySource,
    pub reads: std::cell::Cell<u64>,
}

impl Counted {
    pub fn new(bytes: &[u8]) -> Rc<Self> {
        let inner = MemorySource::new(0, "disk.vma", bytes.to_vec());
        Rc::new(Self { inner, reads: Default::default() })
    }
}

impl Source for Counted {
    fn id(&self) -> u32 {
        0
    }
    fn name(&self) -> String {
        self.inner.name()
    }
    fn size(&self) -> u64 {
        self.inner.size()
    }
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.reads.set(self.reads.get() + 1);
        self.inner.read(offset, length)
    }
}
