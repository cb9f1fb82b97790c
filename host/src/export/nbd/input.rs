//! Bytes that a client has sent and nobody has looked at yet.
//!
//! One buffer serves the handshake and the transmission, so that bytes a client
//! sends ahead are not lost between them. It does not parse.

use super::error::ConnectionError;
use super::transport::{Received, Transport};
use super::wake::Wake;

/// How many bytes are taken from a socket at once.
pub(super) const CAPACITY: usize = 128 << 10;

/// The receiving half of a connection.
pub(super) struct Input<'a, T> {
    transport: &'a T,
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<'a, T: Transport> Input<'a, T> {
    pub(super) fn new(transport: &'a T) -> Self {
        Self { transport, bytes: vec![0; CAPACITY].into_boxed_slice(), start: 0, end: 0 }
    }

    /// What has arrived and was not consumed.
    pub(super) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Drops the first `length` bytes that wait, or all if there are fewer.
    pub(super) fn consume(&mut self, length: usize) {
        self.start = self.start.saturating_add(length).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Takes more bytes from the transport.
    pub(super) fn fill(&mut self, wait: bool) -> Result<Received, ConnectionError> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        if room.is_empty() {
            return Ok(Received::Nothing);
        }
        let received = self.transport.receive(room, wait)?;
        if let Received::Bytes(length) = received {
            self.end = self.end.saturating_add(length).min(self.bytes.len());
        }
        Ok(received)
    }

    /// Waits until there are more bytes to take, or until `wake` is called, and hears that.
    pub(super) fn wait(&self, wake: &Wake) -> Result<(), ConnectionError> {
        self.transport.wait(wake)?;
        wake.heard();
        Ok(())
    }

    /// Waits until `length` bytes, at most [`CAPACITY`], are there.
    pub(super) fn require(&mut self, length: usize) -> Result<&[u8], ConnectionError> {
        while self.waiting().len() < length {
            self.fill_or_fail()?;
        }
        Ok(self.waiting().get(..length).unwrap_or_default())
    }

    /// Fills `target` with bytes that are there or will come.
    pub(super) fn read_exact(&mut self, mut target: &mut [u8]) -> Result<(), ConnectionError> {
        while !target.is_empty() {
            if self.waiting().is_empty() {
                self.fill_or_fail()?;
            }
            let length = target.len().min(self.waiting().len());
            let (now, later) = target.split_at_mut(length);
            now.copy_from_slice(self.waiting().get(..length).unwrap_or_default());
            self.consume(length);
            target = later;
        }
        Ok(())
    }

    /// Drops `length` bytes that are there or will come.
    pub(super) fn discard(&mut self, length: u64) -> Result<(), ConnectionError> {
        let mut left = length;
        while left > 0 {
            if self.waiting().is_empty() {
                self.fill_or_fail()?;
            }
            let now = self.waiting().len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.consume(now);
            left -= now as u64;
        }
        Ok(())
    }

    fn fill_or_fail(&mut self) -> Result<(), ConnectionError> {
        match self.fill(true)? {
            Received::Bytes(_) => Ok(()),
            Received::Nothing | Received::End => Err(ConnectionError::Truncated),
        }
    }
}
