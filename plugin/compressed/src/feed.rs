//! Reading a source from front to back in large steps, for decoders and headers.

use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, SourceHandle};

/// Bytes read at once by a decoder.
const STEP: u64 = 256 << 10;
/// Bytes read at once where just headers are of interest.
const NARROW: u64 = 64;

/// A source, read ahead.
pub struct Feed {
    source: SourceHandle,
    /// Where in the source the first unread byte of the buffer lies.
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    /// The first unread byte of the buffer.
    start: usize,
    step: u64,
}

impl Feed {
    /// The part of `source` from `position` to `end`.
    pub fn new(source: SourceHandle, position: u64, end: u64) -> Self {
        let end = end.min(source.size());
        Self { source, position: position.min(end), end, buffer: Vec::new(), start: 0, step: STEP }
    }

    /// The same, for one who reads headers and passes what is between.
    pub fn narrow(mut self) -> Self {
        self.step = NARROW;
        self
    }

    /// Where in the source the next byte lies.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether all was consumed.
    pub fn is_empty(&self) -> bool {
        self.position >= self.end
    }

    /// Bytes from here to the end.
    pub fn left(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// The next bytes: some, unless it is at the end.
    ///
    /// # Errors
    /// What the source answers.
    pub fn some(&mut self) -> Result<&[u8]> {
        self.fill(1)?;
        Ok(self.buffered())
    }

    /// The next `length` bytes, and maybe more; fewer only at the end.
    ///
    /// # Errors
    /// What the source answers.
    pub fn at_least(&mut self, length: usize) -> Result<&[u8]> {
        self.fill(length)?;
        Ok(self.buffered())
    }

    /// The next `length` bytes exactly, which stay unread.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where they are not there; `what` names them.
    pub fn peek(&mut self, length: usize, what: &str) -> Result<&[u8]> {
        self.fill(length)?;
        let (id, position, end) = (self.source.id(), self.position, self.end);
        self.buffered().get(..length).ok_or_else(|| {
            let what = alloc::format!("expected {what} of {length} bytes, found the end at {end}");
            Error::corrupt_in(id, position, what)
        })
    }

    /// `length` bytes, and passes them.
    ///
    /// # Errors
    /// As [`Feed::peek`].
    pub fn take<const LENGTH: usize>(&mut self, what: &str) -> Result<[u8; LENGTH]> {
        let mut taken = [0; LENGTH];
        taken.copy_from_slice(self.peek(LENGTH, what)?);
        self.consume(LENGTH);
        Ok(taken)
    }

    /// A little-endian number of four bytes, and passes it.
    ///
    /// # Errors
    /// As [`Feed::peek`].
    pub fn take_u32(&mut self, what: &str) -> Result<u32> {
        self.take(what).map(u32::from_le_bytes)
    }

    /// Passes `length` bytes that were shown.
    pub fn consume(&mut self, length: usize) {
        let length = length.min(self.buffer.len() - self.start);
        self.start += length;
        self.position += length as u64;
    }

    /// Goes to `position`, forwards or back.
    pub fn seek(&mut self, position: u64) {
        let position = position.min(self.end);
        match position.checked_sub(self.position) {
            Some(ahead) if ahead <= (self.buffer.len() - self.start) as u64 => {
                self.consume(ahead as usize);
            }
            _ => {
                self.buffer.clear();
                self.start = 0;
                self.position = position;
            }
        }
    }

    fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn fill(&mut self, length: usize) -> Result<()> {
        let have = self.buffer.len() - self.start;
        if have >= length || have as u64 >= self.left() {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        while self.buffer.len() < length {
            let at = self.position + self.buffer.len() as u64;
            let step = self.step.max((length - self.buffer.len()) as u64).min(self.end - at);
            if step == 0 {
                break;
            }
            let step = step.min(STEP);
            let bytes = read_bytes(&*self.source, at, step, "the compressed file")?;
            if self.buffer.is_empty() {
                self.buffer = bytes;
            } else {
                self.buffer.extend_from_slice(&bytes);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;

    use fumehood_plugin::memory::MemorySource;

    use super::*;

    #[test]
    fn it_reads_on_and_back() {
        let bytes: Vec<u8> = (0..STEP as u32 * 2).map(|n| ((n * 7) >> 3) as u8).collect();
        let source = Rc::new(MemorySource::new(0, "x", bytes.clone()));
        let mut feed = Feed::new(source, 10, bytes.len() as u64 - 5);
        assert_eq!(feed.some().unwrap()[..5], bytes[10..15]);
        feed.consume(STEP as usize - 3);
        let at = 10 + STEP as usize - 3;
        assert_eq!(feed.peek(10, "x").unwrap(), &bytes[at..at + 10]);
        assert_eq!(feed.take::<4>("x").unwrap(), bytes[at..at + 4]);
        feed.seek(20);
        assert_eq!(feed.peek(2, "x").unwrap(), &bytes[20..22]);
        feed.seek(bytes.len() as u64 - 7);
        assert_eq!((feed.left(), feed.at_least(9).unwrap().len()), (2, 2));
        assert!(feed.take_u32("a number").is_err());
        feed.consume(9);
        assert!(feed.is_empty() && feed.some().unwrap().is_empty());
    }
}
