//! Ways in for hypervisors: what an export serves, and the servers that serve it.
//!
//! [`Export`] is all that a server knows of a disk. It says where bytes lie
//! ([`Export::runs`]) so that a server can let the kernel move them, and it can
//! move them itself ([`Export::read_at`]) where they have to be decoded. Formats,
//! caches and overlays are behind it; nothing here knows of them.

mod disk;
mod error;
pub mod nbd;

use std::fs::File;
use std::sync::Arc;

pub use disk::DiskExport;
pub use error::{ErrorKind, ExportError};

/// A block device that a server can offer to hypervisors.
///
/// The size may change while the export is served; clients see it when they connect
/// anew. Every method may be called
/// from any number of threads at once, and must not panic for any argument. Servers
/// check ranges before they ask: `offset + length` never exceeds [`Export::size`],
/// and `length` is never 0.
pub trait Export: Send + Sync + 'static {
    /// The name by which clients choose this export; at most 4096 bytes.
    fn name(&self) -> &str;

    /// A line for human readers; may be empty.
    fn description(&self) -> &str;

    /// The size in bytes.
    fn size(&self) -> u64;

    /// The block sizes that clients are told.
    fn block_sizes(&self) -> BlockSizes {
        BlockSizes::default()
    }

    /// Whether every write is refused.
    fn read_only(&self) -> bool {
        true
    }

    /// Fills `buffer` with the bytes at `offset`, however long that takes.
    ///
    /// # Errors
    /// Fails if any byte cannot be read; the buffer's content is then unspecified.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ExportError>;

    /// Fills `buffer` like [`Export::read_at`] if that takes no decoding and no
    /// waiting for anything slower than a local file; otherwise answers `false` at
    /// once, and the server calls [`Export::read_at`] on another thread.
    ///
    /// Exports whose reads are all cheap should implement this: it is how short
    /// reads are served. The default declines.
    ///
    /// # Errors
    /// As [`Export::read_at`].
    fn read_ready(&self, offset: u64, buffer: &mut [u8]) -> Result<bool, ExportError> {
        let _ = (offset, buffer);
        Ok(false)
    }

    /// Appends to `runs` what the range is made of, in order and without gaps, to the
    /// end of the range. `runs` is empty when called.
    ///
    /// # Errors
    /// Fails if it cannot be found out where the range lies.
    fn runs(&self, offset: u64, length: u64, runs: &mut Vec<Run>) -> Result<(), ExportError>;

    /// The allocation of the range: consecutive pieces beginning at `offset`, at least
    /// one and at most `most`. They may stop short of the range and may pass its end.
    ///
    /// # Errors
    /// Fails if it cannot be found out where the range lies.
    fn status(&self, offset: u64, length: u64, most: usize) -> Result<Vec<Status>, ExportError>;

    /// Writes `data` at `offset`.
    ///
    /// # Errors
    /// The default refuses.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), ExportError> {
        let _ = (offset, data);
        Err(ExportError::read_only())
    }

    /// Makes the range read as zeroes.
    ///
    /// # Errors
    /// The default refuses.
    fn write_zeroes(&self, offset: u64, length: u64, mode: ZeroMode) -> Result<(), ExportError> {
        let _ = (offset, length, mode);
        Err(ExportError::read_only())
    }

    /// Notes that the range's content is no longer needed.
    ///
    /// # Errors
    /// The default refuses.
    fn trim(&self, offset: u64, length: u64) -> Result<(), ExportError> {
        let _ = (offset, length);
        Err(ExportError::read_only())
    }

    /// Brings every completed write, of whichever connection, to stable storage. Called
    /// while others read and write.
    ///
    /// # Errors
    /// Fails if that cannot be promised. The default has nothing to do.
    fn flush(&self) -> Result<(), ExportError> {
        Ok(())
    }
}

/// Block sizes that clients are told, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    /// Requests must be multiples of this: a power of two of at most 65,536.
    pub minimum: u32,
    /// Requests that are multiples of this are served best: a power of two of at least 512.
    pub preferred: u32,
    /// The most bytes that one read or write may carry.
    pub maximum: u32,
}

impl Default for BlockSizes {
    fn default() -> Self {
        Self { minimum: 1, preferred: 4096, maximum: 32 << 20 }
    }
}

/// A part of an export with one way to get at its bytes.
#[derive(Clone, Debug)]
pub enum Run {
    /// Bytes of a regular file, as they are.
    File {
        /// The file, open for reading.
        file: Arc<File>,
        /// Where in the file the run begins.
        offset: u64,
        /// The run's length in bytes.
        length: u64,
    },
    /// Zeroes that are stored nowhere.
    Zero {
        /// The run's length in bytes.
        length: u64,
    },
    /// Bytes that [`Export::read_at`] has to produce, for example by decoding.
    Bytes {
        /// The run's length in bytes.
        length: u64,
    },
}

impl Run {
    /// The run's length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::File { length, .. } | Self::Zero { length } | Self::Bytes { length } => *length,
        }
    }
}

/// The allocation of a part of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The part's length in bytes.
    pub length: u64,
    /// Whether no storage is allocated for it.
    pub hole: bool,
    /// Whether it reads as zeroes.
    pub zero: bool,
}

/// How zeroes are to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZeroMode {
    /// Leave storage allocated, so that later writes cannot run out of space.
    pub allocated: bool,
    /// Fail with [`ErrorKind::NotSupported`] where it is no faster than writing.
    pub fast_only: bool,
}
