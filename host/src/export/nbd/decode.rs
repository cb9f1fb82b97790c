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

use super::request::Request;
use crate::export::{ErrorKind, Export, ExportError};

/// The most bytes of one connection that are being decoded or wait to be sent, unless
/// a single piece is longer.
const BYTES_LIMIT: usize = 8 << 20;
/// The most pieces of one connection that are under way.
const PIECES_LIMIT: usize = 1024;
/// The most bytes of buffers that a connection keeps for later.
const SPARE_LIMIT: usize = 2 << 20;

/// The threads that decode for all connections of a server. They start when first needed.
#[derive(Debug)]
pub struct Decoders {
    threads: usize,
    pool: OnceLock<Option<ThreadPool>>,
}

impl Decoders {
    /// As many threads as asked for; 0 means one for each processor.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { threads, pool: OnceLock::new() }
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
    pub(super) bytes: Vec<u8>,
    pub(super) result: Result<(), ExportError>,
}

/// The pieces of one connection that are under way.
pub(super) struct Decoding {
    decoders: Arc<Decoders>,
    sender: Sender<Decoded>,
    receiver: Receiver<Decoded>,
    pieces: usize,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl Decoding {
    pub(super) fn new(decoders: Arc<Decoders>) -> Self {
        let (sender, receiver) = channel();
        Self { decoders, sender, receiver, pieces: 0, bytes: 0, spare: Vec::new() }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.pieces == 0
    }

    /// Whether a piece of that length may be started.
    pub(super) fn has_room(&self, length: u32) -> bool {
        let bytes = self.bytes.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        self.is_idle() || (bytes <= BYTES_LIMIT && self.pieces < PIECES_LIMIT)
    }

    /// Decodes a piece on another thread.
    pub(super) fn start(&mut self, export: &Arc<dyn Export>, piece: Piece) {
        let (export, sender) = (Arc::clone(export), self.sender.clone());
        let bytes = self.buffer(piece.length);
        self.pieces += 1;
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.decoders.run(move || {
            // The connection may have ended in the meantime.
            let _ = sender.send(decode(&*export, piece, bytes));
        });
    }

    /// Decodes a piece on this thread, where there is nothing else to do meanwhile.
    pub(super) fn decode_here(&mut self, export: &dyn Export, piece: Piece) -> Decoded {
        let bytes = self.buffer(piece.length);
        decode(export, piece, bytes)
    }

    /// The next piece that is ready; waits for one if `wait`.
    pub(super) fn next(&mut self, wait: bool) -> Option<Decoded> {
        if self.is_idle() {
            return None;
        }
        let decoded =
            if wait { self.receiver.recv().ok()? } else { self.receiver.try_recv().ok()? };
        self.pieces -= 1;
        self.bytes = self.bytes.saturating_sub(decoded.bytes.len());
        Some(decoded)
    }

    /// A buffer of that length, with whatever in it.
    pub(super) fn buffer(&mut self, length: u32) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        buffer
    }

    /// Keeps a buffer for later.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) {
        let kept: usize = self.spare.iter().map(Vec::capacity).sum();
        if kept.saturating_add(buffer.capacity()) <= SPARE_LIMIT {
            self.spare.push(buffer);
        }
    }
}

fn decode(export: &dyn Export, piece: Piece, mut bytes: Vec<u8>) -> Decoded {
    // A panic here must not take away the answer that the connection waits for.
    let read = AssertUnwindSafe(|| export.read_at(piece.offset, &mut bytes));
    let result = catch_unwind(read).unwrap_or_else(|_| {
        Err(ExportError::new(ErrorKind::InputOutput, "reading failed in an unforeseen way"))
    });
    Decoded { piece, bytes, result }
}
