//! A regular file or a block device as a source.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fumehood_core::{Access, Source, SourceError, write_zeroes};
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::lock::Locks;
use crate::error::{Error, Result};

/// A regular file or a block device. A read-only one is opened so in the kernel.
#[derive(Debug)]
pub struct FileSource {
    name: String,
    file: Arc<File>,
    size: AtomicU64,
    access: Access,
    /// Whether something was written since the last flush began.
    dirty: AtomicBool,
    /// Held while the file is flushed; true for good once that failed: the system may
    /// have dropped what it could not write, and would say nothing the next time.
    flushing: Mutex<bool>,
    locks: Locks,
    /// Whether a flush waits for storage.
    waits: bool,
}

impl FileSource {
    /// Opens `path`.
    ///
    /// # Errors
    /// [`Error::Io`], also for what is neither a file nor a block device.
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        let shown = path.display();
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::ReadWrite)
            // A named pipe must not hold the host up before it is refused.
            .custom_flags((OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32)
            .open(path)
            .map_err(Error::io(format!("cannot open {shown}")))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Self::from_file(&name, file, access).map_err(Error::io(format!("cannot open {shown}")))
    }

    /// Takes a file that is open already.
    ///
    /// # Errors
    /// What the system says of its size, that it is no file or block device, or that
    /// another process uses it in a way that does not go with `access`.
    pub fn from_file(name: &str, mut file: File, access: Access) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(io::Error::other("it is neither a regular file nor a block device"));
        }
        let size = file.seek(SeekFrom::End(0))?;
        let locks = Locks::take(&file, access)?;
        Ok(Self {
            name: name.into(),
            file: Arc::new(file),
            size: AtomicU64::new(size),
            access,
            dirty: AtomicBool::new(false),
            flushing: Mutex::new(false),
            locks,
            waits: true,
        })
    }

    /// The same, for a file that is of no use before it is whole: a flush promises
    /// nothing.
    pub(crate) fn without_waiting(self) -> Self {
        Self { waits: false, ..self }
    }

    /// Nothing is written from here on: others may read the file too.
    pub(crate) fn share_for_reading(&self) {
        self.locks.share_for_reading(&self.file);
    }

    /// Something was written. To be called once it was: a flush in between would else
    /// count it as its own.
    fn soil(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Changes the file's storage without moving bytes.
    fn allocate(&self, offset: u64, length: u64, flags: FallocateFlags) -> Result<bool, Errno> {
        let done = rustix::fs::fallocate(&*self.file, flags, offset, length);
        self.soil();
        match done {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NODEV) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The open file, for movers that can do better than read and copy.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    fn failed(&self, doing: &str, offset: u64, error: &io::Error) -> SourceError {
        let name = &self.name;
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                SourceError::NoSpace(format!("{doing} {name} at offset {offset}"))
            }
            io::ErrorKind::UnexpectedEof => SourceError::Io(format!(
                "{doing} {name} at offset {offset}: it ends before; it was cut since it was opened"
            )),
            _ => SourceError::Io(format!("{doing} {name} at offset {offset}: {error}")),
        }
    }

    fn require_write(&self) -> Result<(), SourceError> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(SourceError::ReadOnly(self.name.clone())),
        }
    }
}

impl Source for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    fn access(&self) -> Access {
        self.access
    }

    #[inline]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| self.failed("reading", offset, &error))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SourceError> {
        self.require_write()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all_at(bytes, offset);
        self.soil();
        written.map_err(|error| self.failed("writing", offset, &error))?;
        self.size.fetch_max(offset + bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn resize(&self, size: u64) -> Result<(), SourceError> {
        self.require_write()?;
        let resized = self.file.set_len(size);
        self.soil();
        resized.map_err(|error| self.failed("resizing", size, &error))?;
        self.size.store(size, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&self) -> Result<(), SourceError> {
        if self.access == Access::Read {
            return Ok(());
        }
        let mut failed = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(SourceError::Io(format!(
                "{} could not be flushed once; what was written since is not safe",
                self.name
            )));
        }
        if !self.waits || !self.dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        self.file.sync_data().map_err(|error| {
            *failed = true;
            self.failed("flushing", 0, &error)
        })
    }

    fn discard(&self, offset: u64, length: u64) -> Result<bool, SourceError> {
        self.require_write()?;
        let end = offset.saturating_add(length);
        if length == 0 || end > self.size() {
            // Nothing is stored behind the end, and nothing is to be read there.
            return Ok(false);
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        self.allocate(offset, length, flags)
            .map_err(|error| self.failed("discarding", offset, &error.into()))
    }

    fn zero(&self, offset: u64, length: u64) -> Result<(), SourceError> {
        self.require_write()?;
        if length == 0 {
            return Ok(());
        }
        let done = self.allocate(offset, length, FallocateFlags::ZERO_RANGE);
        if done.map_err(|error| self.failed("zeroing", offset, &error.into()))? {
            self.size.fetch_max(offset + length, Ordering::Relaxed);
            return Ok(());
        }
        write_zeroes(|at, zeroes| self.write_at(at, zeroes), offset, length)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
