//! The transmission phase of one connection: takes requests and answers them.
//!
//! ```text
//!   all requests that wait ── short, ready ──▶ output buffer ──┐
//!            ▲             ── long, in a file ─▶ sendfile      ├─▶ one send
//!            │             ── to be decoded ──▶ threads ──▶ ───┘
//!            └───────────────────── next ◀───────────────────────
//! ```
//!
//! While pieces are being decoded, each one that becomes ready is sent, and requests
//! that came in the meantime are taken; so are they while something is flushed. Answers
//! are therefore not in the order of the requests.

use std::sync::Arc;

use tracing::debug;

use super::control::Control;
use super::decode::{Decoders, Decoding};
use super::error::ConnectionError;
use super::flush::Flushes;
use super::handshake::{Handshake, Session};
use super::input::Input;
use super::output::Output;
use super::protocol::command;
use super::reply;
use super::request::Request;
use super::transport::{Received, Transport};
use crate::export::{Export, ExportError, Run};

/// Serves one client from its first byte to its last.
///
/// Returns when the client has disconnected or, after [`Control::stop`], when
/// everything received was answered.
///
/// # Errors
/// Fails if the connection does, or if the client breaks the protocol. The connection
/// is then of no further use; nothing else is affected.
pub fn serve_connection<T: Transport>(
    exports: &[Arc<dyn Export>],
    transport: &T,
    control: &Control,
    decoders: &Arc<Decoders>,
) -> Result<(), ConnectionError> {
    let mut input = Input::new(transport);
    let mut output = Output::new(transport);
    let Some(session) = Handshake::new(exports, control, &mut input, &mut output).run()? else {
        return Ok(());
    };
    control.set_negotiated();
    debug!(export = session.export.name(), form = ?session.form, "transmission begins");
    let decoding = Decoding::new(Arc::clone(decoders));
    let flushes = Flushes::default();
    Connection { session, control, input, output, decoding, flushes, runs: Vec::new() }.run()
}

/// A connection in the transmission phase. What each command does is in the modules
/// named after them.
pub(super) struct Connection<'a, T> {
    pub(super) session: Session,
    control: &'a Control,
    pub(super) input: Input<'a, T>,
    pub(super) output: Output<'a, T>,
    pub(super) decoding: Decoding,
    pub(super) flushes: Flushes,
    /// Kept only for its memory.
    pub(super) runs: Vec<Run>,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Request,
    End,
}

impl<T: Transport> Connection<'_, T> {
    fn run(mut self) -> Result<(), ConnectionError> {
        let mut ended = false;
        loop {
            let next = self.serve_waiting()?;
            self.output.flush()?;
            if ended || next == Next::End {
                break;
            }
            self.send_decoded()?;
            let stopping = self.control.is_stopping();
            let received = self.receive(!stopping && self.decoding.is_idle())?;
            ended = stopping || received == Received::End;
        }
        while !self.decoding.is_idle() {
            self.send_decoded()?;
        }
        self.conclude_flushed(true)?;
        self.output.flush()?;
        let partial = !self.input.waiting().is_empty() && !self.control.is_stopping();
        if partial { Err(ConnectionError::Truncated) } else { Ok(()) }
    }

    /// Takes what the client has sent; waits for it, or for the end of a flush, if `wait`.
    fn receive(&mut self, wait: bool) -> Result<Received, ConnectionError> {
        match self.flushes.wake() {
            Some(wake) if wait => {
                self.input.wait(wake)?;
                self.input.fill(false)
            }
            _ => self.input.fill(wait),
        }
    }

    /// Serves every request that has arrived, and answers what was flushed meanwhile: a
    /// client may send without pause.
    fn serve_waiting(&mut self) -> Result<Next, ConnectionError> {
        loop {
            self.conclude_flushed(false)?;
            let Some((request, length)) = Request::parse(self.input.waiting())? else {
                return Ok(Next::Request);
            };
            self.input.consume(length);
            if request.command == command::DISCONNECT {
                self.input.consume(usize::MAX);
                return Ok(Next::End);
            }
            self.serve(&request)?;
        }
    }

    fn serve(&mut self, request: &Request) -> Result<(), ConnectionError> {
        let export = Arc::clone(&self.session.export);
        if let Err(error) = request.check(&*export, self.session.form) {
            if request.command == command::WRITE {
                self.skip_payload(request)?;
            }
            return self.fail(request, &error);
        }
        match request.command {
            command::READ => self.read(request),
            command::WRITE => self.write(request),
            command::BLOCK_STATUS => self.block_status(request),
            command::FLUSH => self.flush(request),
            command::TRIM => self.trim(request),
            command::WRITE_ZEROES => self.write_zeroes(request),
            // Every source is cached by its kernel or by the export; there is nothing to do.
            _ => self.conclude(request, Ok(())),
        }
    }

    /// Answers a request that has no content in its answer.
    pub(super) fn conclude(
        &mut self,
        request: &Request,
        result: Result<(), ExportError>,
    ) -> Result<(), ConnectionError> {
        match result {
            Ok(()) => Ok(reply::done(&mut self.output, request)?),
            Err(error) => self.fail(request, &error),
        }
    }

    /// Answers a request with an error.
    pub(super) fn fail(
        &mut self,
        request: &Request,
        error: &ExportError,
    ) -> Result<(), ConnectionError> {
        self.fail_chunk(request, error, true)
    }

    /// Answers a request, or one chunk of its answer, with an error.
    pub(super) fn fail_chunk(
        &mut self,
        request: &Request,
        error: &ExportError,
        last: bool,
    ) -> Result<(), ConnectionError> {
        let Request { command, offset, length, .. } = *request;
        debug!(command, offset, length, "request failed: {error}");
        Ok(reply::failed(&mut self.output, self.session.form, request, error, last)?)
    }
}
