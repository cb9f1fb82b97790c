//! What the tests share: sets in memory, and reading them as a host does, digests included.
#![allow(dead_code)]

pub mod writer;

use std::cell::Cell;
use std::rc::Rc;

use fumehood_aff4::Aff4;
use fumehood_decoder::Decoder;
use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, read_disk, scratch};
use fumehood_plugin::{
    Codec, Content, DigestKind, DigestValue, Disk, Encoded, Error, Extent, Format, Image,
    OpenOptions, Result, SourceHandle,
};
use fumehood_test_support::prepare;
use md5::{Digest as _, Md5};
use miniz_oxide::inflate::{decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit};

/// A set over memory.
pub struct Set {
    pub main: MemorySource,
    pub host: Rc<MemoryHost>,
    /// Kept from open to open.
    pub scratch: Option<MemorySource>,
}

impl Set {
    /// The files of a set: names and bytes, the one that is opened first.
    pub fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let (name, bytes) = &files[0];
        let main = MemorySource::new(0, name, bytes.clone());
        let host = MemoryHost::new();
        for (name, bytes) in &files[1..] {
            host.grant(name, bytes.clone());
        }
        Self { main, host: Rc::new(host), scratch: None }
    }

    pub fn one(bytes: Vec<u8>) -> Self {
        Self::new(&[("disk.aff4", bytes)])
    }

    pub fn with_scratch(mut self) -> Self {
        self.scratch = Some(scratch(1 << 20));
        self
    }

    /// Opens and prepares it.
    pub fn open(&self) -> Result<Box<dyn Image>> {
        Ok(self.open_in_steps()?.0)
    }

    /// The same, and how many steps that took.
    pub fn open_in_steps(&self) -> Result<(Box<dyn Image>, usize)> {
        let scratch = self.scratch.clone().map(|scratch| Rc::new(scratch) as SourceHandle);
        let options = OpenOptions { scratch, ..OpenOptions::read_only() };
        let image = Aff4::open(Rc::new(self.main.clone()), self.host.clone(), options)?;
        let steps = prepare(&*image)?;
        Ok((image, steps))
    }

    /// The error of opening, which must fail.
    pub fn refusal(&self) -> Error {
        self.open().err().expect("it opened")
    }

    pub fn source(&self, id: u32) -> Option<SourceHandle> {
        let source = if id == 0 { Some(self.main.clone()) } else { self.host.source(id) };
        source.map(|source| Rc::new(source) as SourceHandle)
    }

    /// Reads a range of the disk; a digest or codec that fails fails the read.
    pub fn read(&self, disk: &mut dyn Disk, size: u64, from: u64, length: u64) -> Result<Vec<u8>> {
        read_disk(disk, size, from, length, &|id| self.source(id), &decode)
    }

    /// The whole disk.
    pub fn contents(&self) -> Result<Vec<u8>> {
        let image = self.open()?;
        let size = image.disks()[0].size;
        self.read(&mut *image.disk(0)?, size, 0, size)
    }
}

/// The extents of a disk that nothing can be read of.
pub fn damaged(disk: &mut dyn Disk, size: u64) -> Vec<Extent> {
    let (mut at, mut found) = (0, Vec::new());
    while at < size {
        let answer = disk.extents(at, size - at).unwrap();
        check_answer(&answer, at, size).unwrap();
        at = answer.last().unwrap().end();
        found.extend(answer);
    }
    found.retain(|extent| matches!(extent.content, Content::Damaged(_)));
    found
}

fn decode(encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
    let fail = |what: &str| Error::Io(format!("{what} at {}", encoded.offset));
    let most = encoded.decoded_length as usize;
    let bytes = match encoded.codec {
        Codec::Identity => Some(stored.to_vec()),
        Codec::Deflate => decompress_to_vec_with_limit(stored, most).ok(),
        Codec::Zlib => decompress_to_vec_zlib_with_limit(stored, most).ok(),
        Codec::Lz4 => lz4_flex::block::decompress(stored, most).ok(),
        Codec::Snappy => {
            let mut decoder = Decoder::default();
            decoder.input(stored.len()).copy_from_slice(stored);
            decoder.output(most);
            let length = decoder.snappy(stored.len(), most).ok();
            length.map(|length| decoder.output(length).to_vec())
        }
        _ => return Err(fail("unexpected codec")),
    };
    let bytes = bytes.filter(|bytes| bytes.len() == most).ok_or_else(|| fail("bad block"))?;
    if let Some(digest) = &encoded.digest {
        let DigestValue::Given(value) = &digest.value else { return Err(fail("no digest")) };
        if digest_of(digest.kind, &bytes) != *value {
            return Err(fail("another digest"));
        }
    }
    Ok(bytes)
}

pub fn digest_of(kind: DigestKind, bytes: &[u8]) -> Vec<u8> {
    match kind {
        DigestKind::Md5 => Md5::digest(bytes).to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Opens and maps everything, as a host would with a hostile image: whatever comes
/// out must keep the contract. Answers whether it opened.
pub fn survive(set: &Set) -> bool {
    let Ok(image) = set.open() else { return false };
    for name in &image.info().documents {
        let _ = image.document(name);
    }
    for (number, info) in image.disks().iter().enumerate() {
        let Ok(mut disk) = image.disk(number as u32) else { return false };
        let answers = Cell::new(0);
        let mut at = 0;
        while at < info.size && answers.get() < 100 {
            answers.set(answers.get() + 1);
            let extents = match disk.extents(at, 64 << 20) {
                Ok(extents) => extents,
                Err(Error::OutOfRange) => panic!("{at} is inside of {}", info.size),
                Err(_) => break,
            };
            check_answer(&extents, at, info.size).unwrap();
            for extent in &extents {
                let (source, end) = match &extent.content {
                    Content::Encoded(encoded) => {
                        (encoded.source, encoded.offset + u64::from(encoded.stored_length))
                    }
                    Content::Stored(stored) => (stored.source, stored.offset + extent.length),
                    _ => continue,
                };
                assert!(end <= set.source(source).unwrap().size(), "{extent:?}");
            }
            at = extents.last().unwrap().end();
        }
        let _ = set.read(&mut *disk, info.size, 0, info.size.min(256 << 10));
        if info.size <= 1 << 34 {
            let _ = disk.check(false);
        }
    }
    true
}

/// A small, repeatable source of numbers (xorshift).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// Contents that no codec treats alike: text, noise, text again.
pub fn sample(length: usize) -> Vec<u8> {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let text = |from: u32| (from..).flat_map(|number| format!("line {number}\n").into_bytes());
    let mut bytes: Vec<u8> = text(0).take(length / 3).collect();
    bytes.extend((0..length / 3).map(|_| numbers.below(256) as u8));
    let rest = length - bytes.len();
    bytes.extend(text(7_000_000).take(rest));
    bytes
}
