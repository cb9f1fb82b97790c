//! bzip2: blocks that begin at any bit. They are unpacked, one after the other.

use alloc::vec::Vec;

use fumehood_plugin::bzip2::{Bits, Block, Next};
use fumehood_plugin::{Error, Result, SourceHandle};

use crate::checksum::{CRC32_BZIP2, Digest32};
use crate::index_writer::IndexWriter;
use crate::survey::{STEP_DECODED, Survey};
use crate::unpack::Unpack;

/// Decoded at once.
const CHUNK: usize = 64 << 10;

/// A walk over the streams.
pub struct Bzip2Survey {
    bits: Bits,
    /// The present stream's largest block; none between streams.
    limit: Option<usize>,
    /// Of all blocks of the stream.
    sum: u32,
    block: Option<Open>,
    unpack: Unpack,
}

/// A block that is being decoded.
struct Open {
    block: Block,
    sum: Digest32,
    expected: u32,
    position: u64,
}

impl Bzip2Survey {
    /// At the beginning of `main`.
    pub fn new(main: &SourceHandle) -> Self {
        let bits = Bits::new(main.clone());
        Self { bits, limit: None, sum: 0, block: None, unpack: Unpack::default() }
    }

    /// Begins a stream; true at the end of all.
    fn begin(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let first = index.summary.parts == 0;
        let left = self.bits.left();
        if left == 0 && !first {
            self.unpack.write(index)?;
            return Ok(true);
        }
        let Some(limit) = self.bits.begin_stream()? else {
            if first {
                return Err(Error::Unrecognised);
            }
            // bzip2 itself ignores what is behind the last stream.
            index.summary.trailing += left;
            self.unpack.write(index)?;
            return Ok(true);
        };
        index.summary.parts += 1;
        self.limit = Some(limit);
        self.sum = 0;
        Ok(false)
    }

    /// Begins a block, or ends the stream.
    fn next(&mut self, limit: usize) -> Result<()> {
        let position = self.bits.position();
        match self.bits.next_block(limit)? {
            Next::Block(block, expected) => {
                self.block = Some(Open { block, sum: CRC32_BZIP2.digest(), expected, position });
            }
            Next::End(expected) => {
                self.limit = None;
                if expected != self.sum {
                    return Err(self.mismatch(position, "a bzip2 stream", expected, self.sum));
                }
            }
        }
        Ok(())
    }

    fn mismatch(&self, position: u64, of: &str, expected: u32, found: u32) -> Error {
        let what = alloc::format!("expected CRC-32 {expected:08x} of {of}, found {found:08x}");
        Error::corrupt(position, what)
    }

    /// Decodes some of a block.
    fn decode(&mut self, mut open: Open, index: &mut IndexWriter) -> Result<u64> {
        let mut chunk = Vec::with_capacity(CHUNK);
        open.block.decode(&mut chunk, CHUNK);
        open.sum.update(&chunk);
        self.unpack.push(index, &chunk)?;
        let length = chunk.len() as u64;
        if length == CHUNK as u64 {
            self.block = Some(open);
            return Ok(length);
        }
        let sum = open.sum.finalize();
        if sum != open.expected {
            return Err(self.mismatch(open.position, "a bzip2 block", open.expected, sum));
        }
        self.sum = self.sum.rotate_left(1) ^ sum;
        Ok(length)
    }
}

impl Survey for Bzip2Survey {
    fn step(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let (mut decoded, mut blocks) = (0, 0);
        while decoded < STEP_DECODED && blocks < 4 {
            match (self.block.take(), self.limit) {
                (Some(open), _) => decoded += self.decode(open, index)?,
                (None, Some(limit)) => {
                    self.next(limit)?;
                    blocks += 1;
                }
                (None, None) => {
                    if self.begin(index)? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn position(&self) -> u64 {
        self.bits.position()
    }
}
