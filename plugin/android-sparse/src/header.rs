//! The header of a sparse image, checked once.
//!
//! Source: Android Open Source Project, libsparse, `sparse_format.h`.

use alloc::format;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Begins every image.
pub const MAGIC: u32 = 0xed26_ff3a;
/// Bytes of a chunk's header, as far as they are defined.
pub const CHUNK_HEADER: u64 = 12;
/// Blocks are filled with a pattern of so many bytes.
pub const PATTERN: u64 = 4;

/// As it lies on disk.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawHeader {
    magic: U32,
    major: U16,
    minor: U16,
    header_size: U16,
    chunk_header_size: U16,
    block_size: U32,
    blocks: U32,
    chunks: U32,
    checksum: U32,
}

/// A header that holds no contradiction.
#[derive(Debug, Clone)]
pub struct Header {
    /// Where the first chunk's header lies.
    pub first_chunk: u64,
    /// Bytes of each chunk's header.
    pub chunk_header: u64,
    /// Bytes a block, a multiple of [`PATTERN`].
    pub block: u64,
    /// Blocks of the disk.
    pub blocks: u32,
    /// Chunks of the image.
    pub chunks: u32,
    /// CRC-32 of the whole disk, where it is recorded.
    pub checksum: Option<u32>,
    /// The bytes it was read from, to tell one image from another.
    pub raw: RawHeader,
}

impl Header {
    /// Reads and checks the header of `source`.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] for another magic, [`Error::Unsupported`] for another
    /// major version, [`Error::Corrupt`] by the field that contradicts.
    pub fn read(source: &dyn Source) -> Result<Self> {
        let raw: RawHeader = read_struct(source, 0, "header")?;
        if raw.magic.get() != MAGIC {
            return Err(Error::Unrecognised);
        }
        if raw.major.get() != 1 {
            let (major, minor) = (raw.major.get(), raw.minor.get());
            return Err(Error::Unsupported(format!("version {major}.{minor} of sparse images")));
        }
        let corrupt = |offset, what| Err(Error::corrupt_in(source.id(), offset, what));
        let first_chunk = u64::from(raw.header_size.get());
        if first_chunk < size_of::<RawHeader>() as u64 {
            return corrupt(8, format!("a header of {first_chunk} bytes"));
        }
        let chunk_header = u64::from(raw.chunk_header_size.get());
        if chunk_header < CHUNK_HEADER {
            return corrupt(10, format!("chunk headers of {chunk_header} bytes"));
        }
        let block = u64::from(raw.block_size.get());
        if block == 0 || !block.is_multiple_of(PATTERN) {
            return corrupt(12, format!("blocks of {block} bytes"));
        }
        let blocks = raw.blocks.get();
        if block * u64::from(blocks) > i64::MAX as u64 {
            return corrupt(16, format!("{blocks} blocks of {block} bytes"));
        }
        let checksum = Some(raw.checksum.get()).filter(|checksum| *checksum != 0);
        let chunks = raw.chunks.get();
        Ok(Self { first_chunk, chunk_header, block, blocks, chunks, checksum, raw })
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        // At most i64::MAX, checked above.
        self.block * u64::from(self.blocks)
    }
}
