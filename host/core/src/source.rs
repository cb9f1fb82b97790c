//! What an embedder provides: sources, and the policy that grants them.

use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

/// What may be done with a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// A source failed, or was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Nothing of that name is granted; says why and what to do.
    #[error("{0}")]
    NotGranted(String),
    /// What was asked for is not there; names it.
    #[error("{0}")]
    Missing(String),
    /// Reading or writing failed; names the source and the offset.
    #[error("{0}")]
    Io(String),
    /// No room left below.
    #[error("no space left: {0}")]
    NoSpace(String),
    /// Opened read-only.
    #[error("{0} is opened read-only")]
    ReadOnly(String),
}

/// One granted byte sequence. Plugins read metadata from it, an embedder's mover
/// payload. Must not panic for any offset.
pub trait Source: Any + Send + Sync {
    /// Its name without a path.
    fn name(&self) -> &str;
    /// Length in bytes, as of now.
    fn size(&self) -> u64;
    /// What it was opened for.
    fn access(&self) -> Access {
        Access::Read
    }
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`SourceError::Io`], also where the end comes first.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError>;
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// [`SourceError::ReadOnly`] unless opened for writing.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SourceError> {
        let _ = (offset, bytes);
        Err(SourceError::ReadOnly(self.name().into()))
    }
    /// Grows or shrinks it.
    ///
    /// # Errors
    /// [`SourceError::ReadOnly`] unless opened for writing.
    fn resize(&self, size: u64) -> Result<(), SourceError> {
        let _ = size;
        Err(SourceError::ReadOnly(self.name().into()))
    }
    /// Every write so far is durable before any later one.
    ///
    /// # Errors
    /// [`SourceError::Io`].
    fn flush(&self) -> Result<(), SourceError> {
        Ok(())
    }
    /// These bytes are not needed: gives their storage back, if it can. True where
    /// they read as zeroes from now on.
    ///
    /// # Errors
    /// [`SourceError::ReadOnly`] unless opened for writing.
    fn discard(&self, offset: u64, length: u64) -> Result<bool, SourceError> {
        let _ = (offset, length);
        match self.access() {
            Access::ReadWrite => Ok(false),
            Access::Read => Err(SourceError::ReadOnly(self.name().into())),
        }
    }
    /// Writes zeroes, keeping the storage.
    ///
    /// # Errors
    /// As [`Source::write_at`].
    fn zero(&self, offset: u64, length: u64) -> Result<(), SourceError> {
        write_zeroes(|at, zeroes| self.write_at(at, zeroes), offset, length)
    }
    /// Itself, for an embedder's mover that knows its own kinds of source.
    fn as_any(&self) -> &dyn Any;
}

/// Zeroes a range by `write`, which writes bytes at an offset: for sources that have no
/// better way.
///
/// # Errors
/// What `write` answers.
pub fn write_zeroes(
    write: impl Fn(u64, &[u8]) -> Result<(), SourceError>,
    offset: u64,
    length: u64,
) -> Result<(), SourceError> {
    const STEP: u64 = 1 << 18;
    let zeroes = alloc::vec![0; STEP.min(length) as usize];
    let end = offset.saturating_add(length);
    let mut at = offset;
    while at < end {
        let step = STEP.min(end - at);
        write(at, &zeroes[..step as usize])?;
        at += step;
    }
    Ok(())
}

/// The operator's policy: resolves what an image names.
///
/// A plugin has no `open` of its own; this is the one gate.
pub trait Grants: Send + Sync {
    /// Opens what an image names.
    ///
    /// # Errors
    /// [`SourceError::NotGranted`] for anything outside of what was granted.
    fn open(&self, reference: &str, access: Access) -> Result<Arc<dyn Source>, SourceError>;
}

/// Grants nothing: for formats of one file.
pub struct NoGrants;

impl Grants for NoGrants {
    fn open(&self, reference: &str, _access: Access) -> Result<Arc<dyn Source>, SourceError> {
        Err(SourceError::NotGranted(alloc::format!("{reference} is not granted")))
    }
}
