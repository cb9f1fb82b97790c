//! Bits out of a source, read ahead.

use alloc::format;
use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::read::read_bytes;
use crate::source::SourceHandle;

/// Bytes read at once.
const STEP: u64 = 256 << 10;

/// Bits of a source, the highest of each byte first.
pub struct Bits {
    source: SourceHandle,
    /// Where in the source the next chunk lies.
    at: u64,
    end: u64,
    chunk: Vec<u8>,
    /// The chunk's first byte that is not in the word.
    next: usize,
    word: u64,
    count: u32,
}

impl Bits {
    /// All bits of `source`.
    pub fn new(source: SourceHandle) -> Self {
        let end = source.size();
        Self { source, at: 0, end, chunk: Vec::new(), next: 0, word: 0, count: 0 }
    }

    /// Bytes that were read and not passed.
    fn unread(&self) -> u64 {
        (self.chunk.len() - self.next) as u64 + u64::from(self.count / 8)
    }

    /// The offset that they have come to, in whole bytes.
    pub fn position(&self) -> u64 {
        self.at.saturating_sub(self.unread())
    }

    /// Bytes behind here.
    pub fn left(&self) -> u64 {
        self.end - self.at + self.unread()
    }

    /// Goes on to the next whole byte.
    pub(super) fn align(&mut self) {
        self.count -= self.count % 8;
    }

    fn refill(&mut self) -> Result<()> {
        let length = (self.end - self.at).min(STEP);
        if length > 0 {
            self.chunk = read_bytes(&*self.source, self.at, length, "bzip2 stream")?;
            self.at += length;
            self.next = 0;
        }
        Ok(())
    }

    /// At least `count` bits in the word, zeroes behind the end.
    fn fill(&mut self, count: u32) -> Result<u32> {
        while self.count < count {
            if self.next >= self.chunk.len() {
                self.refill()?;
            }
            let Some(byte) = self.chunk.get(self.next) else { break };
            self.word = self.word << 8 | u64::from(*byte);
            self.next += 1;
            self.count += 8;
        }
        Ok(self.count)
    }

    /// The next `count` bits, 32 at most, which stay; those behind the end are zero.
    pub(super) fn peek(&mut self, count: u32) -> Result<u32> {
        let have = self.fill(count)?;
        let word = match have.checked_sub(count) {
            Some(more) => self.word >> more,
            None => self.word << (count - have),
        };
        Ok((word & ((1 << count) - 1)) as u32)
    }

    pub(super) fn pass(&mut self, count: u32) -> Result<()> {
        let left = self.count.checked_sub(count);
        self.count = left.ok_or_else(|| {
            let end = self.end;
            let what = format!("expected the rest of a bzip2 stream, found the end at {end}");
            Error::corrupt_in(self.source_id(), self.at, what)
        })?;
        Ok(())
    }

    /// The next `count` bits, 32 at most.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at the end, or what the source answers.
    pub(super) fn take(&mut self, count: u32) -> Result<u32> {
        let bits = self.peek(count)?;
        self.pass(count)?;
        Ok(bits)
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    pub(super) fn source_id(&self) -> u32 {
        self.source.id()
    }

    pub(super) fn corrupt<T>(&self, what: &str) -> Result<T> {
        let what = format!("expected a sound bzip2 block, found {what}");
        Err(Error::corrupt_in(self.source_id(), self.position(), what))
    }
}
