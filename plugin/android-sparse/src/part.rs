//! One file of an image: what is learned of it by one walk over its chunks, and finding
//! the chunk that holds a block afterwards.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::{Error, Result, SourceHandle};
use serde::{Deserialize, Serialize};

use crate::chunk::{Chunk, ChunkReader, Kind, Met, Place};
use crate::contents::Contents;
use crate::header::Header;

/// What the walk learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Where chunks are.
    pub contents: Contents,
    /// Chunks walked over.
    pub chunks: u32,
    /// Blocks they hold; the rest is nobody's care, or lost.
    pub blocks: u32,
    /// Why the walk ended before the last chunk, if it did.
    pub broken: Option<String>,
    /// The CRC-32 in the last chunk.
    pub checksum: Option<u32>,
    /// Whether there are chunks that readers and writers count differently into a
    /// CRC-32: those without data, and those that fill more than one block.
    pub ambiguous: bool,
}

impl Learned {
    /// What is wrong with the chunks as a whole.
    pub fn flaw(&self, part: &Part) -> Option<String> {
        let all = part.header.blocks;
        let short = || {
            (self.blocks < all).then(|| {
                let (name, blocks) = (part.source.name(), self.blocks);
                format!(
                    "{name}: its chunks hold {blocks} of {all} blocks; the rest reads as zeroes"
                )
            })
        };
        self.broken.clone().or_else(short)
    }
}

/// A file of an image.
pub struct Part {
    /// The file.
    pub source: SourceHandle,
    /// Its header.
    pub header: Header,
}

impl Part {
    /// The file in `source`.
    ///
    /// # Errors
    /// As [`Header::read`].
    pub fn open(source: SourceHandle) -> Result<Self> {
        let header = Header::read(&*source)?;
        Ok(Self { source, header })
    }
}

/// A walk under way.
pub struct Walk {
    reader: ChunkReader,
    offset: u64,
    /// What is known so far.
    pub learned: Learned,
}

impl Walk {
    /// At the first chunk of a part.
    pub fn new(part: &Part) -> Self {
        let learned = Learned {
            contents: Contents::new(),
            chunks: 0,
            blocks: 0,
            broken: None,
            checksum: None,
            ambiguous: false,
        };
        Self { reader: ChunkReader::default(), offset: part.header.first_chunk, learned }
    }

    /// Whether all was seen that can be.
    pub fn is_done(&self, part: &Part) -> bool {
        self.learned.broken.is_some() || self.learned.chunks >= part.header.chunks
    }

    /// Walks over at most `count` chunks; keeps `limit` entries of contents.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for blocks past the disk's end, or what the source answers.
    pub fn advance(&mut self, part: &Part, count: u32, limit: usize) -> Result<()> {
        for _ in 0..count {
            if self.is_done(part) {
                break;
            }
            let place = Place { offset: self.offset, block: self.learned.blocks };
            match self.reader.read(&*part.source, &part.header, place)? {
                Met::Chunk(chunk) => self.take(&chunk, place, limit),
                Met::Broken(what) => self.learned.broken = Some(what),
                Met::Excess(what) => {
                    return Err(Error::corrupt_in(part.source.id(), self.offset, what));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, chunk: &Chunk, place: Place, limit: usize) {
        let learned = &mut self.learned;
        learned.contents.note(learned.chunks, place, limit);
        learned.chunks += 1;
        learned.blocks = chunk.end;
        self.offset = chunk.next;
        learned.checksum = match chunk.kind {
            Kind::Checksum(value) => Some(value),
            _ => None,
        };
        learned.ambiguous |= match chunk.kind {
            Kind::DoNotCare => true,
            Kind::Fill(_) => chunk.end - chunk.start > 1,
            Kind::Raw(_) | Kind::Checksum(_) => false,
        };
    }
}

/// What a part holds from a block on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The block behind the last one.
    pub end: u32,
    /// What, and from which block of the disk on.
    pub kind: HeldKind,
}

/// See [`Held`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldKind {
    /// Nothing.
    Nothing,
    /// A chunk that began at `start`.
    Chunk {
        /// Its first block.
        start: u32,
        /// What it holds.
        kind: Kind,
    },
    /// The chunk cannot be found.
    Lost(String),
}

/// Finds chunks; remembers the last one, for the next is most often asked for next.
pub struct Cursor {
    reader: ChunkReader,
    /// The number of the chunk and itself.
    at: Option<(u32, Chunk)>,
}

impl Cursor {
    /// A cursor that was nowhere yet.
    pub fn new() -> Self {
        Self { reader: ChunkReader::default(), at: None }
    }

    /// What `part` holds at `block`, which lies on the disk. Adds the chunks walked
    /// over to `steps`.
    ///
    /// # Errors
    /// What the source answers.
    pub fn find(
        &mut self,
        part: &Part,
        learned: &Learned,
        block: u32,
        steps: &mut usize,
    ) -> Result<Held> {
        if block >= learned.blocks {
            let kind = learned.broken.clone().map_or(HeldKind::Nothing, HeldKind::Lost);
            return Ok(Held { end: part.header.blocks, kind });
        }
        let Some((mut number, mut place)) = learned.contents.before(block) else {
            return Ok(lost(block, "the chunk is not found"));
        };
        if let Some((last, chunk)) = self.at.filter(|(_, chunk)| chunk.start <= block) {
            if block < chunk.end {
                return Ok(held(&chunk));
            }
            if last >= number {
                (number, place) = (last + 1, Place { offset: chunk.next, block: chunk.end });
            }
        }
        while number < part.header.chunks {
            *steps += 1;
            let chunk = match self.reader.read(&*part.source, &part.header, place)? {
                Met::Chunk(chunk) => chunk,
                Met::Broken(what) | Met::Excess(what) => return Ok(lost(block, &what)),
            };
            self.at = Some((number, chunk));
            if block < chunk.end {
                return Ok(held(&chunk));
            }
            place = Place { offset: chunk.next, block: chunk.end };
            number += 1;
        }
        Ok(lost(block, "the chunk is not found"))
    }
}

fn lost(block: u32, what: &str) -> Held {
    Held { end: block.saturating_add(1), kind: HeldKind::Lost(what.into()) }
}

fn held(chunk: &Chunk) -> Held {
    let kind = match chunk.kind {
        Kind::DoNotCare | Kind::Checksum(_) => HeldKind::Nothing,
        kind => HeldKind::Chunk { start: chunk.start, kind },
    };
    Held { end: chunk.end, kind }
}
