//! A disk as an embedder uses it: reads into the caller's buffers, extents, info.

use std::io::IoSliceMut;
use std::sync::Arc;

use fumehood_core::contract::format::{DiskInfo, Finding};
use fumehood_core::{self as core, Layer, Pieces};

use crate::error::Result;
use crate::mover::Mover;

/// A disk inside an image, with its chain of parents behind it. Cheap to clone,
/// and to be used from any number of threads at once.
#[derive(Clone)]
pub struct Disk {
    inner: Arc<Inner>,
}

struct Inner {
    disk: core::Disk,
    mover: Mover,
}

impl Disk {
    pub(crate) fn new(
        layers: Vec<Layer>,
        extent_cache: usize,
        block_cache: usize,
    ) -> Result<Self, core::Error> {
        let disk = core::Disk::new(layers, extent_cache)?;
        Ok(Self { inner: Arc::new(Inner { disk, mover: Mover::new(block_cache) }) })
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.inner.disk.size()
    }

    /// What its image says of it.
    pub fn info(&self) -> &DiskInfo {
        self.inner.disk.info()
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// [`crate::Error::Core`] outside the disk, for damaged ranges and failing
    /// plugins; [`crate::Error::Decode`]. The buffer's contents are then undefined.
    #[inline]
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let mut pieces = Pieces::new();
        self.inner.disk.plan_read(offset, buffer.len() as u64, &mut pieces)?;
        self.inner.mover.read(&self.inner.disk, &pieces, buffer)
    }

    /// Fills `buffer` as [`Disk::read_at`] does, if that takes no decoding; answers
    /// `false` at once where it does.
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    #[inline]
    pub fn read_ready(&self, buffer: &mut [u8], offset: u64) -> Result<bool> {
        let mut pieces = Pieces::new();
        self.inner.disk.plan_read(offset, buffer.len() as u64, &mut pieces)?;
        if !pieces.iter().all(|piece| self.inner.mover.is_ready(piece)) {
            return Ok(false);
        }
        self.inner.mover.read(&self.inner.disk, &pieces, buffer)?;
        Ok(true)
    }

    /// Fills the buffers one after the other, from `offset` on.
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    pub fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<()> {
        let mut at = offset;
        for buffer in buffers {
            self.read_at(buffer, at)?;
            at += buffer.len() as u64;
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// [`core::Error::ReadOnly`] in [`crate::Error::Core`] unless the image was
    /// opened for writing, and what sources and plugins answer.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.inner.mover.write(&self.inner.disk, bytes, offset)
    }

    /// Makes `length` bytes read as zeroes; with `drop`, their storage may be
    /// given back.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn zero(&self, offset: u64, length: u64, drop: bool) -> Result<()> {
        Ok(self.inner.disk.zero(offset, length, drop)?)
    }

    /// Everything written so far survives a crash from here on.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn flush(&self) -> Result<()> {
        Ok(self.inner.disk.flush()?)
    }

    /// The extents from `offset` on: at least one, as many as one look-up gives,
    /// none past `offset + length`.
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    pub fn extents(&self, offset: u64, length: u64) -> Result<Pieces> {
        Ok(self.inner.disk.extents(offset, length)?)
    }

    /// What the plugin finds wrong without reading the payload.
    ///
    /// # Errors
    /// What keeps it from looking.
    pub fn check(&self) -> Result<Vec<Finding>> {
        Ok(self.inner.disk.check()?)
    }

    /// Its plans, for a mover of the caller's own.
    pub fn core(&self) -> &core::Disk {
        &self.inner.disk
    }
}
