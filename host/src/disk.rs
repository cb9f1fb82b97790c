//! A disk as an embedder uses it: reads into the caller's buffers, extents, info.

use std::io::IoSliceMut;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use fumehood_core::contract::format::{DiskInfo, Finding};
use fumehood_core::{self as core, Layer, Pieces};

use crate::commit::Committer;
use crate::error::Result;
use crate::mover::{DecoderModule, Emptying, Mover};

/// Bytes of memory for each cache of a view that is read once.
const VIEW_CACHE: usize = 2 << 20;

/// A disk inside an image, with its chain of parents behind it. Cheap to clone,
/// and to be used from any number of threads at once. The last clone of a disk that was
/// written should be closed ([`Disk::close`]).
#[derive(Clone)]
pub struct Disk {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<core::Disk>,
    mover: Mover,
    /// The files of the layers.
    paths: Vec<PathBuf>,
    means: Means,
    committer: Committer,
}

/// What a disk works with.
#[derive(Clone)]
pub(crate) struct Means {
    /// Bytes of memory for cached extents.
    pub extent_cache: usize,
    /// Bytes of memory for decoded blocks.
    pub block_cache: usize,
    /// Decodes in the sandbox.
    pub decoder: Arc<DecoderModule>,
}

impl Means {
    /// For a view that is read once.
    pub(crate) fn small(decoder: Arc<DecoderModule>) -> Self {
        Self { extent_cache: VIEW_CACHE, block_cache: VIEW_CACHE, decoder }
    }
}

impl Drop for Inner {
    /// What was written and not flushed is linked in any case; who needs to know
    /// whether it lasts calls [`Disk::flush`] or [`Disk::close`].
    fn drop(&mut self) {
        self.committer.finish();
        if !self.disk.pending().is_empty()
            && let Err(error) = self.disk.flush()
        {
            tracing::error!("a disk was dropped, and what was written to it last is lost: {error}");
        }
    }
}

/// A disk that does not keep itself open.
pub(crate) struct WeakDisk(Weak<Inner>);

impl WeakDisk {
    pub(crate) fn upgrade(&self) -> Option<Disk> {
        self.0.upgrade().map(|inner| Disk { inner })
    }
}

impl Disk {
    /// A disk of these layers, top first, and the files they lie in, as far as they do.
    pub(crate) fn new(
        layers: Vec<Layer>,
        paths: Vec<PathBuf>,
        means: Means,
    ) -> Result<Self, core::Error> {
        let disk = Arc::new(core::Disk::new(layers, means.extent_cache)?);
        let mover = Mover::new(means.block_cache, means.decoder.clone());
        let committer = Committer::default();
        Ok(Self { inner: Arc::new(Inner { disk, mover, paths, means, committer }) })
    }

    pub(crate) fn downgrade(&self) -> WeakDisk {
        WeakDisk(Arc::downgrade(&self.inner))
    }

    /// The files of its layers, top first.
    pub fn paths(&self) -> &[PathBuf] {
        &self.inner.paths
    }

    /// A view of what one of its layers holds by itself, for reading.
    pub(crate) fn only(&self, layer: &Layer) -> Result<Self> {
        self.view(vec![layer.clone()])
    }

    /// A view of what lies behind its top layer, for reading.
    pub(crate) fn behind(&self) -> Result<Self> {
        self.view(self.inner.disk.layers()[1..].to_vec())
    }

    fn view(&self, layers: Vec<Layer>) -> Result<Self> {
        let means = Means::small(self.inner.means.decoder.clone());
        Ok(Self::new(layers, Vec::new(), means)?)
    }

    /// Writes a whole unit as encoded bytes; see [`core::Disk::plan_encoded`].
    pub(crate) fn write_encoded(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| core::Error::ReadOnly)?;
        let write = self.inner.disk.plan_encoded(offset, length)?;
        let (source, place) = write.place();
        self.inner.disk.source(source)?.write_at(place, bytes)?;
        write.complete()?;
        self.commit_if_much();
        Ok(())
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

    /// Fills `buffer` as [`Disk::read_at`] does, in this thread alone.
    pub(crate) fn read_in_order(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let mut pieces = Pieces::new();
        self.inner.disk.plan_read(offset, buffer.len() as u64, &mut pieces)?;
        self.inner.mover.read_in_order(&self.inner.disk, &pieces, buffer)
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
        self.inner.mover.write(&self.inner.disk, bytes, offset)?;
        self.commit_if_much();
        Ok(())
    }

    /// Commits on another thread where much is pending.
    #[inline]
    fn commit_if_much(&self) {
        if self.inner.disk.wants_commit() {
            self.inner.committer.start(&self.inner.disk);
        }
    }

    /// Whether it was opened for writing.
    pub fn is_writable(&self) -> bool {
        // One that is frozen has another in its place, which is writable.
        !matches!(self.inner.disk.check_writable(), Err(core::Error::ReadOnly))
    }

    /// Whether the other is this disk, opened once.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Makes `length` bytes read as zeroes; with `drop`, their storage may be
    /// given back.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn zero(&self, offset: u64, length: u64, drop: bool) -> Result<()> {
        let how = if drop { Emptying::ZeroAndDrop } else { Emptying::Zero };
        self.inner.mover.empty(&self.inner.disk, offset, length, how)
    }

    /// Gives storage back: what is in the range is not needed. It may read as zeroes
    /// or as before.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn trim(&self, offset: u64, length: u64) -> Result<()> {
        self.inner.mover.empty(&self.inner.disk, offset, length, Emptying::Trim)
    }

    /// Everything written so far survives a crash from here on.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn flush(&self) -> Result<()> {
        Ok(self.inner.disk.flush()?)
    }

    /// Grows the disk, with zeroes behind its old end, or shrinks it.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn resize(&self, size: u64) -> Result<()> {
        let hidden = self.inner.disk.resize(size)?;
        self.zero(hidden.start, hidden.end - hidden.start, true)
    }

    /// Leaves the image as one that was closed properly: everything is flushed, and
    /// what was set aside for writes is given back. Nothing is to be written after it.
    ///
    /// # Errors
    /// As [`Disk::write_at`]; the image is then as after a crash: what was flushed
    /// before is there.
    pub fn close(&self) -> Result<()> {
        let disk = &self.inner.disk;
        let _writes = disk.hold_writes();
        disk.flush()?;
        disk.layers()[0].image.close()?;
        disk.freeze();
        self.inner.committer.finish();
        Ok(())
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

    /// The same, and mends what can be mended without losing anything: leaks, say.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn repair(&self) -> Result<Vec<Finding>> {
        Ok(self.inner.disk.repair()?)
    }

    /// Its plans, for a mover of the caller's own.
    pub fn core(&self) -> &core::Disk {
        &self.inner.disk
    }
}
