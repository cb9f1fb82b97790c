//! What the tests of this format share: opening over memory, chains, and images made by
//! hand.
#![allow(dead_code)]

pub mod writer;

use fumehood_plugin::memory::check_answer;
use fumehood_plugin::{Content, Image, OpenOptions, Result};
use fumehood_test_support::{Sources, not_encoded, settings};
use fumehood_vdi::Vdi;

/// An image over memory.
pub fn sources(bytes: &[u8]) -> Sources {
    Sources::new("disk.vdi", bytes)
}

/// Opens an image of this name for reading.
pub fn open_named(name: &str, bytes: &[u8], list: &[(&str, &str)]) -> Result<Box<dyn Image>> {
    let options = OpenOptions { settings: settings(list), ..OpenOptions::read_only() };
    Sources::new(name, bytes).open::<Vdi>(options)
}

/// Opens an image for reading.
pub fn open(bytes: &[u8]) -> Result<Box<dyn Image>> {
    open_named("disk.vdi", bytes, &[])
}

/// All of the disk in `bytes`, asked for in windows of `window` bytes; absent reads as
/// zeroes.
pub fn read_windows(bytes: &[u8], window: u64) -> Result<Vec<u8>> {
    sources(bytes).read_windows(&*open(bytes)?, window, &not_encoded)
}

/// All of the disk in `bytes`.
pub fn read_all(bytes: &[u8]) -> Result<Vec<u8>> {
    read_windows(bytes, u64::MAX)
}

/// The disk of the chain, from the top down: what is absent is the parent's.
pub fn read_chain(chain: &[&[u8]]) -> Vec<u8> {
    let Some((top, below)) = chain.split_first() else { return Vec::new() };
    let mut disk = read_all(top).unwrap();
    let size = disk.len() as u64;
    let mut under = read_chain(below);
    under.resize(disk.len(), 0);
    let extents = open(top).unwrap().disk(0).unwrap().extents(0, size).unwrap();
    check_answer(&extents, 0, size).unwrap();
    for extent in extents.iter().filter(|extent| extent.content == Content::Absent) {
        let range = extent.offset as usize..extent.end() as usize;
        disk[range.clone()].copy_from_slice(&under[range]);
    }
    disk
}
