//! Blocks and chunks: which entry of the BAT stands for which part of the disk
//! ([MS-VHDX] 2.5). Nothing here reads the image.

use crate::layout::MIB;

/// Bytes an entry of the BAT.
pub const ENTRY_SIZE: u64 = 8;
/// Sectors of which one sector bitmap block of 1 MiB tells.
const CHUNK_SECTORS: u64 = 8 * MIB;

/// How a disk is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Size of the disk in bytes.
    pub size: u64,
    /// Bytes a block: a power of two from 1 to 256 MiB.
    pub block_size: u64,
    /// Bytes a logical sector: 512 or 4096.
    pub sector: u64,
}

impl Geometry {
    /// Payload blocks a chunk.
    pub fn chunk_ratio(self) -> u64 {
        (CHUNK_SECTORS * self.sector / self.block_size).max(1)
    }

    /// Payload blocks of the disk; the last one may lie partly behind its end.
    pub fn block_count(self) -> u64 {
        self.size.div_ceil(self.block_size)
    }

    /// Where on the disk a block begins.
    pub fn block_start(self, block: u64) -> u64 {
        block.saturating_mul(self.block_size)
    }

    /// How many of a block's bytes belong to the disk.
    pub fn block_length(self, block: u64) -> u64 {
        self.size.saturating_sub(self.block_start(block)).min(self.block_size)
    }

    /// Entries the BAT needs; a differencing one ends with a sector bitmap's.
    pub fn entry_count(self, differencing: bool) -> u64 {
        let (blocks, ratio) = (self.block_count(), self.chunk_ratio());
        match differencing {
            true => blocks.div_ceil(ratio) * (ratio + 1),
            false => blocks + blocks.saturating_sub(1) / ratio,
        }
    }

    /// The entry of a payload block.
    pub fn payload_index(self, block: u64) -> u64 {
        block + block / self.chunk_ratio()
    }

    /// The entry of the sector bitmap for a payload block's chunk.
    pub fn bitmap_index(self, block: u64) -> u64 {
        (block / self.chunk_ratio() + 1) * (self.chunk_ratio() + 1) - 1
    }

    /// Sectors a block.
    pub fn block_sectors(self) -> u64 {
        self.block_size / self.sector
    }

    /// The bit of the block's first sector in its chunk's bitmap.
    pub fn first_bit(self, block: u64) -> u64 {
        block % self.chunk_ratio() * self.block_sectors()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_ends_with_its_bitmap() {
        let geometry = Geometry { size: 20 << 30, block_size: 32 << 20, sector: 512 };
        assert_eq!((geometry.chunk_ratio(), geometry.block_count()), (128, 640));
        assert_eq!((geometry.payload_index(127), geometry.payload_index(128)), (127, 129));
        assert_eq!((geometry.bitmap_index(127), geometry.bitmap_index(128)), (128, 257));
        assert_eq!((geometry.entry_count(false), geometry.entry_count(true)), (644, 645));
        assert_eq!(geometry.first_bit(129), 65536);
    }
}
