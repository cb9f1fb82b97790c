//! Plans: what an embedder carries out. A read becomes [`Pieces`]; each says where
//! some bytes of the disk lie, in order and without gaps.

use alloc::sync::Arc;
use core::hash::{Hash, Hasher};

use smallvec::SmallVec;

pub use crate::contract::format::{Cipher, Codec, DigestKind};

/// The pieces of a read, in order. Short plans need no allocation.
pub type Pieces = SmallVec<[Piece; 4]>;

/// A source of one layer of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey {
    /// The layer, 0 at the top.
    pub layer: u16,
    /// The source's number in that layer's image.
    pub id: u32,
}

/// A run of the disk with one kind of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Byte offset on the disk.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub length: u64,
    /// The layer that answered, 0 at the top; for what is absent the lowest.
    pub layer: u16,
    /// Where its bytes are.
    pub kind: PieceKind,
}

/// Where the bytes of a piece are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PieceKind {
    /// In no layer of the chain: zeroes.
    Absent,
    /// Zeroes, said so by a layer.
    Zero,
    /// Verbatim in a source.
    Stored {
        /// Which source.
        source: SourceKey,
        /// Byte offset in it.
        offset: u64,
        /// Writes may go there in place.
        writable: bool,
    },
    /// In a block to decode.
    Encoded {
        /// The whole block.
        block: Block,
        /// Where in its decoded bytes the piece begins.
        skip: u32,
    },
    /// To be had from the plugin: [`crate::Disk::compute`].
    Computed,
    /// Reading fails with this text.
    Damaged(Arc<str>),
}

impl PieceKind {
    /// What stands `skip` bytes behind the beginning of a piece of this kind.
    pub(crate) fn behind(&self, skip: u64) -> Self {
        match self {
            Self::Stored { source, offset, writable } => {
                Self::Stored { source: *source, offset: offset + skip, writable: *writable }
            }
            Self::Encoded { block, skip: already } => {
                Self::Encoded { block: block.clone(), skip: already + skip as u32 }
            }
            other => other.clone(),
        }
    }

    /// Whether the piece is known to read as zeroes.
    pub fn is_zero(&self) -> bool {
        matches!(self, PieceKind::Absent | PieceKind::Zero)
    }
}

/// An encoded block. Equal blocks decode to equal bytes, so it is also the key
/// under which a cache keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Which source.
    pub source: SourceKey,
    /// Byte offset of the stored bytes.
    pub offset: u64,
    /// Length of the stored bytes; an upper bound for codecs that mark their end.
    pub stored_length: u32,
    /// Length once decoded.
    pub decoded_length: u32,
    /// How it is encoded.
    pub codec: Codec,
    /// What to check.
    pub digest: Option<BlockDigest>,
    /// What decoding it needs beside its bytes; usually nothing.
    pub needs: Option<Arc<Needs>>,
}

/// What decoding a block needs beside its stored bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// How the stored bytes are encrypted, if they are.
    pub encryption: Option<Encryption>,
    /// Where a deflate stream is entered in its middle.
    pub window: Option<Window>,
}

/// How stored bytes are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// Which cipher.
    pub cipher: Cipher,
    /// Which key: [`crate::Disk::secret`].
    pub key: u32,
    /// The initialisation vector.
    pub vector: Arc<[u8]>,
    /// What authenticates the bytes; empty where the cipher has none.
    pub tag: Arc<[u8]>,
}

/// What was decoded just before a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// So many low bits of the block's first byte belong to it.
    pub bits: u8,
    /// The source that holds it.
    pub source: SourceKey,
    /// Byte offset in that source.
    pub offset: u64,
    /// Length in bytes.
    pub length: u32,
}

/// Blocks are told apart by where they lie.
impl Hash for Block {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.source, self.offset, self.stored_length).hash(state);
    }
}

/// A digest over a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDigest {
    /// Which function.
    pub kind: DigestKind,
    /// The value, little-endian for checksums; `None` where it stands directly
    /// behind the stored bytes.
    pub value: Option<Arc<[u8]>>,
    /// Taken over the decoded bytes (or over the stored ones).
    pub over_decoded: bool,
}
