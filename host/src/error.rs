//! Errors of the library: a stable kind, what was being done, and the cause.

use std::io;
use std::path::PathBuf;

use fumehood_core as core;

/// A result of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the library could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("{what}: {error}")]
    Io {
        /// What was being done, and to which file.
        what: String,
        /// Its answer.
        #[source]
        error: io::Error,
    },
    /// No plugin knows the image.
    #[error(
        "no plugin recognises {0}; if it is a raw disk, say so with --format raw (a raw disk is \
         never guessed, since a guest can write any format's signature into one)"
    )]
    Unrecognised(PathBuf),
    /// A folder that is no image.
    #[error(
        "{0} is a folder, and holds no file by which an image is opened; name the image's own file"
    )]
    Folder(PathBuf),
    /// No plugin of that name is there.
    #[error("there is no plugin named {name}; there are {known}")]
    NoPlugin {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Opening, mapping or checking failed in the core or in a plugin.
    #[error(transparent)]
    Core(#[from] core::Error),
    /// A block could not be decoded, or its digest is another.
    #[error("cannot decode the block at offset {offset} of {source_name}: {what}")]
    Decode {
        /// Name of the source, without a path.
        source_name: String,
        /// Byte offset of the stored block in it.
        offset: u64,
        /// What went wrong.
        what: String,
    },
    /// A chain of parents cannot be opened.
    #[error("{0}")]
    Chain(String),
    /// The operator stopped it; nothing is lost.
    #[error("interrupted")]
    Interrupted,
    /// A serving process refused an order.
    #[error("{0}")]
    Control(String),
    /// The format cannot do what is asked.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// A file inside a container could not be opened.
    #[error("{name}, which lies in it: {error}")]
    Contained {
        /// The file's name in the container.
        name: String,
        /// Why not.
        #[source]
        error: Box<Error>,
    },
    /// A plugin could not be compiled.
    #[error("plugin {plugin} cannot be compiled: {what}")]
    Compile {
        /// The name it was loaded under.
        plugin: String,
        /// The compiler's words.
        what: String,
    },
}

impl Error {
    /// Puts what was being done to an error of the operating system.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

impl From<core::SourceError> for Error {
    fn from(error: core::SourceError) -> Self {
        Self::Core(core::Error::Source(error))
    }
}
