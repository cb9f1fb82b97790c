//! The header, and the measures that follow from it; all of it checked once.
//!
//! There is no description by the format's owner. What is known was found by looking at
//! images that macOS 26 made.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Begins every image.
const MAGIC: &[u8; 4] = b"shdw";
const VERSION: u32 = 1;
/// Bytes of an entry, in directories and in tables.
pub const ENTRY_SIZE: u64 = 8;
/// Larger chunks would not be chunks any more; macOS makes some of 1 MiB.
const CHUNK_LIMIT: u64 = 64 << 20;
/// What the host takes for a sector.
const BLOCK_SIZES: core::ops::RangeInclusive<u64> = 512..=65536;

/// As it lies on disk, as far as anything is known of it.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 4],
    version: U32,
    header_size: U32,
    flags: U32,
    directories: [U64; 2],
    identifier: [u8; 16],
    blocks: U64,
    most_blocks: U64,
    chunk_size: U32,
    block_size: U16,
    segments: U16,
    metadata_chunk: U64,
}

/// A header that holds no contradiction.
#[derive(Debug, Clone)]
pub struct Header {
    /// Where the two directories lie; all of both lies in the file.
    pub directories: [u64; 2],
    /// The image's own identifier.
    pub identifier: [u8; 16],
    /// Size of the disk in bytes.
    pub size: u64,
    /// What the disk can grow to; the image's own data lies up to there too.
    pub most: u64,
    /// Bytes a chunk, a power of two.
    pub chunk: u64,
    /// Bytes a block, a power of two.
    pub block: u64,
    /// Which chunk of the disk, behind its end, holds the metadata.
    pub metadata: Option<u64>,
    /// How tables are made.
    pub shape: Shape,
    /// Tables that a directory has room for.
    pub tables: u64,
}

/// A table is a row of groups, and a group so many entries of data chunks and one of
/// the bitmap that says of each block of them whether it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Data chunks a group: as many as two bits a block fill one chunk for.
    pub group: u64,
    /// Data chunks a table.
    pub table: u64,
}

impl Shape {
    fn new(chunk: u64, block: u64) -> Option<Self> {
        let group = 4 * block;
        let groups = chunk / ENTRY_SIZE / (group + 1);
        (groups > 0).then_some(Self { group, table: groups * group })
    }

    /// The entry in its table of a data chunk.
    pub fn entry(&self, chunk_in_table: u64) -> u64 {
        // Behind each group stands the entry of its bitmap.
        chunk_in_table + chunk_in_table / self.group
    }
}

/// Whether a file begins as these images do.
pub fn is_header(head: &[u8]) -> bool {
    let Ok((raw, _)) = RawHeader::read_from_prefix(head) else { return false };
    // Four letters are not much: what follows is looked at too.
    &raw.magic == MAGIC
        && raw.chunk_size.get().is_power_of_two()
        && raw.block_size.get().is_power_of_two()
}

impl Header {
    /// Reads and checks the header of `main`.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] for another magic, [`Error::Unsupported`] for another
    /// version and for flags, [`Error::Corrupt`] by the field that contradicts.
    pub fn read(main: &dyn Source) -> Result<Self> {
        let raw: RawHeader = read_struct(main, 0, "header")?;
        if &raw.magic != MAGIC {
            return Err(Error::Unrecognised);
        }
        let unsupported = |what: String| Err(Error::Unsupported(what));
        match (raw.version.get(), raw.flags.get(), raw.segments.get()) {
            (VERSION, 0, 0) => (),
            (VERSION, 0, segments) => {
                return unsupported(format!("an image of {segments} segments"));
            }
            (VERSION, flags, _) => {
                return unsupported(format!("an image with the flags {flags:#x}"));
            }
            (version, ..) => return unsupported(format!("version {version} of the format")),
        }
        let header_size = raw.header_size.get();
        if (header_size as usize) < size_of::<RawHeader>() {
            return Err(Error::corrupt(8, format!("a header of {header_size} bytes")));
        }
        let (chunk, block) = (u64::from(raw.chunk_size.get()), u64::from(raw.block_size.get()));
        if !block.is_power_of_two() || !BLOCK_SIZES.contains(&block) {
            return Err(Error::corrupt(68, format!("blocks of {block} bytes")));
        }
        let shape = Shape::new(chunk, block)
            .filter(|_| chunk.is_power_of_two() && chunk <= CHUNK_LIMIT)
            .ok_or_else(|| Error::corrupt(64, format!("chunks of {chunk} bytes")))?;
        let bytes =
            |blocks: u64| blocks.checked_mul(block).filter(|bytes| *bytes <= i64::MAX as u64);
        let most = bytes(raw.most_blocks.get());
        let most = most.ok_or_else(|| Error::corrupt(56, "room for more than 2^63 bytes"))?;
        let size = bytes(raw.blocks.get()).filter(|size| *size <= most).ok_or_else(|| {
            Error::corrupt(48, format!("{} blocks in room for {most} bytes", raw.blocks.get()))
        })?;
        let header = Self {
            directories: raw.directories.map(U64::get),
            identifier: raw.identifier,
            size,
            most,
            chunk,
            block,
            metadata: Some(raw.metadata_chunk.get()).filter(|chunk| *chunk != 0),
            shape,
            tables: most.div_ceil(chunk).div_ceil(shape.table),
        };
        header.check_directories(main.size())?;
        Ok(header)
    }

    fn check_directories(&self, file_size: u64) -> Result<()> {
        let length = (self.tables + 1) * ENTRY_SIZE;
        for (number, offset) in self.directories.iter().enumerate() {
            if offset.checked_add(length).is_none_or(|end| end > file_size) {
                let what = format!(
                    "a directory of {length} bytes at {offset} reaches past the end at {file_size}"
                );
                return Err(Error::corrupt(16 + 8 * number as u64, what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_those_of_images_of_macos() {
        let shape = Shape::new(1 << 20, 512).unwrap();
        assert_eq!(shape, Shape { group: 2048, table: 129_024 });
        assert_eq!((shape.entry(2047), shape.entry(2048), shape.entry(4096)), (2047, 2049, 4098));
        assert_eq!(Shape::new(16 << 10, 512), None);
        assert_eq!(Shape::new(32 << 10, 512).unwrap().table, 2048);
    }
}
