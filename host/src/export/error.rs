//! How an export fails: a stable kind that every protocol can express, and words.

use std::io;

use thiserror::Error;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operation is not permitted, for example a write to a read-only export.
    NotPermitted,
    /// The bytes cannot be read or written.
    InputOutput,
    /// There is not enough memory.
    OutOfMemory,
    /// The request makes no sense.
    Invalid,
    /// There is no room for what is to be written.
    NoSpace,
    /// The operation is not supported in the way it was asked for.
    NotSupported,
    /// The export is about to go away.
    ShuttingDown,
}

/// A failed operation of an export.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct ExportError {
    /// What kind of failure it was.
    pub kind: ErrorKind,
    /// What happened, for a human reader.
    pub message: String,
    /// The first offset of the export that is affected, where it is known.
    pub offset: Option<u64>,
}

impl ExportError {
    /// A failure at an unknown offset.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), offset: None }
    }

    /// The same failure, known to have happened at `offset` of the export.
    #[must_use]
    pub fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    /// The refusal of a write.
    #[must_use]
    pub fn read_only() -> Self {
        Self::new(ErrorKind::NotPermitted, "the export is read-only")
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::NotPermitted
            }
            io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
            io::ErrorKind::InvalidInput => ErrorKind::Invalid,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => ErrorKind::NoSpace,
            io::ErrorKind::Unsupported => ErrorKind::NotSupported,
            _ => ErrorKind::InputOutput,
        };
        Self::new(kind, error.to_string())
    }
}
