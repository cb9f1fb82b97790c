//! Sources that the kit puts between a plugin and an image: they count, cut and damage.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fumehood_core::{Access, Source, SourceError};

/// The most ranges that are kept.
const RANGES_LIMIT: usize = 100_000;

/// Counts what is read of a source, cuts it short, and exchanges bytes of it.
pub(super) struct Altered {
    inner: Arc<dyn Source>,
    size: u64,
    exchanged: BTreeMap<u64, u8>,
    reads: AtomicU64,
    bytes: AtomicU64,
    /// What was read, as far as it is not too much to keep.
    ranges: Mutex<Vec<Range<u64>>>,
}

impl Altered {
    /// The source as it is.
    pub(super) fn whole(inner: Arc<dyn Source>) -> Self {
        let size = inner.size();
        let (reads, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let ranges = Mutex::default();
        Self { inner, size, exchanged: BTreeMap::new(), reads, bytes, ranges }
    }

    /// Its first `size` bytes.
    pub(super) fn cut(inner: Arc<dyn Source>, size: u64) -> Self {
        Self { size, ..Self::whole(inner) }
    }

    /// With other bytes at some offsets.
    pub(super) fn exchanged(inner: Arc<dyn Source>, exchanged: BTreeMap<u64, u8>) -> Self {
        Self { exchanged, ..Self::whole(inner) }
    }

    /// The ranges that were read so far, at most [`RANGES_LIMIT`] of them.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many reads there were, and of how many bytes.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.reads.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Source for Altered {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        let Some(end) = end else {
            let length = buffer.len();
            return Err(SourceError::Io(format!("{length} bytes at {offset} lie past the end")));
        };
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        if ranges.len() < RANGES_LIMIT {
            ranges.push(offset..end);
        }
        drop(ranges);
        self.inner.read_at(offset, buffer)?;
        for (at, byte) in self.exchanged.range(offset..end) {
            buffer[(at - offset) as usize] = *byte;
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Scratch in memory, which the kit can look into.
#[derive(Default)]
pub(super) struct MemoryScratch {
    bytes: Mutex<Vec<u8>>,
}

/// The most bytes of scratch that the kit holds in memory.
const SCRATCH_LIMIT: u64 = 1 << 30;

impl MemoryScratch {
    /// Scratch that holds `bytes`.
    pub(super) fn with(bytes: Vec<u8>) -> Self {
        Self { bytes: Mutex::new(bytes) }
    }

    /// A copy of what it holds.
    pub(super) fn copy(&self) -> Vec<u8> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grow(bytes: &mut Vec<u8>, size: u64) -> Result<(), SourceError> {
        if size > SCRATCH_LIMIT {
            return Err(SourceError::NoSpace(format!("the kit keeps {SCRATCH_LIMIT} bytes")));
        }
        bytes.resize(size as usize, 0);
        Ok(())
    }
}

impl Source for MemoryScratch {
    fn name(&self) -> &str {
        "scratch"
    }

    fn size(&self) -> u64 {
        self.lock().len() as u64
    }

    fn access(&self) -> Access {
        Access::ReadWrite
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let bytes = self.lock();
        let start = usize::try_from(offset).ok();
        let found = start.and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
        match found {
            Some(found) => buffer.copy_from_slice(found),
            None => return Err(SourceError::Io("past the scratch's end".into())),
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, new: &[u8]) -> Result<(), SourceError> {
        let mut bytes = self.lock();
        let end = offset.saturating_add(new.len() as u64);
        if end > bytes.len() as u64 {
            Self::grow(&mut bytes, end)?;
        }
        bytes[offset as usize..end as usize].copy_from_slice(new);
        Ok(())
    }

    fn resize(&self, size: u64) -> Result<(), SourceError> {
        Self::grow(&mut self.lock(), size)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
