//! How stored blocks follow each other in the file: from the rank of a block, the
//! number of stored blocks before it, to its place, and to the group it is verified in.

use fumehood_plugin::{Codec, Content, Digest, DigestValue, Encoded, Stored};

use crate::checksum::Checksums;

/// Larger groups are read without comparing their checksum: every read of a block
/// would read all of its group.
const LARGEST_GROUP: u64 = 16 << 20;

/// The layout of the stored blocks.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Where the first of them begins.
    pub data: u64,
    /// Bytes a block.
    pub block: u64,
    /// How many there are.
    pub used: u64,
    /// What stands between them.
    pub checksums: Option<Checksums>,
    /// Bytes of the file.
    pub file_size: u64,
}

impl Layout {
    /// Bytes of the file, if it is whole; `None` for more than can be.
    pub fn expected_size(&self) -> Option<u64> {
        let blocks = self.used.checked_mul(self.block)?;
        let trailers = match &self.checksums {
            Some(sums) => self.used.div_ceil(sums.blocks).checked_mul(sums.length)?,
            None => 0,
        };
        self.data.checked_add(blocks)?.checked_add(trailers)
    }

    /// How many blocks lie in the file from beginning to end.
    pub fn whole_blocks(&self) -> u64 {
        let room = self.file_size.saturating_sub(self.data);
        let blocks = match &self.checksums {
            None => room / self.block,
            Some(sums) => {
                let group = sums.blocks * self.block + sums.length;
                room / group * sums.blocks + (room % group / self.block).min(sums.blocks)
            }
        };
        blocks.min(self.used)
    }

    /// How many blocks from `rank` on, of at most `count`, have one content, and which.
    pub fn content(&self, source: u32, rank: u64, count: u64, verify: bool) -> (u64, Content) {
        let whole = self.whole_blocks();
        if rank >= whole {
            let what = "the image ends before this block";
            return (count, Content::Damaged(what.into()));
        }
        let count = count.min(whole - rank);
        let stored = |offset| Content::Stored(Stored { source, offset, writable: false });
        let Some(sums) = &self.checksums else {
            return (count, stored(self.data + rank * self.block));
        };
        let (group, inside) = (rank / sums.blocks, rank % sums.blocks);
        let first = group * sums.blocks;
        // Every block below `whole` lies in the file, so none of this overflows.
        let offset = self.data + first * self.block + group * sums.length;
        let count = count.min(sums.blocks - inside);
        let length = sums.blocks.min(self.used - first) * self.block;
        let in_file = length + sums.length <= self.file_size.saturating_sub(offset);
        match sums.kind.filter(|_| verify && in_file && length <= LARGEST_GROUP) {
            None => (count, stored(offset + inside * self.block)),
            Some(kind) => {
                let digest = Digest { kind, value: DigestValue::Follows, over_decoded: true };
                // At most LARGEST_GROUP.
                let length = length as u32;
                let content = Content::Encoded(Encoded {
                    skip: (inside * self.block) as u32,
                    digest: Some(digest),
                    ..Encoded::new(source, offset, length, Codec::Identity, length)
                });
                (count, content)
            }
        }
    }

    /// Whether the checksums are compared when blocks are read.
    pub fn is_verified(&self) -> bool {
        self.checksums.is_some_and(|sums| {
            sums.kind.is_some() && sums.blocks.min(self.used) * self.block <= LARGEST_GROUP
        })
    }
}
