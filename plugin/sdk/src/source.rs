//! What a plugin may touch: sources, and the host that grants them.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, Result};

/// A shared handle of a granted source.
pub type SourceHandle = Rc<dyn Source>;

/// What is asked of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// One granted byte sequence: a file, an object in a store, a block device.
///
/// For metadata only: payload is described by extents and moved by the host.
pub trait Source {
    /// The number by which extents name this source; the main source is 0.
    fn id(&self) -> u32;
    /// Its name without a path, for messages and for finding siblings.
    fn name(&self) -> String;
    /// Length in bytes.
    fn size(&self) -> u64;
    /// Exactly `length` bytes from `offset`.
    ///
    /// # Errors
    /// [`Error::Io`] past the end or when the host could not read.
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>>;
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] unless it was granted for writing.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let _ = (offset, bytes);
        Err(Error::ReadOnly)
    }
    /// Grows or shrinks the source.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] unless it was granted for writing.
    fn resize(&self, size: u64) -> Result<()> {
        let _ = size;
        Err(Error::ReadOnly)
    }
    /// Every write so far is durable before any later one.
    ///
    /// # Errors
    /// [`Error::Io`] when the host could not make it so.
    fn flush(&self) -> Result<()> {
        Ok(())
    }
    /// These bytes are not needed: their storage may be given back to the file
    /// system. True where they read as zeroes from now on.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] unless it was granted for writing.
    fn discard(&self, offset: u64, length: u64) -> Result<bool> {
        let _ = (offset, length);
        Err(Error::ReadOnly)
    }
    /// Writes zeroes, without moving them; storage is kept.
    ///
    /// # Errors
    /// As [`Source::write`].
    fn zero(&self, offset: u64, length: u64) -> Result<()> {
        let _ = (offset, length);
        Err(Error::ReadOnly)
    }
}

/// How grave a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// The host, as a plugin sees it.
pub trait Host {
    /// Asks for something the image names. The host resolves the name by its own
    /// policy and may refuse.
    ///
    /// # Errors
    /// [`Error::Missing`] where it is not there, [`Error::NotGranted`] where it lies
    /// outside of what the operator granted.
    fn open(&self, reference: &str, access: Access) -> Result<SourceHandle>;
    /// A number for a thing the image names, without opening it: for vaults of
    /// millions of chunks.
    ///
    /// # Errors
    /// [`Error::Missing`] where the name can never be granted.
    fn declare(&self, reference: &str) -> Result<u32>;
    /// A number by which extents name a key of 16 or 32 bytes, for the host to decrypt
    /// with ([`crate::Encryption`]).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another length, or more than 1024 keys.
    fn keep_secret(&self, key: &[u8]) -> Result<u32>;
    /// A line for the operator's log.
    fn log(&self, level: Level, message: &str);
}
