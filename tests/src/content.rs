//! Repeatable bytes, and hashes of files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

/// A small, repeatable source of numbers (xorshift).
pub struct Numbers(u64);

impl Numbers {
    /// The series that begins with `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next number, below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end.max(1) as u64) as usize
    }
}

/// `length` bytes that do not compress.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    let words = std::iter::repeat_with(|| numbers.draw().to_le_bytes());
    words.take(length.div_ceil(8)).flatten().take(length).collect()
}

/// `length` bytes that compress well and are nowhere the same.
pub fn text(length: usize) -> Vec<u8> {
    let lines = (0u64..).flat_map(|number| format!("this is line {number}\n").into_bytes());
    lines.take(length).collect()
}

/// What disks are made of: noise, zeroes, text.
pub fn sample(length: usize) -> Vec<u8> {
    let mut bytes = noise(length / 3, 1);
    bytes.resize(length / 2, 0);
    bytes.extend(text(length - length / 2));
    bytes
}

/// SHA-256 of bytes, in hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Size and SHA-256 of a file, so that a failure shows which of them differs.
pub fn fingerprint(path: &Path) -> (u64, String) {
    let open = File::open(path);
    let mut file = open.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        match file.read(&mut buffer).expect("a readable file") {
            0 => return (size, hexadecimal(&digest.finalize())),
            count => {
                digest.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
