//! How requests are answered: simple replies, chunks of structured ones, errors.
//!
//! It decides the form of an answer, not its content.

use std::io;

use super::output::Output;
use super::protocol::{
    ChunkHeader, ErrorHeader, Hole, SIMPLE_REPLY_MAGIC, STRING_LIMIT, STRUCTURED_REPLY_MAGIC,
    SimpleReply, chunk, chunk_flag, error_number,
};
use super::request::Request;
use super::transport::Transport;
use crate::export::{ErrorKind, ExportError};

/// Room for whatever precedes the bytes of a read.
pub(super) const DATA_HEADER: usize = size_of::<ChunkHeader>() + size_of::<u64>();

/// How the client wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyForm {
    /// A header, and for reads all bytes.
    Simple,
    /// Chunks that say what they are.
    Structured,
}

/// The number that stands for a kind of error.
pub(super) fn error_code(kind: ErrorKind) -> u32 {
    match kind {
        ErrorKind::NotPermitted => error_number::NOT_PERMITTED,
        ErrorKind::InputOutput => error_number::INPUT_OUTPUT,
        ErrorKind::OutOfMemory => error_number::OUT_OF_MEMORY,
        ErrorKind::Invalid => error_number::INVALID,
        ErrorKind::NoSpace => error_number::NO_SPACE,
        ErrorKind::NotSupported => error_number::NOT_SUPPORTED,
        ErrorKind::ShuttingDown => error_number::SHUTDOWN,
    }
}

/// Says that a request without content in its answer is done.
pub(super) fn done<T: Transport>(output: &mut Output<'_, T>, request: &Request) -> io::Result<()> {
    simple_header(output, request.cookie, 0)
}

/// Says that a request, or one chunk of its answer, failed.
pub(super) fn failed<T: Transport>(
    output: &mut Output<'_, T>,
    form: ReplyForm,
    request: &Request,
    error: &ExportError,
    last: bool,
) -> io::Result<()> {
    let code = error_code(error.kind);
    if form == ReplyForm::Simple {
        return simple_header(output, request.cookie, code);
    }
    let message = shortened(&error.message);
    let offset = error.offset.filter(|offset| request.contains(*offset));
    let (kind, tail) = match offset {
        Some(_) => (chunk::ERROR_OFFSET, size_of::<u64>()),
        None => (chunk::ERROR, 0),
    };
    let length = size_of::<ErrorHeader>() + message.len() + tail;
    chunk_header(output, request.cookie, kind, to_u32(length), last)?;
    let length = u16::try_from(message.len()).unwrap_or(0);
    output.put(&ErrorHeader { error: code.into(), length: length.into() })?;
    output.put_bytes(message.as_bytes())?;
    match offset {
        Some(offset) => output.put_bytes(&offset.to_be_bytes()),
        None => Ok(()),
    }
}

/// Announces `length` bytes read at `offset`; they must follow.
pub(super) fn data_header<T: Transport>(
    output: &mut Output<'_, T>,
    form: ReplyForm,
    cookie: u64,
    offset: u64,
    length: u32,
    last: bool,
) -> io::Result<()> {
    if form == ReplyForm::Simple {
        return simple_header(output, cookie, 0);
    }
    let length = length.saturating_add(to_u32(size_of::<u64>()));
    chunk_header(output, cookie, chunk::OFFSET_DATA, length, last)?;
    output.put_bytes(&offset.to_be_bytes())
}

/// Says that a part of a read is zeroes, without sending them.
pub(super) fn hole<T: Transport>(
    output: &mut Output<'_, T>,
    cookie: u64,
    offset: u64,
    length: u32,
    last: bool,
) -> io::Result<()> {
    chunk_header(output, cookie, chunk::OFFSET_HOLE, to_u32(size_of::<Hole>()), last)?;
    output.put(&Hole { offset: offset.into(), length: length.into() })
}

/// Begins a chunk whose payload of `length` bytes must follow.
pub(super) fn chunk_header<T: Transport>(
    output: &mut Output<'_, T>,
    cookie: u64,
    kind: u16,
    length: u32,
    last: bool,
) -> io::Result<()> {
    output.put(&ChunkHeader {
        magic: STRUCTURED_REPLY_MAGIC.into(),
        flags: if last { chunk_flag::DONE } else { 0 }.into(),
        kind: kind.into(),
        cookie: cookie.into(),
        length: length.into(),
    })
}

fn simple_header<T: Transport>(
    output: &mut Output<'_, T>,
    cookie: u64,
    error: u32,
) -> io::Result<()> {
    let magic = SIMPLE_REPLY_MAGIC.into();
    output.put(&SimpleReply { magic, error: error.into(), cookie: cookie.into() })
}

/// As much of a message as the protocol allows.
pub(super) fn shortened(message: &str) -> &str {
    message.get(..message.floor_char_boundary(STRING_LIMIT)).unwrap_or_default()
}

/// A length that is known to be short.
pub(super) fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
