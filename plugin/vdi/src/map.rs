//! The map from the disk to the file: an entry for each block, read over a window and
//! answered with extents.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::read_table;
use fumehood_plugin::{Content, Error, Extent, Extents, Result, Source, Stored};
use zerocopy::little_endian::U32;

use crate::header::{ENTRY_SIZE, Header};

/// An answer stops short after this many blocks.
const BLOCK_LIMIT: u64 = 65_536;
/// An answer stops short at this many extents.
const EXTENT_LIMIT: usize = 16_384;

/// What an entry says of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It is not in this image (`VDI_IMAGE_BLOCK_FREE`).
    Free,
    /// It reads as zeroes, whatever a parent holds (`VDI_IMAGE_BLOCK_ZERO`).
    Zero,
    /// It is the block of this number in the file.
    Block(u32),
}

impl Entry {
    /// What the word on disk means.
    pub fn parse(word: U32) -> Self {
        match word.get() {
            u32::MAX => Self::Free,
            0xffff_fffe => Self::Zero,
            index => Self::Block(index),
        }
    }
}

/// The entries of up to `count` blocks from `first` on, which are in the map.
///
/// # Errors
/// As [`read_table`].
pub fn entries(main: &dyn Source, header: &Header, first: u64, count: u64) -> Result<Vec<Entry>> {
    let count = count.min(BLOCK_LIMIT);
    // The map lies in the file, so this does not overflow.
    let offset = header.map_offset + first * ENTRY_SIZE;
    let words = read_table(main, offset, count, "block map")?;
    Ok(words.into_iter().map(Entry::parse).collect())
}

/// Extents from the block that holds `offset` to at least one, at most about `length`
/// bytes on.
///
/// # Errors
/// [`Error::OutOfRange`] past the disk, or what the source answers.
pub fn extents(
    main: &dyn Source,
    header: &Header,
    offset: u64,
    length: u64,
) -> Result<Vec<Extent>> {
    if offset >= header.disk_size {
        return Err(Error::OutOfRange);
    }
    let block_size = u64::from(header.block_size);
    let end = offset.saturating_add(length.max(1)).min(header.disk_size);
    let first = offset / block_size;
    let count = end.div_ceil(block_size) - first;
    let file_size = main.size();
    let mut answer = Answer { extents: Extents::new(), offset, at: first * block_size };
    for entry in entries(main, header, first, count)? {
        if answer.extents.len() >= EXTENT_LIMIT {
            break;
        }
        let length = block_size.min(header.disk_size - answer.at);
        match entry {
            Entry::Free => answer.push(length, Content::Absent),
            Entry::Zero => answer.push(length, Content::Zero),
            Entry::Block(index) => {
                let place = header.place(index);
                // Of a file that was cut off, what is there can still be read.
                let there = file_size.saturating_sub(place).min(length);
                let stored = Stored { source: main.id(), offset: place, writable: false };
                answer.push(there, Content::Stored(stored));
                if there < length {
                    let what = format!("the block lies past the file's end at {file_size}");
                    answer.push(length - there, Content::Damaged(what));
                }
            }
        }
    }
    Ok(answer.extents.finish())
}

struct Answer {
    extents: Extents,
    /// What was asked for; what ends before it is no part of the answer.
    offset: u64,
    /// Where the answer ends so far.
    at: u64,
}

impl Answer {
    fn push(&mut self, length: u64, content: Content) {
        let start = self.at;
        self.at += length;
        if self.at > self.offset {
            self.extents.push(start, length, content);
        }
    }
}
