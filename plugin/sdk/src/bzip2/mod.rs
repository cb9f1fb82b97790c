//! bzip2, for what a plugin must decode itself: a stream is `BZh`, a digit, blocks that
//! begin at any bit, and an end mark. A block went through a run-length code,
//! Burrows-Wheeler, move-to-front with runs of its own, and Huffman codes.
//!
//! Checksums are read, and compared by the caller: CRC-32 with the bits of each byte in
//! the other order, of each block, and of a stream all of them, each rotated in.

mod bits;
mod block;

use alloc::format;

pub use bits::Bits;
pub use block::Block;

use crate::error::{Error, Result};

/// Begins a block.
const BLOCK: [u32; 2] = [0x31_4159, 0x26_5359];
/// Ends a stream.
const END: [u32; 2] = [0x17_7245, 0x38_5090];
/// Bytes before runs of a block, times the level.
const UNIT: usize = 100_000;

/// Whether a stream begins here.
pub fn is_bzip2(head: &[u8]) -> bool {
    let Some([b'B', b'Z', b'h', b'1'..=b'9', behind @ ..]) = head.get(..10) else { return false };
    let number = behind.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    [BLOCK, END].iter().any(|[high, low]| number == u64::from(*high) << 24 | u64::from(*low))
}

/// What follows in a stream, with the checksum stored for it.
pub enum Next {
    /// A block.
    Block(Block, u32),
    /// The stream's end, with the checksum of all blocks.
    End(u32),
}

impl Bits {
    /// Passes a stream's beginning, and answers the most bytes before runs that a block of
    /// it has; none where no stream begins here.
    ///
    /// # Errors
    /// What the source answers.
    pub fn begin_stream(&mut self) -> Result<Option<usize>> {
        let magic = match self.left() {
            0..4 => 0,
            _ => self.take(32)?,
        };
        let level = (magic & 0xff).wrapping_sub(u32::from(b'0'));
        let is_stream = magic >> 8 == 0x42_5a68 && (1..=9).contains(&level);
        Ok(is_stream.then_some(level as usize * UNIT))
    }

    /// Passes what follows in a stream whose blocks have at most `limit` bytes before runs.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for what is broken, [`Error::Unsupported`] for a block of bzip2
    /// 0.9, or what the source answers.
    pub fn next_block(&mut self, limit: usize) -> Result<Next> {
        let position = self.position();
        let mark = [self.take(24)?, self.take(24)?];
        let checksum = self.take(32)?;
        match mark {
            BLOCK => Ok(Next::Block(Block::read(self, limit)?, checksum)),
            END => {
                self.align();
                Ok(Next::End(checksum))
            }
            [high, low] => {
                let what = format!("expected the next bzip2 block, found {high:06x}{low:06x}");
                Err(Error::corrupt_in(self.source_id(), position, what))
            }
        }
    }
}
