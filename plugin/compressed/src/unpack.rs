//! Unpacked bytes on their way to the scratch: zeroes are noted, not written. All else
//! becomes pieces that are small, each with its checksum: the host compares a whole piece
//! before it hands out any of its bytes.

use alloc::vec::Vec;

use fumehood_plugin::Result;

use crate::checksum::CRC32;
use crate::index_writer::IndexWriter;
use crate::piece::{Piece, UnpackedPiece};

/// Bytes of which it is asked whether they are all zero, and which have one checksum.
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
            if is_zero(bytes) {
                index.push(length as u64, Piece::Zero)?;
                continue;
            }
            let mut offset = index.room.append(bytes)?;
            for grain in run {
                let crc = CRC32.checksum(grain);
                index.push(grain.len() as u64, Piece::Unpacked(UnpackedPiece { offset, crc }))?;
                offset += grain.len() as u64;
            }
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
