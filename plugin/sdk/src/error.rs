//! Why an operation failed: the vocabulary of `wit/types.wit`.

use alloc::string::String;

/// A result of anything a plugin does.
pub type Result<T> = core::result::Result<T, Error>;

/// Why an operation failed. Say what and where: the host makes an errno of it
/// for the hypervisor and a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not of this plugin's format.
    #[error("not an image of this format")]
    Unrecognised,
    /// Well-formed, but uses a feature this plugin does not implement; names it.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The image contradicts its own format.
    #[error("corrupt at offset {offset}: {what}")]
    Corrupt {
        /// The source in which it was seen.
        source_id: u32,
        /// Byte offset in that source.
        offset: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// Something the image refers to is not there.
    #[error("missing: {0}")]
    Missing(String),
    /// Something the image refers to may be there, and the operator did not grant it.
    #[error("not granted: {0}")]
    NotGranted(String),
    /// A parent was granted but is not the one the image was made on.
    #[error("wrong parent: {0}")]
    WrongParent(String),
    /// Encrypted, and no key (or the wrong one) was given.
    #[error("needs a key: {0}")]
    NeedsKey(String),
    /// A range lies outside the disk, or an argument is not aligned.
    #[error("out of range")]
    OutOfRange,
    /// A write to something opened read-only.
    #[error("read-only")]
    ReadOnly,
    /// No room left in the image or below it.
    #[error("no space")]
    NoSpace,
    /// A source failed; the host's own text.
    #[error("input/output: {0}")]
    Io(String),
}

impl Error {
    /// A contradiction at `offset` of the main source.
    pub fn corrupt(offset: u64, what: impl Into<String>) -> Self {
        Self::corrupt_in(0, offset, what)
    }

    /// A contradiction at `offset` of the source numbered `source_id`.
    pub fn corrupt_in(source_id: u32, offset: u64, what: impl Into<String>) -> Self {
        Error::Corrupt { source_id, offset, what: what.into() }
    }
}
