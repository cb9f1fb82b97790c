//! What the tests of this format share: partclone itself, opening over memory, and images
//! built by hand.
#![allow(dead_code)]

use std::fs;

use fumehood_partclone::Partclone;
use fumehood_plugin::{DigestKind, DigestValue, Encoded, Error, Image, OpenOptions, Result};
use fumehood_test_support::{Bench, Sources};

/// Saves `NAME.img` as `NAME.pcl`.
pub fn clone(bench: &Bench, tool: &str, name: &str, options: &[&str]) -> Vec<u8> {
    let (from, to) = (format!("{name}.img"), format!("{name}.pcl"));
    let common = ["-q", "-c", "-F", "-L", "log", "-s", &from, "-O", &to];
    bench.run(tool, &[&common, options].concat());
    bench.read(&to)
}

/// What partclone restores from `NAME.pcl`.
pub fn restore(bench: &Bench, name: &str) -> Vec<u8> {
    let (from, to) = (format!("{name}.pcl"), format!("{name}.raw"));
    let _ = fs::remove_file(bench.path(&to));
    bench.run("partclone.restore", &["-q", "-W", "-C", "-L", "log", "-s", &from, "-o", &to]);
    bench.read(&to)
}

/// A volume over memory.
pub fn sources(bytes: &[u8]) -> Sources {
    Sources::new("volume.pcl", bytes)
}

/// Opens `bytes`, and prepares it as the host does.
pub fn open_with(bytes: &[u8], options: OpenOptions) -> Result<Box<dyn Image>> {
    sources(bytes).open::<Partclone>(options)
}

pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    open_with(bytes, OpenOptions::read_only())
}

/// The error of opening, which must fail.
pub fn refusal(bytes: &[u8]) -> Error {
    open(bytes).err().expect("it opened")
}

/// All of the volume in `bytes`, every checksum compared.
pub fn contents(bytes: &[u8]) -> Result<Vec<u8>> {
    let image = open(bytes)?;
    let size = image.disks()[0].size;
    range(bytes, &*image, 0, size)
}

/// A range of an opened image.
pub fn range(bytes: &[u8], image: &dyn Image, offset: u64, length: u64) -> Result<Vec<u8>> {
    let decode = |block: &Encoded, stored: &[u8]| decode(bytes, block, stored);
    sources(bytes).read(image, 0, offset, length, &decode)
}

fn decode(file: &[u8], block: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
    let digest = block.digest.as_ref().expect("blocks are encoded for their digest alone");
    assert_eq!(digest.value, DigestValue::Follows);
    let behind = &file[(block.offset + u64::from(block.stored_length)) as usize..];
    match digest.kind {
        DigestKind::Crc32Plain if crc(stored).to_le_bytes() == behind[..4] => Ok(stored.to_vec()),
        DigestKind::Crc32Plain => Err(Error::Io("checksum".into())),
        // No tool at hand writes these: that they stand where they should is all.
        DigestKind::Xxh64 if behind[..8] == [0x64; 8] => Ok(stored.to_vec()),
        DigestKind::Xxh128 if behind[..16] == [0x31; 16] => Ok(stored.to_vec()),
        other => panic!("{other:?} behind a group"),
    }
}

/// CRC-32 without the inversion at the end, bit by bit.
pub fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

/// An image to build by hand: what the header says can be set apart from what follows.
#[derive(Clone)]
pub struct Built {
    pub block: usize,
    pub present: Vec<bool>,
    pub device_size: u64,
    pub mode: u16,
    pub sum_length: u16,
    pub per_sum: u32,
    pub reseed: u8,
    pub bitmap_mode: u8,
}

impl Built {
    /// Blocks of 512 bytes, of which those marked with `#` are stored; no checksums.
    pub fn new(map: &str) -> Self {
        let present: Vec<bool> = map.bytes().map(|byte| byte == b'#').collect();
        Self {
            block: 512,
            device_size: present.len() as u64 * 512,
            present,
            mode: 0,
            sum_length: 0,
            per_sum: 0,
            reseed: 1,
            bitmap_mode: 1,
        }
    }

    pub fn sums(mut self, mode: u16, length: u16, per_sum: u32) -> Self {
        (self.mode, self.sum_length, self.per_sum) = (mode, length, per_sum);
        self
    }

    fn used(&self) -> u64 {
        self.present.iter().filter(|present| **present).count() as u64
    }

    /// What a stored block holds.
    fn content(&self, number: usize) -> Vec<u8> {
        (0..self.block).map(|at| (number * 7 + at / 3 + 1) as u8).collect()
    }

    /// What the volume reads as.
    pub fn volume(&self) -> Vec<u8> {
        let block = |(number, present): (usize, &bool)| match present {
            true => self.content(number),
            false => vec![0; self.block],
        };
        let mut volume: Vec<u8> = self.present.iter().enumerate().flat_map(block).collect();
        volume.resize(volume.len().max(self.device_size as usize), 0);
        volume
    }

    pub fn header(&self) -> Vec<u8> {
        let mut bytes = b"partclone-image\0".to_vec();
        bytes.extend(b"0.3.99\0\0\0\0\0\0\0\0");
        bytes.extend(b"0002");
        bytes.extend([0xde, 0xc0]);
        bytes.extend(b"MADEFS\0\0\0\0\0\0\0\0\0\0");
        for word in [self.device_size, self.present.len() as u64, self.used(), self.used()] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend((self.block as u32).to_le_bytes());
        bytes.extend(18u32.to_le_bytes());
        for word in [2, 64, self.mode, self.sum_length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(self.per_sum.to_le_bytes());
        bytes.extend([self.reseed, self.bitmap_mode]);
        bytes.extend(crc(&bytes).to_le_bytes());
        bytes
    }

    fn byte_map(&self) -> Vec<u8> {
        let mut map: Vec<u8> = self.present.iter().map(|present| u8::from(*present)).collect();
        map.extend(b"BiTmAgIc");
        map
    }

    fn bitmap(&self) -> Vec<u8> {
        match self.bitmap_mode {
            1 => {
                let bits = |eight: &[bool]| {
                    eight.iter().rev().fold(0u8, |byte, bit| byte << 1 | u8::from(*bit))
                };
                let mut map: Vec<u8> = self.present.chunks(8).map(bits).collect();
                map.extend(crc(&map).to_le_bytes());
                map
            }
            8 => self.byte_map(),
            _ => vec![],
        }
    }

    fn blocks(&self) -> Vec<u8> {
        let (mut bytes, mut group, mut blocks) = (Vec::new(), Vec::new(), 0);
        let stored = self.present.iter().enumerate().filter(|(_, present)| **present);
        for (number, _) in stored {
            let content = self.content(number);
            bytes.extend(&content);
            group.extend(content);
            blocks += 1;
            if self.mode != 0 && blocks % self.per_sum as usize == 0 {
                bytes.extend(self.sum(&mut group));
            }
        }
        if self.mode != 0 && blocks % self.per_sum as usize != 0 {
            bytes.extend(self.sum(&mut group));
        }
        bytes
    }

    fn sum(&self, group: &mut Vec<u8>) -> Vec<u8> {
        let sum = match self.mode {
            0x20 => crc(group).to_le_bytes().to_vec(),
            0x30 => vec![0x64; 8],
            _ => vec![0x31; 16],
        };
        if self.reseed == 1 {
            group.clear();
        }
        sum
    }

    pub fn image(&self) -> Vec<u8> {
        [self.header(), self.bitmap(), self.blocks()].concat()
    }

    /// The same in format 0001, with so many bytes behind each block.
    pub fn image1(&self, trailer: usize) -> Vec<u8> {
        let mut bytes = b"partclone-image".to_vec();
        bytes.extend(b"EXTFS\0\0\0\0\0\0\0\0\0\0");
        bytes.extend(b"0001\0\0");
        bytes.extend((self.block as u32).to_le_bytes());
        // The count is unreliable in this format.
        for word in [self.device_size, self.present.len() as u64, self.used() + 1] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(4160, 0);
        bytes.extend(self.byte_map());
        for (number, _) in self.present.iter().enumerate().filter(|(_, present)| **present) {
            bytes.extend(self.content(number));
            bytes.extend(vec![0xcc; trailer]);
        }
        bytes
    }
}
