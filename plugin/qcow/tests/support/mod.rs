//! What the tests of this format share: opening over memory, and images that QEMU makes.
#![allow(dead_code)]

use fumehood_plugin::{Codec, Encoded, Error, Image, OpenOptions, Result};
use fumehood_qcow::Qcow;
use fumehood_test_support::{Bench, Sources};

/// An image over memory.
pub fn sources(bytes: &[u8]) -> Sources {
    Sources::new("disk.qcow", bytes)
}

/// Opens an image for reading.
pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    sources(bytes).open::<Qcow>(OpenOptions::read_only())
}

/// Decodes one compressed cluster.
fn inflate(encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
    assert_eq!(encoded.codec, Codec::Deflate);
    let mut block = vec![0; encoded.decoded_length as usize];
    let input = std::iter::once(stored);
    let decoded =
        miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut block, input, false, true);
    match decoded {
        Ok(length) if length == block.len() => Ok(block),
        other => Err(Error::Io(format!("{other:?} at {}", encoded.offset))),
    }
}

/// All of the disk in `bytes`, asked for in windows of `window` bytes; absent reads as
/// zeroes.
pub fn read_windows(bytes: &[u8], window: u64) -> Result<Vec<u8>> {
    sources(bytes).read_windows(&*open(bytes)?, window, &inflate)
}

/// All of the disk in `bytes`.
pub fn read_all(bytes: &[u8]) -> Result<Vec<u8>> {
    read_windows(bytes, u64::MAX)
}

pub fn put32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
}

pub fn put64(bytes: &mut [u8], offset: usize, value: u64) {
    bytes[offset..offset + 8].copy_from_slice(&value.to_be_bytes());
}

pub fn get64(bytes: &[u8], offset: usize) -> u64 {
    u64::from_be_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

/// An image that QEMU makes with these options and then carries out writes on.
pub fn made(bench: &Bench, create: &[&str], writes: &[&str]) -> Vec<u8> {
    bench.made_by_qemu("qcow", create, writes)
}
