//! What the tests share: sets in memory, images built by hand from the format's
//! description, tools that are not ours.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use fumehood_android_sparse::AndroidSparse;
use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, read_disk};
use fumehood_plugin::{
    Content, Error, Extent, Format, Image, OpenOptions, Progress, Result, SourceHandle,
};

/// Files by name; the main one first.
pub struct Set {
    main: MemorySource,
    host: Rc<MemoryHost>,
    pub scratch: Option<MemorySource>,
}

impl Set {
    pub fn new(name: &str, main: &[u8], others: &[(String, Vec<u8>)]) -> Self {
        let host = MemoryHost::new();
        for (name, bytes) in others {
            host.grant(name, bytes.clone());
        }
        let main = MemorySource::new(0, name, main.to_vec());
        Self { main, host: Rc::new(host), scratch: None }
    }

    pub fn single(bytes: &[u8]) -> Self {
        Self::new("disk.simg", bytes, &[])
    }

    /// Opens and prepares; answers how many steps that took, too.
    pub fn prepared(&self) -> Result<(Box<dyn Image>, usize)> {
        let scratch = self.scratch.clone().map(|scratch| Rc::new(scratch) as SourceHandle);
        let options = OpenOptions { scratch, ..OpenOptions::read_only() };
        let image = AndroidSparse::open(Rc::new(self.main.clone()), self.host.clone(), options)?;
        let mut steps = 0;
        loop {
            steps += 1;
            let Progress { done, total } = image.prepare()?;
            assert!(done <= total);
            if done == total {
                return Ok((image, steps));
            }
        }
    }

    pub fn open(&self) -> Result<Box<dyn Image>> {
        self.prepared().map(|(image, _)| image)
    }

    fn source(&self, id: u32) -> Option<SourceHandle> {
        let source = if id == 0 { Some(self.main.clone()) } else { self.host.source(id) };
        source.map(|source| Rc::new(source) as SourceHandle)
    }

    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let image = self.open()?;
        let size = image.disks()[0].size;
        let decode = |_: &_, _: &[u8]| Err(Error::Io("nothing is encoded".into()));
        let length = length.min(size - offset);
        read_disk(&mut *image.disk(0)?, size, offset, length, &|id| self.source(id), &decode)
    }

    /// What an extent that is stored or zero holds at an offset, four bytes of it.
    pub fn read_extent(&self, extent: &Extent, offset: u64) -> Vec<u8> {
        match extent.content {
            Content::Zero => vec![0; 4],
            Content::Stored(stored) => {
                let skip = offset - extent.offset;
                self.source(stored.source).unwrap().read(stored.offset + skip, 4).unwrap()
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
        let mut at = 0;
        for _ in 0..50 {
            if at >= size {
                break;
            }
            let extents = disk.extents(at, 1 << 24).unwrap();
            assert!(extents.len() <= 65536);
            check_answer(&extents, at, size).unwrap();
            for extent in &extents {
                match extent.content {
                    Content::Stored(stored) => {
                        let end = stored.offset + extent.length;
                        assert!(end <= self.source(stored.source).unwrap().size());
                    }
                    Content::Computed => {
                        let length = extent.length.min(5000);
                        let bytes = disk.read(extent.offset, length as usize).unwrap();
                        assert_eq!(bytes.len() as u64, length);
                    }
                    _ => (),
                }
            }
            at = extents.last().unwrap().end();
        }
        assert!(disk.extents(size, 1).is_err());
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

/// A directory of its own for one test, removed at the end.
pub struct Bench {
    directory: PathBuf,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let own = format!("fumehood-android-sparse-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(own);
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_string()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// What simg2img makes of files.
    pub fn by_simg2img(&self, names: &[&str]) -> Vec<u8> {
        let mut paths: Vec<String> = names.iter().map(|name| self.path(name)).collect();
        paths.push(self.path("theirs.raw"));
        let paths: Vec<&str> = paths.iter().map(|path| &**path).collect();
        let _ = fs::remove_file(self.path("theirs.raw"));
        run("simg2img", &paths);
        self.read("theirs.raw")
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
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {said}{error}");
    said
}
