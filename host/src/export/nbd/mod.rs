//! An NBD server: serves [exports](super::Export) over Unix and TCP sockets.
//!
//! ```text
//!   listen ─▶ server ─▶ handshake ─▶ connection ─┬─ read ─ decode ─┐
//!   address     │        options      request    ├─ write          ├─▶ reply ─▶ output
//!               └─ control                       └─ status         ┘
//!                     input ◀──────── transport ◀────────────────────────────── output
//! ```
//!
//! Each client has a thread, which takes all requests that wait in its socket, answers
//! short reads from one buffer with one system call, and has the kernel send long runs
//! of files. Only decoding is spread over further threads, into memory that all share;
//! and a flush is waited for by a thread beside the connection's. Clients are not
//! trusted: everything they can make the server keep has a limit, and their errors end
//! their own connection only.
//!
//! TLS and extended headers are not offered.

mod address;
mod connection;
mod control;
mod decode;
mod error;
mod flush;
mod handshake;
mod input;
mod listen;
mod memory;
mod options;
mod output;
mod protocol;
mod read;
mod reply;
mod request;
mod server;
mod status;
#[cfg(test)]
mod tests;
mod transport;
mod wake;
mod write;

use std::io::{Read, Write};
use std::sync::Arc;

pub use address::{Address, Target};
pub use connection::serve_connection;
pub use control::Control;
pub use decode::Decoders;
pub use error::{AddressError, ConnectionError, ServerError};
pub use listen::Listener;
pub(crate) use listen::bind_unix;
pub use server::{NbdServer, ServerOptions};
pub use transport::{ByteStreams, Received, Socket, Transport};
pub use wake::Wake;

use super::Export;

/// Serves one client that sends what `reader` yields and gets what `writer` is given.
///
/// # Errors
/// As [`serve_connection`].
pub fn serve_stream(
    exports: &[Arc<dyn Export>],
    reader: impl Read,
    writer: impl Write,
) -> Result<(), ConnectionError> {
    let transport = ByteStreams::new(reader, writer);
    let decoders = Arc::new(Decoders::new(1, ServerOptions::default().decoding_memory));
    serve_connection(exports, &transport, &Control::default(), &decoders)
}
