//! An extent's header: up to 59 clusters, whose stored blocks follow it. Nothing here
//! knows where a cluster belongs.
//!
//! Source: `vma_spec.txt`, "Extent"; it has no more than 59 clusters, where that text
//! speaks of 64 in one place.

use alloc::format;
use alloc::vec::Vec;
use core::mem::offset_of;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Error, Result};
use zerocopy::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::header::verify;

/// Bytes of an extent's header.
pub const EXTENT_HEADER: u64 = size_of::<Head>() as u64;
/// Bytes a block: what is stored or left out.
pub const BLOCK: u64 = 4096;
const MAGIC: [u8; 4] = *b"VMAE";
/// Clusters an extent has room for.
const SLOTS: usize = 59;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    magic: [u8; 4],
    reserved: U16,
    blocks: U16,
    uuid: [u8; 16],
    md5: [u8; 16],
    slots: [U64; SLOTS],
}

/// A cluster in an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Whose cluster it is; never 0.
    pub device: u8,
    /// Its number on that device.
    pub cluster: u32,
    /// A bit for each of its blocks that is stored, the first in the lowest bit; the
    /// others are zero.
    pub mask: u16,
    /// Where its stored blocks lie in the archive.
    pub offset: u64,
}

impl Slot {
    /// Where its stored blocks end.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.mask.count_ones()) * BLOCK)
    }
}

/// A checked extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Its clusters, in the order of their blocks.
    pub slots: Vec<Slot>,
    /// Where it ends in the archive.
    pub end: u64,
}

impl Extent {
    /// Parses the header in `bytes`, which stands at `offset` of the archive `uuid`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] by the field that cannot be.
    pub fn parse(mut bytes: Vec<u8>, offset: u64, uuid: &[u8; 16]) -> Result<Self> {
        let corrupt =
            |field: usize, what| Error::corrupt(offset.saturating_add(field as u64), what);
        let head: Head = parse_struct(&bytes, 0, offset, "extent header")?;
        if head.magic != MAGIC {
            return Err(corrupt(0, "no extent begins here".into()));
        }
        verify(&mut bytes, offset_of!(Head, md5), &head.md5, offset, "the extent's header")?;
        if head.uuid != *uuid {
            let what = "an extent of another archive: its UUID differs from the header's";
            return Err(corrupt(offset_of!(Head, uuid), what.into()));
        }
        if head.reserved.get() != 0 {
            let what = format!("{} where an extent has 0", head.reserved);
            return Err(corrupt(offset_of!(Head, reserved), what));
        }
        let data = offset.saturating_add(EXTENT_HEADER);
        let (slots, end) = head.slots(data);
        let (stored, stated) = ((end - data) / BLOCK, u64::from(head.blocks.get()));
        if stored != stated {
            let what = format!("clusters with {stored} blocks in an extent of {stated}");
            return Err(corrupt(offset_of!(Head, blocks), what));
        }
        Ok(Self { slots, end })
    }
}

impl Head {
    /// The slots in use, the first one's blocks at `data`, and where the last ends.
    fn slots(&self, data: u64) -> (Vec<Slot>, u64) {
        let mut slots = Vec::new();
        let mut offset = data;
        for word in self.slots.iter().map(|word| word.get()) {
            let slot = Slot {
                device: (word >> 32) as u8,
                cluster: word as u32,
                mask: (word >> 48) as u16,
                offset,
            };
            // A slot may be empty anywhere: the writer gives up the last when in need.
            if slot.device != 0 {
                offset = slot.end();
                slots.push(slot);
            }
        }
        (slots, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!(EXTENT_HEADER, 512);
        assert_eq!(offset_of!(Head, slots), 40);
    }
}
