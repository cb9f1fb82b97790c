//! Errors of the core: what a plugin said, what the sandbox saw, what a source did.

use alloc::string::String;

use crate::contract::types;
use crate::imports::clean;
use crate::source::SourceError;

/// A result of the core.
pub type Result<T> = core::result::Result<T, Error>;

/// Why the core could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A component was refused before it ran.
    #[error("plugin {plugin} is refused: {reason}")]
    Refused {
        /// The name it was loaded under.
        plugin: String,
        /// What it imports, lacks or claims.
        reason: String,
    },
    /// The plugin answered with an error of the contract.
    #[error("{0}")]
    Format(FormatError),
    /// The plugin trapped: a panic, memory, stack.
    #[error("plugin {plugin} was stopped: {reason}")]
    Trapped {
        /// Its name.
        plugin: String,
        /// What the sandbox saw.
        reason: String,
    },
    /// The plugin's answer breaks the contract; the disk is failed from here on.
    #[error("plugin {plugin} broke the contract: {reason}")]
    Untrusted {
        /// Its name.
        plugin: String,
        /// The rule and the answer.
        reason: String,
    },
    /// The disk or image failed earlier and takes no more requests.
    #[error("failed earlier: {reason}")]
    Failed {
        /// The error that failed it.
        reason: String,
    },
    /// A source failed, or was not granted.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Reading this range fails: the image says that it is damaged.
    #[error("damaged at disk offset {offset}: {what}")]
    Damaged {
        /// Byte offset on the disk.
        offset: u64,
        /// The plugin's words.
        what: String,
    },
    /// A request lies outside the disk.
    #[error("{length} bytes at disk offset {offset} lie outside the disk of {size} bytes")]
    OutOfRange {
        /// Byte offset on the disk.
        offset: u64,
        /// Length of the request in bytes.
        length: u64,
        /// Size of the disk in bytes.
        size: u64,
    },
    /// A write to something opened read-only.
    #[error("opened read-only")]
    ReadOnly,
    /// A change of a disk that stands still now, because another was put on top of it.
    #[error("an overlay was put on top of the disk; changes go there")]
    Frozen,
}

/// An error of the contract, with the plugin and the source it speaks of.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.describe())]
pub struct FormatError {
    /// The plugin's name.
    pub plugin: String,
    /// What went wrong.
    pub kind: FormatErrorKind,
}

/// The kinds of `wit/types.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatErrorKind {
    /// Not of this plugin's format.
    Unrecognised,
    /// A feature the plugin does not implement.
    Unsupported(String),
    /// The image contradicts its own format.
    Corrupt {
        /// Name of the source, without a path.
        source: String,
        /// Byte offset in it.
        offset: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// Something the image refers to is not there.
    Missing(String),
    /// Something the image refers to was not granted.
    NotGranted(String),
    /// A parent is not the one the image was made on.
    WrongParent(String),
    /// Encrypted.
    NeedsKey(String),
    /// A range outside the disk.
    OutOfRange,
    /// A write to something read-only.
    ReadOnly,
    /// No room left.
    NoSpace,
    /// A source failed.
    Io(String),
}

impl FormatError {
    fn describe(&self) -> String {
        use alloc::format;
        match &self.kind {
            FormatErrorKind::Unrecognised => format!("not an image of format {}", self.plugin),
            FormatErrorKind::Unsupported(what) => format!("unsupported: {what}"),
            FormatErrorKind::Corrupt { source, offset, what } => {
                format!("corrupt at offset {offset} of {source}: {what}")
            }
            FormatErrorKind::Missing(what) => format!("missing: {what}"),
            FormatErrorKind::NotGranted(what) => format!("not granted: {what}"),
            FormatErrorKind::WrongParent(what) => format!("wrong parent: {what}"),
            FormatErrorKind::NeedsKey(what) => format!("needs a key: {what}"),
            FormatErrorKind::OutOfRange => "outside the disk".into(),
            FormatErrorKind::ReadOnly => "opened read-only".into(),
            FormatErrorKind::NoSpace => "no space left".into(),
            FormatErrorKind::Io(what) => format!("input/output error: {what}"),
        }
    }

    /// Puts the plugin's name and the source's to what the plugin said.
    pub(crate) fn new(
        plugin: &str,
        error: types::Error,
        source_name: impl FnOnce(u32) -> String,
    ) -> Self {
        let kind = match error {
            types::Error::Unrecognised => FormatErrorKind::Unrecognised,
            types::Error::Unsupported(what) => FormatErrorKind::Unsupported(clean(&what)),
            types::Error::Corrupt(types::Corruption { source, offset, what }) => {
                let (source, what) = (source_name(source), clean(&what));
                FormatErrorKind::Corrupt { source, offset, what }
            }
            types::Error::Missing(what) => FormatErrorKind::Missing(clean(&what)),
            types::Error::NotGranted(what) => FormatErrorKind::NotGranted(clean(&what)),
            types::Error::WrongParent(what) => FormatErrorKind::WrongParent(clean(&what)),
            types::Error::NeedsKey(what) => FormatErrorKind::NeedsKey(clean(&what)),
            types::Error::OutOfRange => FormatErrorKind::OutOfRange,
            types::Error::ReadOnly => FormatErrorKind::ReadOnly,
            types::Error::NoSpace => FormatErrorKind::NoSpace,
            types::Error::Io(what) => FormatErrorKind::Io(clean(&what)),
        };
        Self { plugin: plugin.into(), kind }
    }
}
