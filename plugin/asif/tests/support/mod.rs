//! What the tests share: images built by hand, and reading them.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use fumehood_asif::Asif;
use fumehood_plugin::memory::MemorySource;
use fumehood_plugin::{Error, Image, OpenOptions, Result, Source, SourceHandle};
use fumehood_test_support::{Sources, not_encoded};

/// Bytes a chunk in these tests: small ones, of which a table has 2048.
pub const CHUNK: u64 = 32 << 10;
/// Data chunks a group, for blocks of 512 bytes.
pub const GROUP: u64 = 2048;
/// The flags that macOS sets on chunks that were written as a whole, and in part.
pub const WHOLE: u64 = 1 << 62;
pub const PARTIAL: u64 = 3 << 62;

pub fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

pub fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// An image. One group fills a table when chunks have 32 KiB.
pub struct Builder {
    /// Bytes of the disk.
    pub size: u64,
    /// Chunks of the disk and what fills them.
    pub chunks: BTreeMap<u64, u8>,
    /// What stands behind the metadata's header.
    pub list: Option<String>,
}

impl Builder {
    pub fn new(size: u64) -> Self {
        Self { size, chunks: BTreeMap::new(), list: None }
    }

    pub fn fill(mut self, chunk: u64, byte: u8) -> Self {
        self.chunks.insert(chunk, byte);
        self
    }

    /// Chunks of the disk at its largest: three tables, the metadata in the last chunk.
    pub const MOST: u64 = 3 * GROUP;

    /// Chunk 0 of the file holds the header and both directories.
    pub fn build(&self) -> Vec<u8> {
        let mut bytes = vec![0; CHUNK as usize];
        bytes[..4].copy_from_slice(b"shdw");
        put32(&mut bytes, 4, 1);
        put32(&mut bytes, 8, 512);
        put(&mut bytes, 16, 512);
        put(&mut bytes, 24, 1024);
        bytes[32..48].copy_from_slice(b"0123456789abcdef");
        put(&mut bytes, 48, self.size / 512);
        put(&mut bytes, 56, Self::MOST * CHUNK / 512);
        put32(&mut bytes, 64, CHUNK as u32);
        bytes[68..70].copy_from_slice(&512_u16.to_be_bytes());
        put(&mut bytes, 512, 4);
        put(&mut bytes, 1024, 5);
        let mut chunks = self.chunks.clone();
        if self.list.is_some() {
            put(&mut bytes, 72, Self::MOST - 1);
            chunks.insert(Self::MOST - 1, 0);
        }
        for (chunk, fill) in chunks {
            let entry = 1032 + 8 * (chunk / GROUP) as usize;
            let mut table = u64::from_be_bytes(bytes[entry..entry + 8].try_into().unwrap());
            if table == 0 {
                table = bytes.len() as u64 / CHUNK;
                put(&mut bytes, entry, table);
                bytes.resize(bytes.len() + CHUNK as usize, 0);
            }
            let place = bytes.len() as u64 / CHUNK;
            bytes.resize(bytes.len() + CHUNK as usize, fill);
            let entry = table * CHUNK + 8 * (chunk % GROUP);
            put(&mut bytes, entry as usize, place | if fill % 2 == 0 { PARTIAL } else { WHOLE });
        }
        if let Some(list) = &self.list {
            let at = bytes.len() - CHUNK as usize;
            bytes[at..at + 4].copy_from_slice(b"meta");
            put32(&mut bytes, at + 4, 1);
            put32(&mut bytes, at + 8, 512);
            bytes[at + 512..][..list.len()].copy_from_slice(list.as_bytes());
        }
        bytes
    }

    /// What the disk holds.
    pub fn disk(&self) -> Vec<u8> {
        let mut disk = vec![0; self.size as usize];
        for (chunk, fill) in &self.chunks {
            let start = (chunk * CHUNK) as usize;
            let end = (start + CHUNK as usize).min(disk.len());
            disk[start..end].fill(*fill);
        }
        disk
    }
}

/// Four chunks in two tables; the disk ends within the last one.
pub fn sample() -> Builder {
    let size = (GROUP + 3) * CHUNK - 512;
    Builder::new(size).fill(0, 1).fill(1, 2).fill(GROUP - 1, 3).fill(GROUP + 2, 4)
}

pub fn open_source(source: SourceHandle) -> Result<Box<dyn Image>> {
    Sources::single(source).open::<Asif>(OpenOptions::read_only())
}

pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    Sources::new("disk.asif", bytes).open::<Asif>(OpenOptions::read_only())
}

/// A range of the disk in a source.
pub fn read(source: &SourceHandle, offset: u64, length: u64) -> Result<Vec<u8>> {
    let sources = Sources::single(source.clone());
    sources.read(&*open_source(source.clone())?, 0, offset, length, &not_encoded)
}

pub fn contents(bytes: &[u8]) -> Result<Vec<u8>> {
    let source: SourceHandle = Rc::new(MemorySource::new(0, "disk.asif", bytes.to_vec()));
    read(&source, 0, u64::MAX)
}

/// Opens and maps everything as a host would; answers whether it opened.
pub fn survive(bytes: &[u8]) -> bool {
    let Ok(image) = open(bytes) else { return false };
    for name in image.info().documents {
        image.document(&name).unwrap();
    }
    let size = image.disks()[0].size;
    let mut disk = image.disk(0).unwrap();
    let sources = Sources::new("disk.asif", bytes);
    sources.walk(&mut *disk, size, 1 << 26, 6).unwrap();
    // A check takes as long as the disk is large.
    if size <= 1 << 30 {
        assert!(disk.check(false).unwrap().len() <= 1001);
    }
    true
}

/// A file, for images too large for memory.
pub struct FileSource(pub File);

impl Source for FileSource {
    fn id(&self) -> u32 {
        0
    }
    fn name(&self) -> String {
        "disk.asif".into()
    }
    fn size(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, offset).map_err(|error| Error::Io(error.to_string()))?;
        Ok(bytes)
    }
}
