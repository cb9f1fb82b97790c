//! Bytes on their way to a client.
//!
//! Small pieces gather in one buffer, so that the answers to all requests that were
//! waiting leave in one system call. Long ones go past it. It does not know what
//! the bytes mean.

use std::fs::File;
use std::io;

use zerocopy::{Immutable, IntoBytes};

use super::transport::Transport;

/// How many bytes gather before they are sent.
pub(super) const CAPACITY: usize = 256 << 10;
/// Pieces of at least this size are not copied into the buffer.
const DIRECT: usize = 32 << 10;

static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// A place in the buffer to which [`Output::rewind`] can return.
#[derive(Clone, Copy)]
pub(super) struct Mark(usize);

/// The sending half of a connection.
pub(super) struct Output<'a, T> {
    transport: &'a T,
    bytes: Box<[u8]>,
    used: usize,
}

impl<'a, T: Transport> Output<'a, T> {
    pub(super) fn new(transport: &'a T) -> Self {
        Self { transport, bytes: vec![0; CAPACITY].into_boxed_slice(), used: 0 }
    }

    /// Sends what has gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.flush_with(&[], false)
    }

    /// Makes room for `length` bytes, at most [`CAPACITY`].
    pub(super) fn ensure(&mut self, length: usize) -> io::Result<()> {
        if self.bytes.len().saturating_sub(self.used) < length { self.flush() } else { Ok(()) }
    }

    /// Adds a structure of the wire.
    pub(super) fn put<S: IntoBytes + Immutable>(&mut self, structure: &S) -> io::Result<()> {
        self.put_bytes(structure.as_bytes())
    }

    /// Adds bytes.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() >= DIRECT {
            return self.flush_with(bytes, false);
        }
        self.ensure(bytes.len())?;
        if let Some(space) = self.space(bytes.len()) {
            space.copy_from_slice(bytes);
            self.advance(bytes.len());
        }
        Ok(())
    }

    /// Adds zeroes.
    pub(super) fn put_zeroes(&mut self, mut length: u64) -> io::Result<()> {
        while length > 0 {
            let now = usize::try_from(length).unwrap_or(ZEROES.len()).min(ZEROES.len());
            self.put_bytes(ZEROES.get(..now).unwrap_or_default())?;
            length -= now as u64;
        }
        Ok(())
    }

    /// Sends what has gathered and then a part of a file; answers how many bytes the
    /// file had.
    pub(super) fn put_file(&mut self, file: &File, offset: u64, length: u64) -> io::Result<u64> {
        self.flush_with(&[], true)?;
        self.transport.send_file(file, offset, length)
    }

    /// The next `length` bytes of the buffer, to be filled in and then counted with
    /// [`Output::advance`]. There is room after [`Output::ensure`].
    pub(super) fn space(&mut self, length: usize) -> Option<&mut [u8]> {
        let end = self.used.checked_add(length)?;
        self.bytes.get_mut(self.used..end)
    }

    /// Counts bytes that were filled in.
    pub(super) fn advance(&mut self, length: usize) {
        self.used = self.used.saturating_add(length).min(self.bytes.len());
    }

    /// Remembers this place.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.used)
    }

    /// Forgets what was added since `mark`; nothing may have been flushed since.
    pub(super) fn rewind(&mut self, mark: Mark) {
        self.used = self.used.min(mark.0);
    }

    fn flush_with(&mut self, last: &[u8], more: bool) -> io::Result<()> {
        if self.used == 0 && last.is_empty() {
            return Ok(());
        }
        let gathered = self.bytes.get(..self.used).unwrap_or_default();
        self.transport.send(gathered, last, more)?;
        self.used = 0;
        Ok(())
    }
}
