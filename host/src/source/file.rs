//! A regular file or a block device as a source.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fumehood_core::{Access, Source, SourceError};
use rustix::fs::OFlags;

use crate::error::{Error, Result};

/// A regular file or a block device. A read-only one is opened so in the kernel.
#[derive(Debug)]
pub struct FileSource {
    name: String,
    file: Arc<File>,
    size: AtomicU64,
    access: Access,
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
    /// What the system says of its size, or that it is no file or block device.
    pub fn from_file(name: &str, mut file: File, access: Access) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(io::Error::other("it is neither a regular file nor a block device"));
        }
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { name: name.into(), file: Arc::new(file), size: AtomicU64::new(size), access })
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
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| self.failed("writing", offset, &error))?;
        self.size.fetch_max(offset + bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn resize(&self, size: u64) -> Result<(), SourceError> {
        self.require_write()?;
        self.file.set_len(size).map_err(|error| self.failed("resizing", size, &error))?;
        self.size.store(size, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&self) -> Result<(), SourceError> {
        if self.access == Access::Read {
            return Ok(());
        }
        self.file.sync_data().map_err(|error| self.failed("flushing", 0, &error))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
