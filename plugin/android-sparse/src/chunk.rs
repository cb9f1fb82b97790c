//! Chunks: what a run of blocks holds. Reading and checking one chunk's header at a
//! time; which chunk is where is for [`crate::contents`].
//!
//! Source: as [`crate::header`].

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Result, Source};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::header::{CHUNK_HEADER, Header, PATTERN};

const RAW: u16 = 0xcac1;
const FILL: u16 = 0xcac2;
const DO_NOT_CARE: u16 = 0xcac3;
const CHECKSUM: u16 = 0xcac4;

/// As it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawChunk {
    kind: U16,
    reserved: U16,
    blocks: U32,
    size: U32,
}

/// What a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, from this offset of the file on.
    Raw(u64),
    /// A pattern over and over.
    Fill([u8; PATTERN as usize]),
    /// Nothing; reads as zeroes.
    DoNotCare,
    /// No blocks, but a CRC-32 of all before.
    Checksum(u32),
}

/// A chunk that holds no contradiction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// What it holds.
    pub kind: Kind,
    /// The first of its blocks.
    pub start: u32,
    /// The block behind the last one; at least `start`.
    pub end: u32,
    /// Where the next chunk's header lies.
    pub next: u64,
}

/// Where a chunk is met: its header's offset in the file, and its first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset in the file.
    pub offset: u64,
    /// Block of the disk.
    pub block: u32,
}

/// What is met instead of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    /// A sound chunk.
    Chunk(Chunk),
    /// None, or half of one; what follows cannot be found.
    Broken(String),
    /// One that holds blocks past the disk's end.
    Excess(String),
}

/// Bytes read at once: a chunk's header costs a call, and small chunks come in rows.
const WINDOW: u64 = 4096;

/// Reads chunk headers of one file.
#[derive(Default)]
pub struct ChunkReader {
    start: u64,
    window: Vec<u8>,
}

impl ChunkReader {
    /// The chunk at `place`.
    ///
    /// # Errors
    /// What the source answers; contradictions are in the answer.
    pub fn read(&mut self, source: &dyn Source, header: &Header, place: Place) -> Result<Met> {
        let Place { offset, block } = place;
        let size = source.size();
        let broken = |what: &str| {
            let name = source.name();
            Ok(Met::Broken(format!("{name}: the chunk at {offset}, for block {block} on, {what}")))
        };
        let data = offset.saturating_add(header.chunk_header);
        if data > size {
            return broken(&format!("lies past the end at {size}"));
        }
        let bytes = self.bytes(source, offset, CHUNK_HEADER)?;
        let raw: RawChunk = parse_struct(bytes, source.id(), offset, "chunk")?;
        let blocks = raw.blocks.get();
        let (kind, payload) = match raw.kind.get() {
            RAW => (Kind::Raw(data), u64::from(blocks) * header.block),
            FILL => (Kind::Fill([0; PATTERN as usize]), PATTERN),
            DO_NOT_CARE => (Kind::DoNotCare, 0),
            CHECKSUM if blocks == 0 => (Kind::Checksum(0), PATTERN),
            CHECKSUM => return broken(&format!("is a checksum with {blocks} blocks")),
            other => return broken(&format!("is of the unknown kind {other:#x}")),
        };
        let stated = u64::from(raw.size.get());
        let Some(next) = data.checked_add(payload) else { return broken("never ends") };
        if stated != next - offset {
            return broken(&format!("has {stated} bytes, and should have {}", next - offset));
        }
        if next > size {
            return broken(&format!("ends at {next}, past the end at {size}"));
        }
        let Some(end) = block.checked_add(blocks).filter(|end| *end <= header.blocks) else {
            let (name, all) = (source.name(), header.blocks);
            return Ok(Met::Excess(format!("{name}: {blocks} blocks from {block} on of {all}")));
        };
        let kind = match kind {
            Kind::Fill(_) => Kind::Fill(self.word(source, data)?),
            Kind::Checksum(_) => Kind::Checksum(u32::from_le_bytes(self.word(source, data)?)),
            other => other,
        };
        Ok(Met::Chunk(Chunk { kind, start: block, end, next }))
    }

    fn word(&mut self, source: &dyn Source, offset: u64) -> Result<[u8; PATTERN as usize]> {
        let bytes = self.bytes(source, offset, PATTERN)?;
        parse_struct(bytes, source.id(), offset, "chunk")
    }

    /// `length` bytes at `offset`, which lie in the file.
    fn bytes(&mut self, source: &dyn Source, offset: u64, length: u64) -> Result<&[u8]> {
        let held = self.start.saturating_add(self.window.len() as u64);
        if offset < self.start || offset.saturating_add(length) > held {
            let count = WINDOW.min(source.size().saturating_sub(offset));
            self.window = source.read(offset, count as usize)?;
            self.start = offset;
        }
        Ok(self.window.get((offset - self.start) as usize..).unwrap_or(&[]))
    }
}
