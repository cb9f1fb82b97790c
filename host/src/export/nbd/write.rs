//! The commands that change an export: WRITE, WRITE_ZEROES and TRIM.

use std::sync::Arc;

use super::connection::Connection;
use super::error::ConnectionError;
use super::input;
use super::protocol::command_flag;
use super::request::Request;
use super::transport::Transport;
use crate::export::{Export, ExportError, ZeroMode};

/// The most bytes that are taken from the client for a write that is refused.
const PAYLOAD_LIMIT: u32 = 32 << 20;

impl<T: Transport> Connection<'_, T> {
    pub(super) fn write(&mut self, request: &Request) -> Result<(), ConnectionError> {
        let export = Arc::clone(&self.session.export);
        let length = request.size();
        if self.input.waiting().len() < length {
            // Answers must not wait for a client that is slow to send.
            self.output.flush()?;
        }
        let result = if length <= input::CAPACITY {
            let payload = self.input.require(length)?;
            let result = export.write_at(request.offset, payload);
            self.input.consume(length);
            result
        } else {
            self.write_long(request, &*export)?
        };
        self.conclude_change(request, result)
    }

    /// Writes a long payload: at once where there is memory for it, else in parts. After
    /// an error the rest is taken from the client and dropped.
    fn write_long(
        &mut self,
        request: &Request,
        export: &dyn Export,
    ) -> Result<Result<(), ExportError>, ConnectionError> {
        let room = self.room(request.length)?;
        let mut buffer = room.unwrap_or_else(|| self.decoding.own());
        let (mut at, end) = (request.offset, request.offset.saturating_add(request.length.into()));
        let mut result = Ok(());
        while at < end {
            let payload = buffer.part(end - at);
            self.input.read_exact(payload)?;
            if result.is_ok() {
                result = export.write_at(at, payload);
            }
            at = at.saturating_add(payload.len() as u64);
        }
        Ok(result)
    }

    /// Takes the bytes of a write that was refused, to find the next request.
    pub(super) fn skip_payload(&mut self, request: &Request) -> Result<(), ConnectionError> {
        if request.length > PAYLOAD_LIMIT {
            return Err(ConnectionError::Protocol("a write of excessive length"));
        }
        if self.input.waiting().len() < request.size() {
            self.output.flush()?;
        }
        self.input.discard(u64::from(request.length))
    }

    pub(super) fn trim(&mut self, request: &Request) -> Result<(), ConnectionError> {
        let result = self.session.export.trim(request.offset, u64::from(request.length));
        self.conclude_change(request, result)
    }

    pub(super) fn write_zeroes(&mut self, request: &Request) -> Result<(), ConnectionError> {
        let mode = ZeroMode {
            allocated: request.has(command_flag::NO_HOLE),
            fast_only: request.has(command_flag::FAST_ZERO),
        };
        let length = u64::from(request.length);
        let result = self.session.export.write_zeroes(request.offset, length, mode);
        self.conclude_change(request, result)
    }
}
