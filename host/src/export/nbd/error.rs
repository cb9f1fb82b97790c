//! Why a connection or a server ended before its time.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a connection was dropped. Only the one client is affected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The socket failed, or the client went away in the middle of a reply.
    #[error("the connection failed: {0}")]
    Socket(#[from] io::Error),
    /// The client went away in the middle of a message.
    #[error("the client closed the connection in the middle of a message")]
    Truncated,
    /// The client does not keep to the protocol.
    #[error("the client broke the protocol: {0}")]
    Protocol(&'static str),
    /// A file became shorter while bytes of it were being sent.
    #[error("a file ended {missing} bytes early, in the middle of a reply at offset {offset}")]
    FileEnded {
        /// The request's offset in the export.
        offset: u64,
        /// How many bytes are missing.
        missing: u64,
    },
    /// Bytes that could be read before the reply began could not be read again.
    #[error("what was readable at offset {0} is not any more, in the middle of a reply")]
    Unreadable(u64),
}

/// Why a server could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is nothing to serve.
    #[error("there is no export to serve")]
    NoExport,
    /// Two exports go by one name.
    #[error("two exports have the name {0:?}")]
    SameName(String),
    /// An export's name is longer than the protocol allows.
    #[error("an export's name has {0} bytes; 4096 are allowed")]
    LongName(usize),
    /// Somebody else serves on this socket.
    #[error("{0}: another server is listening there")]
    InUse(PathBuf),
    /// Something that is no socket is in the way.
    #[error("{0}: there is a file of that name, and it is not a socket")]
    NotASocket(PathBuf),
    /// Listening failed.
    #[error("{address}: cannot listen: {error}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// No socket was handed over by a service manager.
    #[error("no listening socket was passed (LISTEN_FDS and LISTEN_PID)")]
    NotActivated,
    /// A thread or a descriptor could not be had.
    #[error("cannot start the server: {0}")]
    Start(io::Error),
}

/// Why an address was not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is none of the known forms.
    #[error(
        "{0:?} is not an NBD address; use unix:/path, tcp:PORT, tcp:HOST:PORT, systemd:, \
         nbd+unix:///NAME?socket=/path or nbd://HOST:PORT/NAME"
    )]
    Unknown(String),
    /// It asks for encryption.
    #[error("{0:?} asks for TLS, which this server does not offer")]
    Encrypted(String),
    /// A port is not a number from 1 to 65535.
    #[error("{0:?} is not a port")]
    Port(String),
    /// The path of a socket is missing.
    #[error("{0:?} lacks the path of a socket")]
    NoSocket(String),
    /// A percent sign is not followed by two hexadecimal digits, or it is not UTF-8.
    #[error("{0:?} is not percent-encoded correctly")]
    Encoding(String),
    /// A query parameter is unknown.
    #[error("{0:?} is not a parameter of an NBD URI for serving; only socket is")]
    Parameter(String),
}
