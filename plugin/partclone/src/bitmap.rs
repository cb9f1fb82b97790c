//! The bitmap: which blocks are stored. Read in pages of a power of two of blocks;
//! whatever its form, a page is words of bits.

use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Result, Source};

/// Blocks a page, at least.
const PAGE: u64 = 1 << 16;
/// The most pages: a volume with more blocks has larger pages.
const MOST_PAGES: u64 = 1 << 20;
/// In a bitmap of bytes, marks a stored block; anything else is none.
const STORED: u8 = 1;

/// How presence is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Not at all: every block is stored.
    All,
    /// A bit a block, the lowest first.
    Bits,
    /// A byte a block.
    Bytes,
}

/// Where a bitmap lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bitmap {
    /// Its form.
    pub form: Form,
    /// Its offset in the file.
    pub offset: u64,
    /// How many blocks it is about.
    pub blocks: u64,
}

impl Bitmap {
    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.bytes_of(self.blocks)
    }

    /// Blocks a page.
    pub fn page_blocks(&self) -> u64 {
        PAGE.max(self.blocks.div_ceil(MOST_PAGES).next_power_of_two())
    }

    /// How many pages it has.
    pub fn pages(&self) -> u64 {
        self.blocks.div_ceil(self.page_blocks())
    }

    /// The blocks of a page, from the first to the one behind the last.
    pub fn page_range(&self, page: u64) -> (u64, u64) {
        let first = page.saturating_mul(self.page_blocks()).min(self.blocks);
        (first, first.saturating_add(self.page_blocks()).min(self.blocks))
    }

    /// Bytes that `blocks` take, from a page's beginning.
    fn bytes_of(&self, blocks: u64) -> u64 {
        match self.form {
            Form::All => 0,
            Form::Bits => blocks.div_ceil(8),
            Form::Bytes => blocks,
        }
    }

    /// The bytes of pages, from `first` up to `end`. In their sum at most what a
    /// source gives at once.
    ///
    /// # Errors
    /// What the source answers.
    pub fn read(&self, main: &dyn Source, first: u64, end: u64) -> Result<Vec<u8>> {
        let (start, _) = self.page_range(first);
        let (stop, _) = self.page_range(end);
        let offset = self.offset + self.bytes_of(start);
        read_bytes(main, offset, self.bytes_of(stop) - self.bytes_of(start), "bitmap")
    }

    /// Bytes a whole page.
    pub fn page_bytes(&self) -> u64 {
        self.bytes_of(self.page_blocks())
    }

    /// The bits of a page, the first block's lowest, from its bytes.
    pub fn bits(&self, page: u64, bytes: &[u8]) -> Vec<u64> {
        let (first, end) = self.page_range(page);
        let mut words: Vec<u64> = match self.form {
            Form::All => Vec::new(),
            Form::Bits => bytes.chunks(8).map(word).collect(),
            Form::Bytes => bytes.chunks(64).map(pack).collect(),
        };
        // Bits behind the last block mean nothing.
        let rest = (end - first) % 64;
        if rest != 0
            && let Some(last) = words.last_mut()
        {
            *last &= (1 << rest) - 1;
        }
        words
    }
}

/// Up to eight bytes as a word, the first lowest.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Up to 64 bytes as bits.
fn pack(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 1 | u64::from(*byte == STORED))
}

/// How many blocks of a page are stored.
pub fn count(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// How many of the first `bits` blocks of a page are stored.
pub fn count_below(words: &[u64], bits: u64) -> u64 {
    let whole = (bits / 64) as usize;
    let mask = (1u64 << (bits % 64)) - 1;
    let part = words.get(whole).map_or(0, |word| u64::from((word & mask).count_ones()));
    words.get(..whole).map_or(0, count) + part
}

/// Whether the block at `from` is stored, and where in the page the next one is that
/// is not like it: at most `end`.
pub fn run(words: &[u64], from: u64, end: u64) -> (bool, u64) {
    let word = |index: u64| words.get(index as usize).copied().unwrap_or(0);
    let stored = word(from / 64) >> (from % 64) & 1 == 1;
    let mut at = from;
    while at < end {
        let bits = if stored { !word(at / 64) } else { word(at / 64) };
        let rest = bits >> (at % 64);
        if rest != 0 {
            return (stored, (at + u64::from(rest.trailing_zeros())).min(end));
        }
        at = (at / 64 + 1) * 64;
    }
    (stored, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn bitmap(form: Form, blocks: u64) -> Bitmap {
        Bitmap { form, offset: 0, blocks }
    }

    #[test]
    fn both_forms_give_the_same_words() {
        let mut bytes = vec![0u8; 70];
        for block in [0, 3, 9, 63, 64, 69] {
            bytes[block] = 1;
        }
        bytes[5] = 2;
        let mut bits = vec![0u8; 9];
        for block in [0, 3, 9, 63, 64, 69] {
            bits[block / 8] |= 1 << (block % 8);
        }
        // Bits past the end.
        bits[8] |= 0xc0;
        let expected = bitmap(Form::Bytes, 70).bits(0, &bytes);
        assert_eq!(expected, bitmap(Form::Bits, 70).bits(0, &bits));
        assert_eq!(count(&expected), 6);
        assert_eq!(count_below(&expected, 64), 4);
        assert_eq!(count_below(&expected, 9), 2);
    }

    #[test]
    fn runs_end_where_presence_changes() {
        let words = [0xf0, u64::MAX, 1];
        assert_eq!(run(&words, 0, 130), (false, 4));
        assert_eq!(run(&words, 5, 130), (true, 8));
        assert_eq!(run(&words, 8, 130), (false, 64));
        assert_eq!(run(&words, 64, 130), (true, 129));
        assert_eq!(run(&words, 129, 130), (false, 130));
        assert_eq!(run(&words, 70, 100), (true, 100));
    }

    #[test]
    fn pages_grow_with_the_volume() {
        assert_eq!(bitmap(Form::Bits, 1).page_blocks(), 1 << 16);
        let largest = bitmap(Form::Bytes, 1 << 40);
        assert_eq!((largest.page_blocks(), largest.pages()), (1 << 20, 1 << 20));
        assert_eq!(bitmap(Form::Bits, 65537).page_range(1), (65536, 65537));
    }
}
