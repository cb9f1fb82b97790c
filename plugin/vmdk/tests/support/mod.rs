//! What the integration tests share: sets of files in memory, and reading disks
//! as the host does.
#![allow(dead_code)]

pub mod generate;

use std::fs;
use std::path::Path;

use fumehood_plugin::memory::check_answer;
use fumehood_plugin::{Codec, Content, Encoded, Error, Image, OpenOptions, Result};
use fumehood_test_support::{Bench, Sources};
use fumehood_vmdk::Vmdk;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

/// The file `main` as an image, and all others in the folder beside it.
pub fn set(bench: &Bench, main: &str) -> Set {
    Set::load(&bench.path(""), main)
}

/// An image over memory, and the files beside it.
pub struct Set(Sources);

impl Set {
    pub fn new(main: &[u8], others: &[(&str, &[u8])]) -> Self {
        Self(Sources::new("disk.vmdk", main).beside(others))
    }

    pub fn single(main: &[u8]) -> Self {
        Self::new(main, &[])
    }

    pub fn load(folder: &Path, main: &str) -> Self {
        let others: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && *path != folder.join(main))
            .map(|path| (path.file_name().unwrap().to_str().unwrap().into(), path))
            .map(|(name, path)| (name, fs::read(path).unwrap()))
            .collect();
        Self(Sources::new(main, &fs::read(folder.join(main)).unwrap()).beside(&others))
    }

    pub fn open(&self) -> Result<Box<dyn Image>> {
        self.0.open::<Vmdk>(OpenOptions::read_only())
    }

    pub fn refusal(&self) -> Error {
        self.open().err().expect("it opened")
    }

    pub fn read_range(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.0.read(&*self.open()?, 0, offset, length, &decode)
    }

    /// All of the disk; absent reads as zeroes.
    pub fn read(&self) -> Result<Vec<u8>> {
        self.read_range(0, u64::MAX)
    }

    pub fn size(&self) -> u64 {
        self.open().unwrap().disks()[0].size
    }

    pub fn check(&self) -> Vec<String> {
        let findings = self.open().unwrap().disk(0).unwrap().check(false).unwrap();
        findings
            .into_iter()
            .map(|finding| format!("{}: {}", finding.offset, finding.what))
            .collect()
    }

    pub fn warnings(&self) -> Vec<String> {
        self.open().unwrap().info().warnings
    }

    /// Text of the damage at an offset.
    pub fn damage(&self, offset: u64) -> Option<String> {
        let image = self.open().unwrap();
        let size = image.disks()[0].size;
        let extents = image.disk(0).unwrap().extents(offset, 1).unwrap();
        check_answer(&extents, offset, size).unwrap();
        match &extents[0].content {
            Content::Damaged(what) => Some(what.clone()),
            _ => None,
        }
    }

    /// Opens and maps everything, as a host would with a hostile image: whatever comes
    /// out must keep the contract. Answers whether it opened.
    pub fn survive(&self) -> bool {
        let Ok(image) = self.open() else { return false };
        for name in image.info().documents {
            let _ = image.document(&name);
        }
        let size = image.disks()[0].size;
        assert!(image.disks()[0].granularity.is_power_of_two());
        let mut disk = image.disk(0).unwrap();
        let mut at = 0;
        for _ in 0..50 {
            let answer = self.0.answer(&mut *disk, size, at, 64 << 20);
            at = answer.unwrap_or(at.saturating_add(64 << 10));
            if at >= size {
                break;
            }
        }
        for at in [size - 1, size / 2] {
            let _ = self.0.answer(&mut *disk, size, at, 64 << 20);
        }
        assert!(disk.extents(size, 1).is_err());
        let _ = disk.check(false);
        let _ = self.read_range(0, size.min(256 << 10));
        true
    }
}

fn decode(encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
    assert_eq!(encoded.codec, Codec::Zlib);
    let length = encoded.decoded_length as usize;
    let block = decompress_to_vec_zlib_with_limit(stored, length);
    let block = block.map_err(|_| Error::Io(format!("bad zlib at {}", encoded.offset)))?;
    if block.len() != length {
        return Err(Error::Io(format!("{} bytes, not {length}", block.len())));
    }
    Ok(block)
}

/// Contents that no codec treats alike: zeroes, noise, text.
pub fn sample(length: usize) -> Vec<u8> {
    let mut random = fumehood_plugin::simulate::Random::new(77);
    let mut bytes = vec![0; length / 4];
    bytes.extend((0..length / 3).map(|_| random.next_word() as u8));
    let text = (0u32..).flat_map(|number| format!("line {number}\n").into_bytes());
    let rest = length - bytes.len();
    bytes.extend(text.take(rest));
    bytes
}
