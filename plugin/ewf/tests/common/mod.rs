//! What the tests share: sets of segments in memory, and reading them as a host
//! does, digests included.
#![allow(dead_code)]

pub mod second;

use std::path::Path;

use fumehood_ewf::Ewf;
use fumehood_plugin::memory::read_disk;
use fumehood_plugin::{
    Codec, DigestKind, Disk, DiskInfo, Encoded, Error, Image, OpenOptions, Result,
};
use fumehood_test_support::Sources;
use fumehood_test_support::tool::try_filter;
use md5::{Digest as _, Md5};
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

/// The files of a set: names and bytes, the first segment first.
pub type Files = Vec<(String, Vec<u8>)>;

/// A set over memory.
pub struct Set(Sources);

impl Set {
    pub fn new(files: &Files) -> Self {
        let (name, bytes) = &files[0];
        Self(Sources::new(name, bytes).beside(&files[1..]))
    }

    pub fn open(&self) -> Result<Box<dyn Image>> {
        self.0.open::<Ewf>(OpenOptions::read_only())
    }

    /// Reads a range of the disk; a digest or codec that fails fails the read.
    pub fn read(&self, disk: &mut dyn Disk, size: u64, from: u64, length: u64) -> Result<Vec<u8>> {
        let sources = |id| self.0.find(id);
        let decode = |encoded: &Encoded, stored: &[u8]| self.decode(encoded, stored);
        read_disk(disk, size, from, length, &sources, &decode)
    }

    fn decode(&self, encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
        let fail = |what: &str| Error::Io(format!("{what} at {}", encoded.offset));
        let block = match encoded.codec {
            Codec::Zlib => {
                decompress_to_vec_zlib_with_limit(stored, encoded.decoded_length as usize)
                    .map_err(|_| fail("bad zlib"))?
            }
            Codec::Bzip2 => bzip2(stored, "-dc").ok_or_else(|| fail("bad bzip2"))?,
            Codec::Identity => {
                let source = self.0.find(encoded.source).unwrap();
                let behind = encoded.offset + u64::from(encoded.stored_length);
                let seal = source.read(behind, 4)?;
                if adler2::adler32_slice(stored).to_le_bytes() != seal[..] {
                    return Err(fail("bad checksum"));
                }
                stored.to_vec()
            }
            _ => return Err(fail("unexpected codec")),
        };
        if block.len() != encoded.decoded_length as usize {
            return Err(fail("decoded length differs"));
        }
        Ok(block)
    }

    /// The whole disk.
    pub fn contents(&self) -> Result<(DiskInfo, Vec<u8>)> {
        let image = self.open()?;
        let info = image.disks().remove(0);
        let mut disk = image.disk(0)?;
        let bytes = self.read(&mut *disk, info.size, 0, info.size)?;
        Ok((info, bytes))
    }

    /// Which chunks of the disk can be read.
    pub fn readable(&self, chunk: u64) -> Vec<bool> {
        let image = self.open().unwrap();
        let size = image.disks()[0].size;
        let mut disk = image.disk(0).unwrap();
        let starts = (0..size).step_by(chunk as usize);
        starts.map(|at| self.read(&mut *disk, size, at, chunk.min(size - at)).is_ok()).collect()
    }
}

/// What the tool of that name makes of `bytes`; `None` where it finds fault with them.
pub fn bzip2(bytes: &[u8], option: &str) -> Option<Vec<u8>> {
    try_filter("bzip2", &[option], bytes)
}

/// The set whose first segment is at `path`, in the order of its series.
pub fn load(path: &Path) -> Files {
    let stem = path.file_stem().unwrap().to_str().unwrap().to_string() + ".";
    let mut files: Files = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_string(), path))
        .filter(|(name, _)| name.starts_with(&stem) && name.len() <= stem.len() + 4)
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Opens and maps everything, as a host would with a hostile image: whatever comes
/// out must keep the contract. Answers whether it opened.
pub fn survive(set: &Set) -> bool {
    let Ok(image) = set.open() else { return false };
    let info = image.info();
    for name in &info.documents {
        let _ = image.document(name);
    }
    let Ok(mut disk) = image.disk(0) else { return false };
    let size = image.disks()[0].size;
    let _ = set.0.walk(&mut *disk, size, 64 << 20, 100);
    let _ = set.read(&mut *disk, size, 0, size.min(256 << 10));
    if size <= 1 << 34 {
        let _ = disk.check(false);
    }
    true
}

pub fn md5(bytes: &[u8]) -> Vec<u8> {
    Md5::digest(bytes).to_vec()
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

/// Contents that no codec treats alike: zeroes, noise, text.
pub fn sample(length: usize) -> Vec<u8> {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut bytes = vec![0; length / 4];
    bytes.extend((0..length / 3).map(|_| numbers.below(256) as u8));
    let text = (0u32..).flat_map(|number| format!("line {number}\n").into_bytes());
    let rest = length - bytes.len();
    bytes.extend(text.take(rest));
    bytes
}

/// Compares a set, its digest and what is said of it with what went into it.
pub fn compare(files: &Files, bytes: &[u8], what: &str) {
    let set = Set::new(files);
    let (info, found) = set.contents().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(info.size, bytes.len() as u64, "{what}");
    assert!(found == bytes, "{what}: contents differ");
    let stored = info.digests.iter().find(|digest| digest.kind == DigestKind::Md5);
    assert_eq!(stored.map(|digest| digest.value.clone()), Some(md5(bytes)), "{what}");
    let image = set.open().unwrap();
    assert_eq!(image.info().warnings, [""; 0], "{what}");
    assert_eq!(image.disk(0).unwrap().check(false), Ok(vec![]), "{what}");
}
