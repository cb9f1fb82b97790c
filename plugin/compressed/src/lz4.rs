//! LZ4: frames of blocks, today's and those of the first version. Each block is read once
//! and measured, for a frame does not say what a block decodes to. Blocks that refer to
//! others are decoded and kept.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Codec, Error, Result, SourceHandle};
use lz4_flex::block::decompress_into_with_dict;
use twox_hash::XxHash32;
use zerocopy::FromBytes;
use zerocopy::little_endian::{U32, U64};

use crate::feed::Feed;
use crate::index_writer::IndexWriter;
use crate::lz4_length::decoded_length;
use crate::piece::{Check, EncodedPiece, Piece};
use crate::survey::{STEP_DECODED, STEP_READS, Survey, cut};
use crate::unpack::Unpack;
use crate::zstd_frame::skippable;

const MAGIC: u32 = 0x184d_2204;
/// Of frames without a header or an end.
const LEGACY: u32 = 0x184c_2102;
/// What a legacy block decodes to, but for the last.
const LEGACY_BLOCK: u64 = 8 << 20;

const VERSION: u8 = 0xc0;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const DICTIONARY: u8 = 0x01;
/// In a block's length: it is not compressed.
const UNCOMPRESSED: u32 = 1 << 31;
/// How far a block refers back.
const WINDOW: usize = 64 << 10;

/// Whether a frame begins here.
pub fn is_frame(head: &[u8]) -> bool {
    let Ok((magic, rest)) = U32::read_from_prefix(head) else { return false };
    match (magic.get(), rest) {
        (MAGIC, [flags, sizes, ..]) => {
            flags & VERSION == 0x40 && flags & 2 == 0 && matches!(sizes, 0x40 | 0x50 | 0x60 | 0x70)
        }
        (LEGACY, [a, b, c, d, ..]) => {
            let length = u32::from_le_bytes([*a, *b, *c, *d]);
            length > 0 && u64::from(length) <= most(LEGACY_BLOCK)
        }
        // An empty legacy frame is nothing but its magic.
        (LEGACY, []) => true,
        _ => false,
    }
}

/// The most that so many bytes take compressed.
fn most(decoded: u64) -> u64 {
    decoded + decoded / 255 + 16
}

/// A walk over the frames.
pub struct Lz4Survey {
    feed: Feed,
    frame: Option<Frame>,
}

/// A frame whose header was read.
struct Frame {
    legacy: bool,
    /// What a block decodes to at most.
    block: u64,
    block_checksums: bool,
    content_checksum: bool,
    /// What the frame says it decodes to.
    content: Option<u64>,
    /// Where on the disk it begins.
    start: u64,
    linked: Option<Box<Linked>>,
}

/// Blocks that refer to those before them.
struct Linked {
    /// The last of what was decoded, and room for a block.
    window: Vec<u8>,
    output: Vec<u8>,
    unpack: Unpack,
    sum: XxHash32,
}

impl Lz4Survey {
    /// At the beginning of `main`.
    pub fn new(main: &SourceHandle) -> Self {
        Self { feed: Feed::new(main.clone(), 0, main.size()), frame: None }
    }

    /// Begins what comes next; true at the end.
    fn begin(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let position = self.feed.position();
        if self.feed.is_empty() {
            return Ok(true);
        }
        let bytes = self.feed.at_least(8)?;
        if let Some(length) = skippable(bytes) {
            if length > self.feed.left() {
                return Err(cut(position, "the rest of a skippable frame"));
            }
            self.feed.seek(position + length);
            return Ok(false);
        }
        if !is_frame(bytes) {
            return match index.summary.parts.get() {
                0 => Err(Error::Unrecognised),
                _ => Err(Error::corrupt(position, "expected the next frame, found something else")),
            };
        }
        index.summary.parts += 1;
        self.frame = Some(match self.feed.take_u32("a frame's magic")? {
            LEGACY => Frame::legacy(index.size()),
            _ => self.header(position, index.size())?,
        });
        Ok(false)
    }

    /// The header behind the magic.
    fn header(&mut self, position: u64, start: u64) -> Result<Frame> {
        let [flags, sizes] = *self.feed.peek(2, "a frame's header")? else {
            return Err(cut(position, "a frame's header"));
        };
        let content_length = if flags & CONTENT_SIZE != 0 { 8 } else { 0 };
        let length = 2 + content_length + if flags & DICTIONARY != 0 { 4 } else { 0 };
        let bytes = self.feed.peek(length + 1, "a frame's header")?;
        let (fields, stored) = bytes.split_at(length);
        let sum = (XxHash32::oneshot(0, fields) >> 8) as u8;
        if stored != [sum] {
            let what =
                alloc::format!("expected {sum:#04x} as a header's checksum, found {stored:02x?}");
            return Err(Error::corrupt(position + 4 + length as u64, what));
        }
        if flags & DICTIONARY != 0 {
            return Err(Error::Unsupported("an LZ4 frame with a dictionary".into()));
        }
        let content = fields.get(2..).and_then(|rest| U64::read_from_bytes(rest).ok());
        self.feed.consume(length + 1);
        let block = 1 << (2 * (sizes >> 4) + 8);
        Ok(Frame {
            legacy: false,
            block,
            block_checksums: flags & BLOCK_CHECKSUMS != 0,
            content_checksum: flags & CONTENT_CHECKSUM != 0,
            content: content.map(|content| content.get()),
            start,
            linked: (flags & INDEPENDENT == 0).then(|| Box::new(Linked::new(block as usize))),
        })
    }
}

impl Frame {
    fn legacy(start: u64) -> Self {
        Self {
            legacy: true,
            block: LEGACY_BLOCK,
            block_checksums: false,
            content_checksum: false,
            content: None,
            start,
            linked: None,
        }
    }

    /// Takes the next block; true at the frame's end.
    fn step(&mut self, feed: &mut Feed, index: &mut IndexWriter) -> Result<bool> {
        let at = feed.position();
        if self.legacy && (feed.is_empty() || is_next(feed)?) {
            return Ok(true);
        }
        let word = feed.take_u32("a block's length")?;
        if word == 0 && !self.legacy {
            return self.end(feed, index).map(|()| true);
        }
        let plain = !self.legacy && word & UNCOMPRESSED != 0;
        let stored = if self.legacy { word } else { word & !UNCOMPRESSED };
        let limit = if plain { self.block } else { most(self.block) };
        if stored == 0 || u64::from(stored) > limit {
            let what = alloc::format!("expected a block of at most {limit} bytes, found {stored}");
            return Err(Error::corrupt(at, what));
        }
        let offset = feed.position();
        let block = feed.peek(stored as usize, "a block")?;
        let sum = self.block_checksums.then(|| XxHash32::oneshot(0, block));
        let length = match plain {
            true => Some(u64::from(stored)),
            false => decoded_length(block, self.block),
        };
        let length = length.ok_or_else(|| {
            Error::corrupt(
                offset,
                alloc::format!("expected a block that decodes to at most {}", self.block),
            )
        })?;
        let sound = sum.is_none() || {
            let behind = feed.peek(stored as usize + 4, "a block and its checksum")?;
            behind.last_chunk().map(|sum| u32::from_le_bytes(*sum)) == sum
        };
        if let Some(linked) = &mut self.linked {
            let block = feed.peek(stored as usize, "a block")?;
            if !sound {
                return Err(Error::corrupt(offset, "expected a block with the checksum behind it"));
            }
            linked.block(block, plain, offset, index)?;
        } else {
            index.push(length, piece(offset, stored, plain, sound))?;
        }
        feed.consume(stored as usize + if sum.is_some() { 4 } else { 0 });
        Ok(false)
    }

    fn end(&mut self, feed: &mut Feed, index: &mut IndexWriter) -> Result<()> {
        let at = feed.position();
        let stored = match self.content_checksum {
            true => Some(feed.take_u32("a frame's checksum")?),
            false => None,
        };
        if let Some(mut linked) = self.linked.take() {
            linked.unpack.write(index)?;
            let sum = linked.sum.finish_32();
            if stored.is_some_and(|stored| stored != sum) {
                let what =
                    alloc::format!("expected XXH32 {stored:08x?} of a frame, found {sum:08x}");
                return Err(Error::corrupt(at, what));
            }
        }
        let found = index.size() - self.start;
        if self.content.is_some_and(|content| content != found) {
            let what =
                alloc::format!("expected a frame of {:?} bytes, found {found}", self.content);
            return Err(Error::corrupt(at, what));
        }
        Ok(())
    }
}

/// Where a legacy frame ends, another frame begins.
fn is_next(feed: &mut Feed) -> Result<bool> {
    let bytes = feed.at_least(8)?;
    Ok(is_frame(bytes) || skippable(bytes).is_some())
}

fn piece(offset: u64, stored: u32, plain: bool, sound: bool) -> Piece {
    match (sound, plain) {
        (false, _) => Piece::Damaged,
        (true, true) => Piece::Stored(offset),
        (true, false) => Piece::Encoded(EncodedPiece {
            offset,
            stored,
            codec: Codec::Lz4,
            check: Check::None,
            entrance: None,
        }),
    }
}

impl Linked {
    fn new(block: usize) -> Self {
        let (window, output) = (Vec::new(), vec![0; block]);
        Self { window, output, unpack: Unpack::default(), sum: XxHash32::with_seed(0) }
    }

    /// Decodes a block that lies at `offset`.
    fn block(
        &mut self,
        block: &[u8],
        plain: bool,
        offset: u64,
        index: &mut IndexWriter,
    ) -> Result<()> {
        let decoded = if plain {
            block
        } else {
            let result = decompress_into_with_dict(block, &mut self.output, &self.window);
            let length = result.map_err(|error| {
                Error::corrupt(offset, alloc::format!("expected a sound LZ4 block: {error}"))
            })?;
            self.output.get(..length).unwrap_or_default()
        };
        core::hash::Hasher::write(&mut self.sum, decoded);
        self.unpack.push(index, decoded)?;
        let newer = decoded.get(decoded.len().saturating_sub(WINDOW)..).unwrap_or_default();
        let older = (self.window.len() + newer.len()).saturating_sub(WINDOW).min(self.window.len());
        self.window.drain(..older);
        self.window.extend_from_slice(newer);
        Ok(())
    }
}

impl Survey for Lz4Survey {
    fn step(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let (size, position) = (index.size(), self.feed.position());
        for _ in 0..STEP_READS {
            match self.frame.take() {
                None => {
                    if self.begin(index)? {
                        return Ok(true);
                    }
                }
                Some(mut frame) => {
                    let linked = frame.linked.is_some();
                    if !frame.step(&mut self.feed, index)? {
                        self.frame = Some(frame);
                    }
                    let read = self.feed.position().saturating_sub(position);
                    let decoded = if linked { index.size().saturating_sub(size) } else { 0 };
                    if read.max(decoded) >= 2 * STEP_DECODED {
                        break;
                    }
                }
            }
        }
        Ok(false)
    }

    fn position(&self) -> u64 {
        self.feed.position()
    }
}
