//! Requests: taken from the input, and checked against the export before anybody acts.

use zerocopy::FromBytes;

use super::error::ConnectionError;
use super::protocol::{REQUEST_MAGIC, RequestHeader, command, command_flag};
use super::reply::ReplyForm;
use crate::export::{ErrorKind, Export, ExportError};

/// A request as the client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) command: u16,
    pub(super) flags: u16,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Request {
    /// The first request in `bytes`, and its length there; `None` if it is not all there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ConnectionError> {
        let Ok((header, _)) = RequestHeader::read_from_prefix(bytes) else { return Ok(None) };
        if header.magic.get() != REQUEST_MAGIC {
            return Err(ConnectionError::Protocol("a request with a wrong magic number"));
        }
        let request = Self {
            command: header.command.get(),
            flags: header.flags.get(),
            cookie: header.cookie.get(),
            offset: header.offset.get(),
            length: header.length.get(),
        };
        Ok(Some((request, size_of::<RequestHeader>())))
    }

    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether an offset of the export lies in the request's range.
    pub(super) fn contains(&self, offset: u64) -> bool {
        offset.checked_sub(self.offset).is_some_and(|skip| skip < u64::from(self.length))
    }

    /// The length as an amount of memory.
    pub(super) fn size(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }

    /// Refuses what the export does not allow, so that commands can trust the range.
    pub(super) fn check(&self, export: &dyn Export, form: ReplyForm) -> Result<(), ExportError> {
        let writes = matches!(self.command, command::WRITE | command::TRIM | command::WRITE_ZEROES);
        if writes && export.read_only() {
            return Err(ExportError::read_only());
        }
        let allowed = self.allowed_flags(form)?;
        if self.flags & !allowed != 0 {
            return Err(invalid("a flag that the command does not have"));
        }
        if self.command == command::FLUSH {
            return Ok(());
        }
        if self.length == 0 {
            return Err(invalid("a length of zero"));
        }
        let end = self.offset.checked_add(u64::from(self.length));
        if end.is_none_or(|end| end > export.size()) {
            let kind = if writes { ErrorKind::NoSpace } else { ErrorKind::Invalid };
            return Err(ExportError::new(kind, "the range passes the end of the export"));
        }
        let sizes = export.block_sizes();
        let minimum = u64::from(sizes.minimum.max(1));
        if !self.offset.is_multiple_of(minimum) || !u64::from(self.length).is_multiple_of(minimum) {
            return Err(invalid("the range is not a multiple of the minimum block size"));
        }
        let carries = matches!(self.command, command::READ | command::WRITE);
        if carries && self.length > sizes.maximum {
            return Err(invalid("more bytes than one request may carry"));
        }
        Ok(())
    }

    /// The flags that the command may have. Clients are known to ask for durability of
    /// commands that do not write; that has no meaning and does no harm.
    fn allowed_flags(&self, form: ReplyForm) -> Result<u16, ExportError> {
        let structured = form == ReplyForm::Structured;
        Ok(command_flag::DURABLE
            | match self.command {
                command::READ if structured => command_flag::UNFRAGMENTED,
                command::BLOCK_STATUS => command_flag::ONE_EXTENT,
                command::WRITE_ZEROES => command_flag::NO_HOLE | command_flag::FAST_ZERO,
                command::READ
                | command::WRITE
                | command::FLUSH
                | command::TRIM
                | command::CACHE => 0,
                _ => return Err(invalid("an unknown command")),
            })
    }
}

pub(super) fn invalid(message: &str) -> ExportError {
    ExportError::new(ErrorKind::Invalid, message)
}
