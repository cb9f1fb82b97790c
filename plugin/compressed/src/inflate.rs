//! Inflating with checkpoints: where between two blocks of a deflate stream (RFC 1951) a
//! decoder can begin, and what it must know of what came before.
//!
//! What lies between two checkpoints is a piece. A piece that cannot be ended in time,
//! because one block goes on and on, is unpacked: the decoder goes back to the last
//! checkpoint and writes what it decodes.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Codec, DigestKind, Error, Result};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY,
};
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress};

use crate::checksum::{CRC32, Digest32, joined};
use crate::feed::Feed;
use crate::index_writer::IndexWriter;
use crate::piece::{Check, EncodedPiece, Entrance, Piece};
use crate::survey::cut;
use crate::unpack::{Unpack, is_zero};

/// How far a deflate stream refers back.
const WINDOW: usize = 32 << 10;
/// The decoder's output, which it writes round and round.
const RING: usize = 256 << 10;
/// A piece that has grown to this is unpacked: a little below what a piece may hold.
const LONGEST: u64 = 48 << 20;

/// A place to begin at.
struct Checkpoint {
    /// Offset of the first byte in the main source.
    position: u64,
    /// Low bits of it that belong to what came before.
    bits: u8,
    /// What the decoder needs besides the window; none at a stream's beginning.
    state: Option<BlockBoundaryState>,
    /// Where the decoder's input goes on: behind the byte whose rest it holds.
    resume: u64,
    window: Vec<u8>,
}

/// The inflating of one stream.
pub struct Inflate {
    core: Box<DecompressorOxide>,
    ring: Vec<u8>,
    /// Where in the ring the next byte goes.
    at: usize,
    checkpoint: Checkpoint,
    /// Since the checkpoint.
    length: u64,
    digest: Digest32,
    zero: bool,
    /// Before the checkpoint.
    crc: u32,
    total: u64,
    interval: u64,
    unpack: Option<Unpack>,
    longest: u64,
}

impl Inflate {
    /// The stream that begins at `position`, to be cut into pieces of about `interval`
    /// decoded bytes.
    pub fn new(position: u64, interval: u64) -> Self {
        let window = Vec::new();
        let checkpoint = Checkpoint { position, bits: 0, state: None, resume: position, window };
        Self {
            core: Box::default(),
            ring: vec![0; RING],
            at: 0,
            checkpoint,
            length: 0,
            digest: CRC32.digest(),
            zero: true,
            crc: 0,
            total: 0,
            interval,
            unpack: None,
            longest: LONGEST,
        }
    }

    /// CRC-32 and length of all that was decoded.
    pub fn sums(&self) -> (u32, u64) {
        (self.crc, self.total)
    }

    /// Bytes decoded since the last checkpoint.
    pub fn since(&self) -> u64 {
        self.length
    }

    /// Decodes what the feed shows next; true at the stream's end, which the feed then
    /// stands behind.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a broken stream, [`Error::NoSpace`].
    pub fn step(&mut self, feed: &mut Feed, index: &mut IndexWriter) -> Result<bool> {
        let position = feed.position();
        let last = feed.left();
        let input = feed.some()?;
        let more = if input.len() as u64 == last { 0 } else { TINFL_FLAG_HAS_MORE_INPUT };
        let flags = more | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
        let (status, read, written) =
            decompress(&mut self.core, input, &mut self.ring, self.at, flags);
        feed.consume(read);
        self.take(written, index)?;
        match status {
            TINFLStatus::Done => {
                self.end_piece(feed.position(), true, index)?;
                return Ok(true);
            }
            TINFLStatus::BlockBoundary => {
                if self.length >= self.interval || self.unpack.is_some() {
                    self.cut_here(feed.position(), index)?;
                }
            }
            TINFLStatus::HasMoreOutput | TINFLStatus::NeedsMoreInput => (),
            TINFLStatus::FailedCannotMakeProgress => {
                return Err(cut(feed.position(), "more of a deflate stream"));
            }
            _ => {
                let what = alloc::format!(
                    "expected a deflate stream, found none that is sound ({status:?})"
                );
                return Err(Error::corrupt(position, what));
            }
        }
        let stored = feed.position() - self.checkpoint.position;
        if self.unpack.is_none() && self.length.max(stored) > self.longest {
            self.begin_unpacking(feed);
        }
        Ok(false)
    }

    /// What the decoder just wrote.
    fn take(&mut self, written: usize, index: &mut IndexWriter) -> Result<()> {
        let decoded = self.ring.get(self.at..self.at + written).unwrap_or_default();
        self.digest.update(decoded);
        self.zero = self.zero && is_zero(decoded);
        self.length += written as u64;
        if let Some(unpack) = &mut self.unpack {
            unpack.push(index, decoded)?;
        }
        self.at = (self.at + written) % RING;
        Ok(())
    }

    /// Ends the piece at the block boundary that the decoder stands at, `resume` being
    /// where its input goes on.
    fn cut_here(&mut self, resume: u64, index: &mut IndexWriter) -> Result<()> {
        let Some(state) = self.core.block_boundary_state() else { return Ok(()) };
        let held = state.num_bits;
        self.end_piece(resume, false, index)?;
        self.checkpoint = Checkpoint {
            position: if held > 0 { resume - 1 } else { resume },
            bits: if held > 0 { 8 - held } else { 0 },
            state: Some(state),
            resume,
            window: self.window(),
        };
        Ok(())
    }

    /// The last of what was decoded.
    fn window(&self) -> Vec<u8> {
        let length = self.total.min(WINDOW as u64) as usize;
        let (head, tail) = self.ring.split_at(self.at);
        let older = length.saturating_sub(head.len());
        let older = tail.get(tail.len() - older.min(tail.len())..).unwrap_or_default();
        let newer = head.get(head.len() - length.min(head.len())..).unwrap_or_default();
        [older, newer].concat()
    }

    /// Adds the piece since the checkpoint to the index. Its bytes reach to `end`, with
    /// which the stream may end.
    fn end_piece(&mut self, end: u64, ended: bool, index: &mut IndexWriter) -> Result<()> {
        let digest = core::mem::replace(&mut self.digest, CRC32.digest()).finalize();
        if let Some(mut unpack) = self.unpack.take() {
            unpack.write(index)?;
        } else if self.zero {
            index.push(self.length, Piece::Zero)?;
        } else {
            // A whole stream is no part of one. Any other piece has an entrance, be it
            // with nothing before it: that tells that the stream may go on behind it.
            let entrance = if ended && self.checkpoint.state.is_none() {
                None
            } else {
                let length = self.checkpoint.window.len() as u32;
                let window = index.room.append(&self.checkpoint.window)?;
                Some(Entrance { bits: self.checkpoint.bits, window, length })
            };
            let piece = EncodedPiece {
                offset: self.checkpoint.position,
                // Bounded by `longest` and the step of the feed.
                stored: (end - self.checkpoint.position) as u32,
                codec: Codec::Deflate,
                check: Check::Given(DigestKind::Crc32, digest),
                entrance,
            };
            index.push(self.length, Piece::Encoded(piece))?;
        }
        self.crc = joined(self.crc, digest, self.length);
        self.total += self.length;
        (self.length, self.zero) = (0, true);
        Ok(())
    }

    /// Goes back to the checkpoint, to write what is decoded from there.
    fn begin_unpacking(&mut self, feed: &mut Feed) {
        *self.core = match &self.checkpoint.state {
            Some(state) => DecompressorOxide::from_block_boundary_state(state),
            None => DecompressorOxide::default(),
        };
        let window = &self.checkpoint.window;
        if let Some(room) = self.ring.get_mut(..window.len()) {
            room.copy_from_slice(window);
        }
        self.at = window.len();
        (self.length, self.zero, self.digest) = (0, true, CRC32.digest());
        self.unpack = Some(Unpack::default());
        feed.seek(self.checkpoint.resume);
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;

    use fumehood_plugin::memory::{MemorySource, scratch};
    use fumehood_plugin::{Source, SourceHandle};

    use super::*;
    use crate::room::Room;

    /// A stream of bits, the lowest of each byte first.
    #[derive(Default)]
    struct Bits {
        bytes: Vec<u8>,
        count: usize,
    }

    impl Bits {
        fn push(&mut self, bit: bool) {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= u8::from(bit) << (self.count % 8);
            self.count += 1;
        }

        /// A block of fixed codes: literals below 144 have eight bits from 0x30 on.
        fn block(&mut self, literals: &[u8], last: bool) {
            [last, true, false].into_iter().for_each(|bit| self.push(bit));
            for literal in literals {
                let code = literal + 0x30;
                (0..8).rev().for_each(|bit| self.push(code >> bit & 1 == 1));
            }
            (0..7).for_each(|_| self.push(false));
        }
    }

    #[test]
    fn a_block_without_an_end_in_sight_is_unpacked() {
        let plain: Vec<u8> =
            (0..1_300_000u32).map(|n| (n.wrapping_mul(n) >> 9) as u8 % 144).collect();
        let mut bits = Bits::default();
        // Short, long, short, long: the first long one has a window before it.
        bits.block(&plain[..30_000], false);
        bits.block(&plain[30_000..630_000], false);
        bits.block(&plain[630_000..670_000], false);
        bits.block(&plain[670_000..], true);
        let main: SourceHandle = Rc::new(MemorySource::new(0, "x", bits.bytes.clone()));
        let kept = scratch(9);
        let mut index = IndexWriter::new(Room::new(Some(Rc::new(kept.clone())), 4096));
        let mut inflate = Inflate::new(0, 20_000);
        inflate.longest = 150_000;
        let mut feed = Feed::new(main, 0, u64::MAX);
        while !inflate.step(&mut feed, &mut index).unwrap() {}
        assert_eq!(inflate.sums(), (CRC32.checksum(&plain), plain.len() as u64));
        let index = index.finish(&[0; 32]).unwrap();
        assert_eq!((index.summary.encoded.get(), index.summary.unpacked.get()), (2, 1_230_000));
        let pieces = index.page(0).unwrap();
        let list: Vec<_> = pieces.from(0).collect();
        assert!(list.iter().all(|(_, length, _)| *length <= 64 << 10));
        let unpacked = 600_000usize.div_ceil(64 << 10) + 630_000usize.div_ceil(64 << 10);
        assert_eq!(list.len(), 2 + unpacked);
        for (start, length, piece) in list {
            let expected = &plain[start as usize..][..length as usize];
            match piece {
                Piece::Unpacked(piece) => {
                    assert!(kept.read(piece.offset, length as usize).unwrap() == expected);
                    assert_eq!(piece.crc, CRC32.checksum(expected));
                }
                Piece::Encoded(piece) => {
                    let crc = Check::Given(DigestKind::Crc32, CRC32.checksum(expected));
                    let window = piece.entrance.unwrap().length;
                    assert_eq!((piece.check, window > 0), (crc, start > 0));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
