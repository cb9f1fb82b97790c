//! What the tests of this format share: sets in memory, and images built by hand from the
//! format's description.
#![allow(dead_code)]

use std::fs;
use std::rc::Rc;

use fumehood_android_sparse::AndroidSparse;
use fumehood_plugin::memory::MemorySource;
use fumehood_plugin::{Content, Extent, Format, Image, OpenOptions, Result, SourceHandle};
use fumehood_test_support::{Bench, Sources, not_encoded, prepare};

/// Files by name; the main one first.
pub struct Set {
    sources: Sources,
    pub scratch: Option<MemorySource>,
}

impl Set {
    pub fn new(name: &str, main: &[u8], others: &[(String, Vec<u8>)]) -> Self {
        Self { sources: Sources::new(name, main).beside(others), scratch: None }
    }

    pub fn single(bytes: &[u8]) -> Self {
        Self::new("disk.simg", bytes, &[])
    }

    /// Opens and prepares; answers how many steps that took, too.
    pub fn prepared(&self) -> Result<(Box<dyn Image>, usize)> {
        let scratch = self.scratch.clone().map(|scratch| Rc::new(scratch) as SourceHandle);
        let options = OpenOptions { scratch, ..OpenOptions::read_only() };
        let Sources { main, host } = self.sources.clone();
        let image = AndroidSparse::open(main, host, options)?;
        let steps = prepare(&*image)?;
        Ok((image, steps))
    }

    pub fn open(&self) -> Result<Box<dyn Image>> {
        self.prepared().map(|(image, _)| image)
    }

    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.sources.read(&*self.open()?, 0, offset, length, &not_encoded)
    }

    /// What an extent that is stored or zero holds at an offset, four bytes of it.
    pub fn read_extent(&self, extent: &Extent, offset: u64) -> Vec<u8> {
        match extent.content {
            Content::Zero => vec![0; 4],
            Content::Stored(stored) => {
                let skip = offset - extent.offset;
                self.sources.find(stored.source).unwrap().read(stored.offset + skip, 4).unwrap()
            }
            ref other => panic!("{other:?}"),
        }
    }

    pub fn contents(&self) -> Result<Vec<u8>> {
        self.read(0, u64::MAX)
    }

    /// Opens and maps everything as a host would; answers whether it opened.
    pub fn survive(&self) -> bool {
        let Ok(image) = self.open() else { return false };
        image.info();
        let size = image.disks()[0].size;
        let mut disk = image.disk(0).unwrap();
        self.sources.walk(&mut *disk, size, 1 << 24, 50).unwrap();
        assert!(disk.check(false).unwrap().len() <= 1000);
        true
    }
}

pub const RAW: u16 = 0xcac1;
pub const FILL: u16 = 0xcac2;
pub const SKIP: u16 = 0xcac3;
pub const CRC: u16 = 0xcac4;

/// Builds images chunk by chunk.
pub struct Builder {
    pub block: u32,
    pub header: u16,
    pub chunk_header: u16,
    pub checksum: u32,
    blocks: u32,
    chunks: u32,
    body: Vec<u8>,
}

impl Builder {
    pub fn new(block: u32) -> Self {
        let (header, chunk_header, checksum) = (28, 12, 0);
        Self { block, header, chunk_header, checksum, blocks: 0, chunks: 0, body: vec![] }
    }

    /// Adds a chunk with this payload.
    pub fn chunk(mut self, kind: u16, blocks: u32, payload: &[u8]) -> Self {
        let size = u32::from(self.chunk_header) + payload.len() as u32;
        self.body.extend(kind.to_le_bytes());
        // Reserved; 7-Zip insists on zeroes.
        self.body.extend((self.chunk_header - 12).to_le_bytes());
        self.body.extend(blocks.to_le_bytes());
        self.body.extend(size.to_le_bytes());
        self.body.resize(self.body.len() + usize::from(self.chunk_header) - 12, 0x77);
        self.body.extend(payload);
        self.blocks += blocks;
        self.chunks += 1;
        self
    }

    pub fn raw(self, byte: u8, blocks: u32) -> Self {
        let payload = vec![byte; (self.block * blocks) as usize];
        self.chunk(RAW, blocks, &payload)
    }

    pub fn fill(self, pattern: [u8; 4], blocks: u32) -> Self {
        self.chunk(FILL, blocks, &pattern)
    }

    pub fn skip(self, blocks: u32) -> Self {
        self.chunk(SKIP, blocks, &[])
    }

    pub fn crc(self, value: u32) -> Self {
        self.chunk(CRC, 0, &value.to_le_bytes())
    }

    /// The image, of `blocks` blocks and with so many chunks more than it has.
    pub fn build_with(&self, blocks: u32, more: u32) -> Vec<u8> {
        let mut bytes = 0xed26_ff3a_u32.to_le_bytes().to_vec();
        for half in [1, 0, self.header, self.chunk_header] {
            bytes.extend(half.to_le_bytes());
        }
        for word in [self.block, blocks, self.chunks + more, self.checksum] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(self.header.into(), 0x66);
        bytes.extend(&self.body);
        bytes
    }

    pub fn build(&self) -> Vec<u8> {
        self.build_with(self.blocks, 0)
    }
}

/// What simg2img makes of files.
pub fn by_simg2img(bench: &Bench, names: &[&str]) -> Vec<u8> {
    let _ = fs::remove_file(bench.path("theirs.raw"));
    bench.run("simg2img", &[names, &["theirs.raw"]].concat());
    bench.read("theirs.raw")
}
