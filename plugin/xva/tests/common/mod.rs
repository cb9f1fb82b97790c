//! What the tests share: exports in memory, and reading them as a host does, checksums
//! included.
#![allow(dead_code)]

pub mod generator;

use std::cell::Cell;
use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, read_disk};
use fumehood_plugin::{
    Codec, Content, DigestKind, DigestValue, Disk, Encoded, Error, Format, Image, OpenOptions,
    Progress, Result, Source, SourceHandle,
};
use fumehood_xva::Xva;
use generator::{sha1, xxh64};

pub fn source(bytes: &[u8]) -> SourceHandle {
    Rc::new(MemorySource::new(0, "machine.xva", bytes.to_vec()))
}

/// Opens `main` and scans it, with a scratch if one is given.
pub fn open_source(main: SourceHandle, scratch: Option<SourceHandle>) -> Result<Box<dyn Image>> {
    let options = OpenOptions { scratch, seed: [7; 32], ..OpenOptions::read_only() };
    let image = Xva::open(main, Rc::new(MemoryHost::new()), options)?;
    let mut before = None;
    loop {
        let Progress { done, total } = image.prepare()?;
        if done >= total {
            assert_eq!(image.prepare(), Ok(Progress::DONE));
            return Ok(image);
        }
        assert!(before.is_none_or(|before| before < done), "every step comes on");
        before = Some(done);
    }
}

pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    open_source(source(bytes), None)
}

/// The error of opening, which must fail.
pub fn refusal(bytes: &[u8]) -> Error {
    open(bytes).err().expect("it opened")
}

fn verify(encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
    assert_eq!(encoded.codec, Codec::Identity);
    let digest = encoded.digest.as_ref().expect("else it is not encoded");
    let found = match digest.kind {
        DigestKind::Sha1 => sha1(stored).to_vec(),
        DigestKind::Xxh64 => xxh64(stored).to_le_bytes().to_vec(),
        other => panic!("{other:?}"),
    };
    if digest.value == DigestValue::Given(found) {
        Ok(stored.to_vec())
    } else {
        Err(Error::Io(format!("bad digest at {}", encoded.offset)))
    }
}

/// A range of a disk; a checksum that differs fails the read.
pub fn read(
    disk: &mut dyn Disk,
    main: &SourceHandle,
    size: u64,
    range: (u64, u64),
) -> Result<Vec<u8>> {
    let sources = |id| (id == 0).then(|| main.clone());
    read_disk(disk, size, range.0, range.1, &sources, &verify)
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
                let end = match &extent.content {
                    Content::Stored(stored) => stored.offset + extent.length,
                    Content::Encoded(encoded) => encoded.offset + u64::from(encoded.stored_length),
                    _ => 0,
                };
                assert!(end <= bytes.len() as u64);
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
    pub reads: Cell<u64>,
}

impl Counted {
    pub fn new(bytes: &[u8]) -> Rc<Self> {
        let inner = MemorySource::new(0, "machine.xva", bytes.to_vec());
        Rc::new(Self { inner, reads: Cell::default() })
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
