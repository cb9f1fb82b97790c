//! The command READ: short reads through the output buffer, long ones as runs.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::connection::Connection;
use super::decode::{self, Decoded, Piece};
use super::error::ConnectionError;
use super::memory::{Buffer, OWN};
use super::protocol::{RequestHeader, command_flag};
use super::reply::{self, DATA_HEADER, ReplyForm};
use super::request::Request;
use super::transport::Transport;
use crate::export::{ErrorKind, ExportError, Run};

/// Reads, and runs of files, of at least this length are sent from the file itself.
const SENDFILE_MINIMUM: u64 = 32 << 10;
/// Longer runs that have to be decoded become several pieces; there is always memory
/// for one.
const PIECE_LENGTH: u64 = OWN as u64;

impl<T: Transport> Connection<'_, T> {
    pub(super) fn read(&mut self, request: &Request) -> Result<(), ConnectionError> {
        if u64::from(request.length) < SENDFILE_MINIMUM {
            return self.read_short(Piece::whole(request));
        }
        let export = Arc::clone(&self.session.export);
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        let found = export.runs(request.offset, u64::from(request.length), &mut runs);
        let result = match found.and_then(|()| check_runs(request, &mut runs)) {
            Ok(()) => self.read_long(request, &runs),
            Err(error) => self.fail(request, &error),
        };
        runs.clear();
        self.runs = runs;
        result
    }

    /// Reads into the output buffer, unless it takes decoding.
    fn read_short(&mut self, piece: Piece) -> Result<(), ConnectionError> {
        let length = usize::try_from(piece.length).unwrap_or(usize::MAX);
        self.output.ensure(DATA_HEADER.saturating_add(length))?;
        let mark = self.output.mark();
        let last = piece.sent();
        let (form, cookie) = (self.session.form, piece.request.cookie);
        reply::data_header(&mut self.output, form, cookie, piece.offset, piece.length, last)?;
        let space = self.output.space(length).unwrap_or_default();
        match self.session.export.read_ready(piece.offset, space) {
            Ok(true) => self.output.advance(length),
            Ok(false) => {
                self.output.rewind(mark);
                piece.put_back();
                return self.decode(piece);
            }
            Err(error) => {
                self.output.rewind(mark);
                self.fail_chunk(&piece.request, &error, last)?;
            }
        }
        Ok(())
    }

    fn read_long(&mut self, request: &Request, runs: &[Run]) -> Result<(), ConnectionError> {
        let whole = self.session.form == ReplyForm::Simple
            || request.has(command_flag::UNFRAGMENTED)
            || runs.len() as u64 > u64::from(request.length) / SENDFILE_MINIMUM;
        if !whole {
            return self.read_fragments(request, runs);
        }
        let plain = |run: &Run| match run {
            Run::File { length, .. } => *length >= SENDFILE_MINIMUM,
            Run::Zero { .. } => true,
            Run::Bytes { .. } => false,
        };
        // Once the header of an answer in one piece is sent, no error can be told.
        if runs.iter().all(plain) {
            self.send_whole(request, runs)
        } else {
            self.read_buffered(Piece::whole(request))
        }
    }

    /// Sends all runs, none of which can fail, behind one header.
    fn send_whole(&mut self, request: &Request, runs: &[Run]) -> Result<(), ConnectionError> {
        let (form, Request { cookie, offset, length, .. }) = (self.session.form, *request);
        reply::data_header(&mut self.output, form, cookie, offset, length, true)?;
        for run in runs {
            match run {
                Run::File { file, offset, length } => {
                    self.send_file(request, file, *offset, *length)?;
                }
                Run::Zero { length } | Run::Bytes { length } => self.output.put_zeroes(*length)?,
            }
        }
        Ok(())
    }

    /// Answers with one chunk, or several, for each run.
    fn read_fragments(&mut self, request: &Request, runs: &[Run]) -> Result<(), ConnectionError> {
        let mut count = 0;
        for_each_fragment(request, runs, |_, _, _| {
            count += 1;
            Ok::<(), ConnectionError>(())
        })?;
        let chunks = Arc::new(AtomicUsize::new(count));
        for_each_fragment(request, runs, |run, offset, length| {
            let piece =
                Piece { request: *request, offset, length, chunks: Some(Arc::clone(&chunks)) };
            self.send_fragment(run, piece)
        })
    }

    fn send_fragment(&mut self, run: &Run, piece: Piece) -> Result<(), ConnectionError> {
        let Piece { offset, length, .. } = piece;
        let cookie = piece.request.cookie;
        match run {
            Run::Zero { .. } => {
                let last = piece.sent();
                Ok(reply::hole(&mut self.output, cookie, offset, length, last)?)
            }
            Run::File { .. } if u64::from(length) < SENDFILE_MINIMUM => self.read_short(piece),
            Run::File { file, offset: position, .. } => {
                let (form, last) = (self.session.form, piece.sent());
                reply::data_header(&mut self.output, form, cookie, offset, length, last)?;
                self.send_file(&piece.request, file, *position, u64::from(length))
            }
            Run::Bytes { .. } => self.decode(piece),
        }
    }

    fn send_file(
        &mut self,
        request: &Request,
        file: &File,
        offset: u64,
        length: u64,
    ) -> Result<(), ConnectionError> {
        let sent = self.output.put_file(file, offset, length)?;
        if sent < length {
            // The header has promised more, so the client can only be cut off.
            let missing = length - sent;
            return Err(ConnectionError::FileEnded { offset: request.offset, missing });
        }
        Ok(())
    }

    /// Reads a long range that lies in small parts into a buffer of its own.
    fn read_buffered(&mut self, piece: Piece) -> Result<(), ConnectionError> {
        let Some(mut buffer) = self.room(piece.length)? else { return self.read_twice(&piece) };
        match self.session.export.read_ready(piece.offset, buffer.bytes()) {
            Ok(false) => self.decode_into(piece, buffer),
            Ok(true) => self.send_piece(Decoded { piece, buffer, result: Ok(()) }),
            Err(error) => self.send_piece(Decoded { piece, buffer, result: Err(error) }),
        }
    }

    /// Decodes a piece into a buffer of its own.
    fn decode(&mut self, piece: Piece) -> Result<(), ConnectionError> {
        match self.room(piece.length)? {
            Some(buffer) => self.decode_into(piece, buffer),
            None => self.read_twice(&piece),
        }
    }

    /// Room for a piece; what is under way is sent until there is enough. `None` if
    /// there is not enough even then, for what others have.
    pub(super) fn room(&mut self, length: u32) -> Result<Option<Buffer>, ConnectionError> {
        loop {
            let room = self.decoding.room(length);
            if room.is_some() || self.decoding.is_idle() {
                return Ok(room);
            }
            self.send_decoded()?;
        }
    }

    /// Decodes a piece: here if it is all there is to do, otherwise on another thread.
    fn decode_into(&mut self, piece: Piece, buffer: Buffer) -> Result<(), ConnectionError> {
        let alone = self.decoding.is_idle()
            && piece.length == piece.request.length
            && self.input.waiting().len() < size_of::<RequestHeader>();
        if alone {
            let decoded = decode::decode(&*self.session.export, piece, buffer);
            return self.send_piece(decoded);
        }
        self.decoding.start(&self.session.export, piece, buffer);
        Ok(())
    }

    /// Reads a range for which there is no memory, part by part: once to find out that
    /// all of it can be read, since behind the header no error can be told, and once to
    /// send it.
    fn read_twice(&mut self, piece: &Piece) -> Result<(), ConnectionError> {
        let export = Arc::clone(&self.session.export);
        let mut buffer = self.decoding.own();
        let end = piece.offset.saturating_add(piece.length.into());
        let parts =
            || (piece.offset..end).step_by(OWN).map(|at| (at, (end - at).min(PIECE_LENGTH)));
        let last = piece.sent();
        for (at, length) in parts() {
            let part = buffer.part(length);
            if let Err(error) = decode::fill(&*export, at, part) {
                return self.fail_chunk(&piece.request, &error, last);
            }
        }
        let (form, cookie) = (self.session.form, piece.request.cookie);
        reply::data_header(&mut self.output, form, cookie, piece.offset, piece.length, last)?;
        for (at, length) in parts() {
            let part = buffer.part(length);
            decode::fill(&*export, at, part).map_err(|_| ConnectionError::Unreadable(at))?;
            self.output.put_bytes(part)?;
        }
        Ok(())
    }

    /// Waits for one decoded piece, if any is under way, and sends all that are ready.
    pub(super) fn send_decoded(&mut self) -> Result<(), ConnectionError> {
        let mut next = self.decoding.next(true);
        while let Some(decoded) = next {
            self.send_piece(decoded)?;
            next = self.decoding.next(false);
        }
        Ok(self.output.flush()?)
    }

    fn send_piece(&mut self, decoded: Decoded) -> Result<(), ConnectionError> {
        let Decoded { piece, mut buffer, result } = decoded;
        let last = piece.sent();
        if let Err(error) = result {
            self.fail_chunk(&piece.request, &error, last)?;
        } else {
            let (form, cookie) = (self.session.form, piece.request.cookie);
            reply::data_header(&mut self.output, form, cookie, piece.offset, piece.length, last)?;
            self.output.put_bytes(buffer.bytes())?;
        }
        Ok(())
    }
}

/// Refuses runs that are not exactly the range that was asked for.
fn check_runs(request: &Request, runs: &mut Vec<Run>) -> Result<(), ExportError> {
    runs.retain(|run| run.length() > 0);
    let total = runs.iter().try_fold(0_u64, |total, run| total.checked_add(run.length()));
    if total == Some(u64::from(request.length)) {
        return Ok(());
    }
    let message = "the export answered for another range than it was asked for";
    Err(ExportError::new(ErrorKind::InputOutput, message))
}

/// Calls `action` with each part that becomes a chunk of its own, and its place in the
/// export: a run, or a piece of one that has to be decoded and is long.
fn for_each_fragment<E>(
    request: &Request,
    runs: &[Run],
    mut action: impl FnMut(&Run, u64, u32) -> Result<(), E>,
) -> Result<(), E> {
    let mut offset = request.offset;
    for run in runs {
        let mut left = run.length();
        while left > 0 {
            // Pieces end where a multiple of their length ends, so that two of them
            // rarely need the same compressed block.
            let length = match run {
                Run::Bytes { .. } => left.min(PIECE_LENGTH - offset % PIECE_LENGTH),
                Run::File { .. } | Run::Zero { .. } => left,
            };
            action(run, offset, u32::try_from(length).unwrap_or(u32::MAX))?;
            offset = offset.saturating_add(length);
            left -= length;
        }
    }
    Ok(())
}
