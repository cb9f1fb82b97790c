//! Unpacked bytes on their way to the scratch: zeroes are noted, not written.

use alloc::vec::Vec;

use fumehood_plugin::Result;

use crate::index_writer::IndexWriter;
use crate::piece::Piece;

/// Bytes of which it is asked whether they are all zero.
const GRAIN: usize = 64 << 10;
/// Bytes gathered before they are written.
const BATCH: usize = 16 * GRAIN;

/// Bytes that were decoded and are not written yet.
#[derive(Default)]
pub struct Unpack {
    buffer: Vec<u8>,
}

impl Unpack {
    /// Takes decoded bytes.
    ///
    /// # Errors
    /// [`fumehood_plugin::Error::NoSpace`], or what the scratch answers.
    pub fn push(&mut self, index: &mut IndexWriter, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BATCH - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if self.buffer.len() >= BATCH {
                self.write(index)?;
            }
        }
        Ok(())
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// As [`Unpack::push`].
    pub fn write(&mut self, index: &mut IndexWriter) -> Result<()> {
        let alike = |a: &&[u8], b: &&[u8]| is_zero(a) == is_zero(b);
        let grains: Vec<&[u8]> = self.buffer.chunks(GRAIN).collect();
        let mut at = 0;
        for run in grains.chunk_by(alike) {
            let length: usize = run.iter().map(|grain| grain.len()).sum();
            let bytes = self.buffer.get(at..at + length).unwrap_or_default();
            at += length;
            let piece = match is_zero(bytes) {
                true => Piece::Zero,
                false => Piece::Unpacked(index.room.append(bytes)?),
            };
            index.push(length as u64, piece)?;
        }
        self.buffer.clear();
        Ok(())
    }
}

/// Whether there is nothing but zeroes.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && tail.iter().all(|byte| *byte == 0)
}
