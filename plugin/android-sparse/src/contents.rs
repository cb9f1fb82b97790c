//! A table of contents: where every so many chunks begin. The chunks' own headers are
//! the index; from an entry here the right one is a short walk away. However many
//! chunks there are, the table stays small: a full one loses every other entry.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::chunk::Place;
use crate::header::Header;

/// Chunks between two entries at first. A walk of so many costs less than a disk seek.
const FIRST_STRIDE: u32 = 16;

/// The table of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    stride: u32,
    /// For each `stride` chunks, the block that the first one begins with and where its
    /// header lies.
    entries: Vec<(u32, u64)>,
}

impl Contents {
    /// An empty table.
    pub fn new() -> Self {
        Self { stride: FIRST_STRIDE, entries: Vec::new() }
    }

    /// Takes note of chunk `number`, with the one before noted already; keeps at most
    /// `limit` entries.
    pub fn note(&mut self, number: u32, place: Place, limit: usize) {
        if !number.is_multiple_of(self.stride) {
            return;
        }
        self.entries.push((place.block, place.offset));
        if self.entries.len() > limit.max(1)
            && let Some(stride) = self.stride.checked_mul(2)
        {
            self.stride = stride;
            let mut number = 0;
            self.entries.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
    }

    /// The last entry at or before the chunk that holds `block`: the chunk's number and
    /// its place.
    pub fn before(&self, block: u32) -> Option<(u32, Place)> {
        let next = self.entries.partition_point(|(start, _)| *start <= block);
        let number = next.checked_sub(1)?;
        let (block, offset) = *self.entries.get(number)?;
        Some(((number as u32).saturating_mul(self.stride), Place { offset, block }))
    }

    /// Whether this can be the table of a file with so many chunks: what a scratch holds
    /// may be anything.
    pub fn fits(&self, header: &Header, chunks: u32, size: u64, limit: usize) -> bool {
        let in_order = |pair: &[(u32, u64)]| match pair {
            [(block, offset), (next, next_offset)] => block <= next && offset < next_offset,
            _ => false,
        };
        let within = |(block, offset): &(u32, u64)| *block <= header.blocks && *offset <= size;
        let begins = |first: &(u32, u64)| *first == (0, header.first_chunk);
        self.stride.is_power_of_two()
            && self.stride >= FIRST_STRIDE
            && self.entries.len() <= limit.max(1)
            && self.entries.len() as u64 == u64::from(chunks.div_ceil(self.stride))
            && self.entries.first().is_none_or(begins)
            && self.entries.last().is_none_or(within)
            && self.entries.windows(2).all(in_order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_loses_every_other_entry() {
        let mut contents = Contents::new();
        let place = |number: u32| Place { offset: 28 + 12 * u64::from(number), block: 2 * number };
        for number in 0..10_000 {
            contents.note(number, place(number), 10);
        }
        assert!(contents.entries.len() <= 10 && contents.stride == 1024, "{contents:?}");
        assert_eq!(contents.before(2 * 5000), Some((4096, place(4096))));
        assert_eq!(contents.before(0), Some((0, place(0))));
    }
}
