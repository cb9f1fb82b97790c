//! What the tests of this format share: opening over memory.
#![allow(dead_code)]

use std::path::Path;

use fumehood_plugin::{Image, OpenOptions, Result};
use fumehood_test_support::{Sources, not_encoded, settings, tool};
use fumehood_vhd::Vhd;

/// What children in these tests were made on.
pub const PARENT_ID: &str = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff";

pub fn vhdiinfo(path: &Path) -> String {
    tool::run("vhdiinfo", &[path.to_str().unwrap()])
}

fn sources(bytes: &[u8]) -> Sources {
    Sources::new("disk.vhd", bytes)
}

/// Opens `bytes` for reading.
pub fn open(bytes: &[u8], list: &[(&str, &str)]) -> Result<Box<dyn Image>> {
    let options = OpenOptions { settings: settings(list), ..OpenOptions::read_only() };
    sources(bytes).open::<Vhd>(options)
}

/// All of the disk in `bytes`; absent reads as zeroes.
pub fn read_all(bytes: &[u8]) -> Result<Vec<u8>> {
    read_range(bytes, 0, u64::MAX)
}

/// A range of the disk in `bytes`, up to its end.
pub fn read_range(bytes: &[u8], offset: u64, length: u64) -> Result<Vec<u8>> {
    sources(bytes).read(&*open(bytes, &[])?, 0, offset, length, &not_encoded)
}
