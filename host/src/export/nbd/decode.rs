//! Reads that take computing: spread over threads, gathered by the connection.
//!
//! The threads only call [`Export::read_at`]. They never touch a socket, so a client
//! that does not read its replies holds up nobody but itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tracing::warn;

use super::memory::{Buffer, Memory, OWN};
use super::request::Request;
use crate::export::{ErrorKind, Export, ExportError};

/// The most bytes of one connection that are being decoded or wait to be sent, unless
/// a single piece is longer.
const BYTES_LIMIT: usize = 8 << 20;
/// The most pieces of one connection that are under way.
const PIECES_LIMIT: usize = 1024;

/// The threads that decode for all connections of a server, and the memory they decode
/// into. The threads start when first needed.
#[derive(Debug)]
pub struct Decoders {
    threads: usize,
    pool: OnceLock<Option<ThreadPool>>,
    memory: Arc<Memory>,
}

impl Decoders {
    /// As many threads as asked for, where 0 means one for each processor, and `memory`
    /// bytes beside the one MiB that each connection has.
    #[must_use]
    pub fn new(threads: usize, memory: usize) -> Self {
        Self { threads, pool: OnceLock::new(), memory: Arc::new(Memory::new(memory)) }
    }

    /// How much of the memory is taken.
    #[cfg(test)]
    pub(super) fn memory_taken(&self) -> usize {
        self.memory.taken()
    }

    fn run(&self, task: impl FnOnce() + Send + 'static) {
        let pool = self.pool.get_or_init(|| {
            let name = |index| format!("nbd-decode-{index}");
            let builder = ThreadPoolBuilder::new().num_threads(self.threads).thread_name(name);
            builder.build().inspect_err(|error| warn!("decoding without threads: {error}")).ok()
        });
        match pool {
            Some(pool) => pool.spawn_fifo(task),
            None => task(),
        }
    }
}

/// How many chunks of one request's answer are still to be sent.
pub(super) type ChunkCount = Arc<AtomicUsize>;

/// A part of a read that becomes one chunk of its answer, or all of it.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) request: Request,
    pub(super) offset: u64,
    pub(super) length: u32,
    /// Shared by all pieces of the request, if there are several.
    pub(super) chunks: Option<ChunkCount>,
}

impl Piece {
    /// All of a read.
    pub(super) fn whole(request: &Request) -> Self {
        let (offset, length) = (request.offset, request.length);
        Self { request: *request, offset, length, chunks: None }
    }

    /// Counts the piece as sent; whether it is the last of its request.
    pub(super) fn sent(&self) -> bool {
        self.chunks.as_ref().is_none_or(|chunks| chunks.fetch_sub(1, Ordering::Relaxed) == 1)
    }

    /// Takes back that the piece was counted.
    pub(super) fn put_back(&self) {
        if let Some(chunks) = &self.chunks {
            chunks.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A piece whose bytes are there, or will never be.
pub(super) struct Decoded {
    pub(super) piece: Piece,
    pub(super) buffer: Buffer,
    pub(super) result: Result<(), ExportError>,
}

/// The pieces of one connection that are under way.
pub(super) struct Decoding {
    decoders: Arc<Decoders>,
    sender: Sender<Decoded>,
    receiver: Receiver<Decoded>,
    pieces: usize,
    bytes: usize,
}

impl Decoding {
    pub(super) fn new(decoders: Arc<Decoders>) -> Self {
        let (sender, receiver) = channel();
        Self { decoders, sender, receiver, pieces: 0, bytes: 0 }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.pieces == 0
    }

    /// Room for [`OWN`] bytes, which nobody else can take. Nothing may be under way.
    pub(super) fn own(&self) -> Buffer {
        self.decoders.memory.own(OWN)
    }

    /// Room for a piece of that length, with whatever in it, if there is any now. There
    /// always is for [`OWN`] bytes when nothing is under way.
    pub(super) fn room(&self, length: u32) -> Option<Buffer> {
        let length = usize::try_from(length).ok()?;
        let memory = &self.decoders.memory;
        if self.is_idle() && length <= OWN {
            return Some(memory.own(length));
        }
        let bytes = self.bytes.saturating_add(length);
        let allowed = self.is_idle() || (bytes <= BYTES_LIMIT && self.pieces < PIECES_LIMIT);
        if allowed { memory.take(length) } else { None }
    }

    /// Decodes a piece on another thread.
    pub(super) fn start(&mut self, export: &Arc<dyn Export>, piece: Piece, buffer: Buffer) {
        let (export, sender) = (Arc::clone(export), self.sender.clone());
        self.pieces += 1;
        self.bytes = self.bytes.saturating_add(buffer.length());
        self.decoders.run(move || {
            // The connection may have ended in the meantime.
            let _ = sender.send(decode(&*export, piece, buffer));
        });
    }

    /// The next piece that is ready; waits for one if `wait`.
    pub(super) fn next(&mut self, wait: bool) -> Option<Decoded> {
        if self.is_idle() {
            return None;
        }
        let decoded =
            if wait { self.receiver.recv().ok()? } else { self.receiver.try_recv().ok()? };
        self.pieces -= 1;
        self.bytes = self.bytes.saturating_sub(decoded.buffer.length());
        Some(decoded)
    }
}

/// Decodes a piece on this thread.
pub(super) fn decode(export: &dyn Export, piece: Piece, mut buffer: Buffer) -> Decoded {
    let result = fill(export, piece.offset, buffer.bytes());
    Decoded { piece, buffer, result }
}

/// Reads from an export that may panic.
pub(super) fn fill(export: &dyn Export, offset: u64, bytes: &mut [u8]) -> Result<(), ExportError> {
    shielded("reading", || export.read_at(offset, bytes))
}

/// Does something that may panic, which must not take away the answer that a connection
/// waits for.
pub(super) fn shielded(
    what: &str,
    action: impl FnOnce() -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|_| {
        let message = format!("{what} failed in an unforeseen way");
        Err(ExportError::new(ErrorKind::InputOutput, message))
    })
}
