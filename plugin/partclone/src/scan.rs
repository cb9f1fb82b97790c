//! Counting the bitmap, once, in steps: its ranks, which say how many blocks are stored
//! before each page, and whether it is whole.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Progress, Result, Source};
use zerocopy::little_endian::U32;

use crate::bitmap::{Form, count};
use crate::checksum::{self, Sum};
use crate::header::Header;

/// Bytes of the bitmap read at once; a multiple of any page.
const WINDOW: u64 = 1 << 20;
/// Windows a step.
const STEP: u64 = 8;

/// A scan under way.
pub struct Scan {
    /// The next page.
    page: u64,
    /// Stored blocks before each page so far, and before the next one.
    ranks: Vec<u64>,
    sum: Sum,
    /// Entries of a bitmap of bytes that are neither of its two values.
    strange: u64,
}

/// What a scan found.
pub struct Counted {
    /// Stored blocks before each page, and in all of them.
    pub ranks: Vec<u64>,
    /// Entries of a bitmap of bytes that are neither of its two values.
    pub strange: u64,
}

impl Scan {
    /// A scan that has seen nothing.
    pub fn new() -> Self {
        Self { page: 0, ranks: vec![0], sum: checksum::begin(), strange: 0 }
    }

    /// How far it has come.
    pub fn progress(&self, header: &Header) -> Progress {
        Progress { done: self.page, total: header.bitmap.pages() }
    }

    /// Takes one step, if any is left.
    ///
    /// # Errors
    /// What the source answers.
    pub fn step(&mut self, main: &dyn Source, header: &Header) -> Result<()> {
        let bitmap = &header.bitmap;
        let windows = (WINDOW / bitmap.page_bytes().max(1)).max(1);
        for _ in 0..STEP {
            let end = self.page.saturating_add(windows).min(bitmap.pages());
            if self.page >= end {
                break;
            }
            let bytes = bitmap.read(main, self.page, end)?;
            if bitmap.form == Form::Bytes {
                self.strange += bytes.iter().filter(|byte| **byte > 1).count() as u64;
            } else {
                self.sum.update(&bytes);
            }
            for page in bytes.chunks(bitmap.page_bytes().max(1) as usize) {
                let before = self.ranks.last().copied().unwrap_or(0);
                self.ranks.push(before + count(&bitmap.bits(self.page, page)));
                self.page += 1;
            }
        }
        Ok(())
    }

    /// What it found, now that it has seen everything.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the bitmap's checksum, or the number of blocks that
    /// the header says, is another.
    pub fn finish(self, main: &dyn Source, header: &Header) -> Result<Counted> {
        if header.bitmap.form == Form::Bits {
            let at = header.bitmap.offset + header.bitmap.length();
            let (expected, found) = (self.sum.finalize(), bitmap_checksum(main, header)?);
            if expected != found {
                let what = format!(
                    "expected the bitmap's checksum {expected:#010x}, found {found:#010x}: it \
                     says where everything is, so nothing can be read"
                );
                return Err(Error::corrupt(at, what));
            }
        }
        let counted = self.ranks.last().copied().unwrap_or(0);
        if let Some(used) = header.used.filter(|used| *used != counted) {
            let what = format!("{used} blocks in use, and a bitmap with {counted}");
            return Err(Error::corrupt(header.bitmap.offset, what));
        }
        Ok(Counted { ranks: self.ranks, strange: self.strange })
    }
}

/// The checksum behind a bitmap of bits.
///
/// # Errors
/// What the source answers.
pub fn bitmap_checksum(main: &dyn Source, header: &Header) -> Result<u32> {
    let at = header.bitmap.offset + header.bitmap.length();
    read_struct::<U32>(main, at, "bitmap's checksum").map(U32::get)
}
