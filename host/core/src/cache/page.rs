//! One page of the extent cache: the extents of a window of the disk, packed.
//!
//! An entry is 20 bytes. Its `tag` holds, from the lowest bit:
//!
//! ```text
//!   bits 0–2   kind   (Kind)
//!   bit  3     the host may write here in place
//!   bits 8–23  layer of the chain that the answer came from
//! ```
//!
//! and `source`, `word` mean by kind: stored: source and byte offset; encoded:
//! bytes to skip in the decoded block, and the block's index in `blocks`; damaged:
//! the text's index in `texts`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::plan::{Block, Piece, PieceKind, Pieces, SourceKey};

/// The most extents of one page; a denser window is cached in parts.
pub(crate) const PAGE_ENTRIES: usize = 16384;

#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Absent = 0,
    Zero = 1,
    Stored = 2,
    Encoded = 3,
    Computed = 4,
    Damaged = 5,
}

#[derive(Clone, Copy)]
struct Entry {
    /// First byte, relative to the page's base.
    start: u32,
    tag: u32,
    source: u32,
    word_low: u32,
    word_high: u32,
}

impl Entry {
    fn word(&self) -> u64 {
        u64::from(self.word_high) << 32 | u64::from(self.word_low)
    }
    fn layer(&self) -> u16 {
        (self.tag >> 8) as u16
    }
}

/// Extents of the range `covered`, in order and gapless.
pub(crate) struct Page {
    base: u64,
    covered: Range<u64>,
    entries: Vec<Entry>,
    blocks: Vec<Block>,
    texts: Vec<Arc<str>>,
}

impl Page {
    /// The range of the disk that this page answers for.
    #[inline]
    pub(crate) fn covers(&self, offset: u64) -> bool {
        self.covered.contains(&offset)
    }

    /// What it costs in memory, in bytes.
    pub(crate) fn cost(&self) -> usize {
        128 + self.entries.len() * size_of::<Entry>()
            + self.blocks.len() * size_of::<Block>()
            + self.texts.iter().map(|text| text.len() + 32).sum::<usize>()
    }

    /// Appends the pieces of `offset..end` that this page covers, and says where
    /// it stopped. `offset` must be covered.
    #[inline]
    pub(crate) fn pieces(&self, offset: u64, end: u64, pieces: &mut Pieces) -> u64 {
        let end = end.min(self.covered.end);
        let relative = (offset - self.base) as u32;
        let mut index = self.entries.partition_point(|entry| entry.start <= relative) - 1;
        let mut at = offset;
        while at < end {
            let entry = &self.entries[index];
            let next = match self.entries.get(index + 1) {
                Some(next) => self.base + u64::from(next.start),
                None => self.covered.end,
            };
            let piece_end = next.min(end);
            let skip = at - (self.base + u64::from(entry.start));
            pieces.push(Piece {
                offset: at,
                length: piece_end - at,
                layer: entry.layer(),
                kind: self.kind(entry, skip),
            });
            at = piece_end;
            index += 1;
        }
        end
    }

    /// What an entry holds, `skip` bytes into it.
    #[inline]
    fn kind(&self, entry: &Entry, skip: u64) -> PieceKind {
        const STORED: u32 = Kind::Stored as u32;
        const ZERO: u32 = Kind::Zero as u32;
        const ENCODED: u32 = Kind::Encoded as u32;
        const COMPUTED: u32 = Kind::Computed as u32;
        const DAMAGED: u32 = Kind::Damaged as u32;
        match entry.tag & 7 {
            STORED => PieceKind::Stored {
                source: SourceKey { layer: entry.layer(), id: entry.source },
                offset: entry.word() + skip,
                writable: entry.tag & 8 != 0,
            },
            ZERO => PieceKind::Zero,
            ENCODED => PieceKind::Encoded {
                block: self.blocks[entry.word_low as usize].clone(),
                skip: entry.source + skip as u32,
            },
            COMPUTED => PieceKind::Computed,
            DAMAGED => PieceKind::Damaged(self.texts[entry.word_low as usize].clone()),
            _ => PieceKind::Absent,
        }
    }
}

/// Builds a page from pieces in order.
pub(crate) struct PageBuilder {
    page: Page,
}

impl PageBuilder {
    /// An empty page at `base` that begins to answer at `start`.
    pub(crate) fn new(base: u64, start: u64) -> Self {
        let page = Page {
            base,
            covered: start..start,
            entries: Vec::new(),
            blocks: Vec::new(),
            texts: Vec::new(),
        };
        Self { page }
    }

    /// Where the next piece goes.
    pub(crate) fn end(&self) -> u64 {
        self.page.covered.end
    }

    /// Whether the page takes no more.
    pub(crate) fn is_full(&self) -> bool {
        self.page.entries.len() >= PAGE_ENTRIES
    }

    /// Appends `length` bytes; neighbours that continue each other are joined.
    pub(crate) fn push(&mut self, length: u64, layer: u16, content: PageContent) {
        let start = (self.page.covered.end - self.page.base) as u32;
        self.page.covered.end += length;
        let (kind, writable, source, word) = match content {
            PageContent::Absent => (Kind::Absent, false, 0, 0),
            PageContent::Zero => (Kind::Zero, false, 0, 0),
            PageContent::Stored { source, offset, writable } => {
                (Kind::Stored, writable, source, offset)
            }
            PageContent::Encoded { block, skip } => {
                if self.page.blocks.last() != Some(&block) {
                    self.page.blocks.push(block);
                }
                (Kind::Encoded, false, skip, self.page.blocks.len() as u64 - 1)
            }
            PageContent::Computed => (Kind::Computed, false, 0, 0),
            PageContent::Damaged(text) => {
                self.page.texts.push(text.into());
                (Kind::Damaged, false, 0, self.page.texts.len() as u64 - 1)
            }
        };
        let entry = Entry {
            start,
            tag: kind as u32 | u32::from(writable) << 3 | u32::from(layer) << 8,
            source,
            word_low: word as u32,
            word_high: (word >> 32) as u32,
        };
        if !self.page.entries.last().is_some_and(|last| continues(last, &entry)) {
            self.page.entries.push(entry);
        }
    }

    pub(crate) fn finish(mut self) -> Page {
        self.page.entries.shrink_to_fit();
        self.page.blocks.shrink_to_fit();
        self.page
    }
}

/// What a page is built from.
pub(crate) enum PageContent {
    Absent,
    Zero,
    Stored { source: u32, offset: u64, writable: bool },
    Encoded { block: Block, skip: u32 },
    Computed,
    Damaged(String),
}

fn continues(last: &Entry, next: &Entry) -> bool {
    let length = next.start - last.start;
    last.tag == next.tag
        && match last.tag & 7 {
            kind if kind == Kind::Stored as u32 => {
                last.source == next.source && last.word() + u64::from(length) == next.word()
            }
            kind if kind == Kind::Encoded as u32 => {
                last.word_low == next.word_low
                    && last.source.checked_add(length) == Some(next.source)
            }
            kind => kind != Kind::Damaged as u32,
        }
}
