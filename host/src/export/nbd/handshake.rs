//! The handshake: greets a client, answers its options, and ends with an export chosen.

use std::sync::Arc;

use tracing::debug;
use zerocopy::{FromBytes, IntoBytes};

use super::control::Control;
use super::error::ConnectionError;
use super::input::Input;
use super::options::{ContextRequest, InformationRequest, Malformed, export_name};
use super::output::Output;
use super::protocol::{
    ALLOCATION_CONTEXT, BASE_WILDCARD, BlockSizeSummary, EXPORT_PADDING, ExportSummary,
    GREETING_MAGIC, Greeting, OPTION_MAGIC, OPTION_REPLY_MAGIC, OptionHeader, OptionReplyHeader,
    handshake_flag, information, option, option_reply, transmission_flag,
};
use super::reply::{ReplyForm, shortened, to_u32};
use super::transport::{Received, Transport};
use crate::export::Export;

/// The most options a client may send.
const OPTION_COUNT_LIMIT: usize = 10_000;
/// The longest data of an option that is looked at.
const OPTION_LENGTH_LIMIT: u32 = 64 << 10;
/// The longest data of an option that is skipped; a client that sends more is dropped.
const OPTION_SKIP_LIMIT: u32 = 1 << 20;
/// The number by which the allocation context goes once it is chosen.
pub(super) const ALLOCATION_CONTEXT_NUMBER: u32 = 1;

/// What was agreed on.
pub(super) struct Session {
    pub(super) export: Arc<dyn Export>,
    pub(super) form: ReplyForm,
    /// Whether the client may ask for block status.
    pub(super) allocation: bool,
}

/// How the handshake goes on after an option.
enum Next {
    Option,
    Begin(Session),
    End,
}

/// One client's handshake.
pub(super) struct Handshake<'a, 'b, T> {
    exports: &'b [Arc<dyn Export>],
    control: &'b Control,
    input: &'b mut Input<'a, T>,
    output: &'b mut Output<'a, T>,
    padding: bool,
    form: ReplyForm,
    /// The name of the export for which the allocation context was chosen.
    allocation: Option<String>,
}

impl<'a, 'b, T: Transport> Handshake<'a, 'b, T> {
    pub(super) fn new(
        exports: &'b [Arc<dyn Export>],
        control: &'b Control,
        input: &'b mut Input<'a, T>,
        output: &'b mut Output<'a, T>,
    ) -> Self {
        let form = ReplyForm::Simple;
        Self { exports, control, input, output, padding: true, form, allocation: None }
    }

    /// Runs to the end; `None` if the client took its leave.
    pub(super) fn run(mut self) -> Result<Option<Session>, ConnectionError> {
        self.greet()?;
        for _ in 0..OPTION_COUNT_LIMIT {
            let next = self.option()?;
            self.output.flush()?;
            match next {
                Next::Option => {}
                Next::Begin(session) => return Ok(Some(session)),
                Next::End => return Ok(None),
            }
        }
        Err(ConnectionError::Protocol("too many options"))
    }

    fn greet(&mut self) -> Result<(), ConnectionError> {
        let offered = handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES;
        self.output.put(&Greeting {
            magic: GREETING_MAGIC.into(),
            option_magic: OPTION_MAGIC.into(),
            flags: offered.into(),
        })?;
        self.output.flush()?;
        let mut flags = [0; 4];
        self.input.read_exact(&mut flags)?;
        let flags = u32::from_be_bytes(flags);
        if flags & !u32::from(offered) != 0 {
            return Err(ConnectionError::Protocol("unknown client flags"));
        }
        if flags & u32::from(handshake_flag::FIXED_NEWSTYLE) == 0 {
            return Err(ConnectionError::Protocol("the client lacks fixed newstyle"));
        }
        self.padding = flags & u32::from(handshake_flag::NO_ZEROES) == 0;
        Ok(())
    }

    fn option(&mut self) -> Result<Next, ConnectionError> {
        if self.input.waiting().is_empty() && self.ended()? {
            return Ok(Next::End);
        }
        let header = self.input.require(size_of::<OptionHeader>())?;
        let header = OptionHeader::read_from_bytes(header)
            .map_err(|_| ConnectionError::Truncated)
            .inspect(|_| self.input.consume(size_of::<OptionHeader>()))?;
        if header.magic.get() != OPTION_MAGIC {
            return Err(ConnectionError::Protocol("an option with a wrong magic number"));
        }
        let (code, length) = (header.option.get(), header.length.get());
        if length > OPTION_LENGTH_LIMIT {
            return self.skip(code, length);
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let data = self.input.require(length)?.to_vec();
        self.input.consume(length);
        self.answer(code, &data)
    }

    fn ended(&mut self) -> Result<bool, ConnectionError> {
        Ok(self.input.fill(true)? == Received::End)
    }

    fn skip(&mut self, code: u32, length: u32) -> Result<Next, ConnectionError> {
        if length > OPTION_SKIP_LIMIT || code == option::EXPORT_NAME {
            return Err(ConnectionError::Protocol("an option of excessive length"));
        }
        self.input.discard(length.into())?;
        self.reply_text(code, option_reply::TOO_BIG, "the option is too long")
    }

    fn answer(&mut self, code: u32, data: &[u8]) -> Result<Next, ConnectionError> {
        debug!(option = code, length = data.len(), "option");
        match code {
            option::ABORT => {
                // The client may be gone without waiting for the answer.
                let _ = self.reply(code, option_reply::ACK, &[]);
                Ok(Next::End)
            }
            _ if self.control.is_stopping() => {
                self.reply_text(code, option_reply::SHUTDOWN, "the server is about to end")
            }
            option::EXPORT_NAME => self.begin_without_reply(data),
            option::LIST if data.is_empty() => self.list(),
            option::STRUCTURED_REPLY if data.is_empty() => {
                self.form = ReplyForm::Structured;
                self.acknowledge(code)
            }
            option::LIST | option::STRUCTURED_REPLY => {
                self.malformed(code, Malformed("the option has data"))
            }
            option::INFO | option::GO => match InformationRequest::parse(data) {
                Ok(request) => self.describe(code, &request),
                Err(reason) => self.malformed(code, reason),
            },
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                if code == option::SET_META_CONTEXT {
                    self.allocation = None;
                }
                match ContextRequest::parse(data) {
                    Ok(request) => self.contexts(code, &request),
                    Err(reason) => self.malformed(code, reason),
                }
            }
            option::STARTTLS => {
                self.reply_text(code, option_reply::UNSUPPORTED, "TLS is not supported")
            }
            _ => self.reply_text(code, option_reply::UNSUPPORTED, "the option is not supported"),
        }
    }

    /// The export of that name; the empty name stands for the first.
    fn find(&self, name: &str) -> Option<&Arc<dyn Export>> {
        let named = self.exports.iter().find(|export| export.name() == name);
        named.or_else(|| self.exports.first().filter(|_| name.is_empty()))
    }

    fn session(&self, export: &Arc<dyn Export>, name: &str) -> Session {
        let allocation = self.allocation.as_deref() == Some(name);
        Session { export: Arc::clone(export), form: self.form, allocation }
    }

    fn begin_without_reply(&mut self, data: &[u8]) -> Result<Next, ConnectionError> {
        let name = export_name(data).map_err(|reason| ConnectionError::Protocol(reason.0))?;
        let Some(export) = self.find(name).map(Arc::clone) else {
            return Err(ConnectionError::Protocol("there is no export of that name"));
        };
        self.output.put(&self.summary(&*export))?;
        if self.padding {
            self.output.put_bytes(&[0; EXPORT_PADDING])?;
        }
        Ok(Next::Begin(self.session(&export, name)))
    }

    fn list(&mut self) -> Result<Next, ConnectionError> {
        for export in self.exports {
            let (name, description) = (export.name(), shortened(export.description()));
            let length = to_u32(name.len()).to_be_bytes();
            let parts = [length.as_slice(), name.as_bytes(), description.as_bytes()];
            self.reply(option::LIST, option_reply::SERVER, &parts)?;
        }
        self.acknowledge(option::LIST)
    }

    fn describe(
        &mut self,
        code: u32,
        request: &InformationRequest<'_>,
    ) -> Result<Next, ConnectionError> {
        let Some(export) = self.find(request.name).map(Arc::clone) else {
            return self.unknown(code);
        };
        self.inform(code, information::EXPORT, self.summary(&*export).as_bytes())?;
        let sizes = export.block_sizes();
        let sizes = BlockSizeSummary {
            minimum: sizes.minimum.into(),
            preferred: sizes.preferred.into(),
            maximum: sizes.maximum.into(),
        };
        self.inform(code, information::BLOCK_SIZE, sizes.as_bytes())?;
        if request.kinds.contains(&information::NAME) {
            self.inform(code, information::NAME, export.name().as_bytes())?;
        }
        if request.kinds.contains(&information::DESCRIPTION) {
            let description = shortened(export.description());
            self.inform(code, information::DESCRIPTION, description.as_bytes())?;
        }
        self.acknowledge(code)?;
        if code == option::GO {
            return Ok(Next::Begin(self.session(&export, request.name)));
        }
        Ok(Next::Option)
    }

    fn contexts(
        &mut self,
        code: u32,
        request: &ContextRequest<'_>,
    ) -> Result<Next, ConnectionError> {
        if self.form != ReplyForm::Structured {
            return self.malformed(code, Malformed("structured replies come first"));
        }
        if self.find(request.name).is_none() {
            return self.unknown(code);
        }
        let chooses = code == option::SET_META_CONTEXT;
        let matches =
            |query: &&str| *query == ALLOCATION_CONTEXT || (!chooses && *query == BASE_WILDCARD);
        let all = !chooses && request.queries.is_empty();
        if all || request.queries.iter().any(matches) {
            let number = if chooses { ALLOCATION_CONTEXT_NUMBER } else { 0 }.to_be_bytes();
            let parts = [number.as_slice(), ALLOCATION_CONTEXT.as_bytes()];
            self.reply(code, option_reply::META_CONTEXT, &parts)?;
            if chooses {
                self.allocation = Some(request.name.to_owned());
            }
        }
        self.acknowledge(code)
    }

    fn summary(&self, export: &dyn Export) -> ExportSummary {
        let mut flags = transmission_flag::HAS_FLAGS
            | transmission_flag::SEND_FLUSH
            | transmission_flag::SEND_FUA
            | transmission_flag::SEND_CACHE
            | transmission_flag::CAN_MULTI_CONN;
        flags |= if export.read_only() {
            transmission_flag::READ_ONLY
        } else {
            transmission_flag::SEND_TRIM
                | transmission_flag::SEND_WRITE_ZEROES
                | transmission_flag::SEND_FAST_ZERO
        };
        if self.form == ReplyForm::Structured {
            flags |= transmission_flag::SEND_DF;
        }
        ExportSummary { size: export.size().into(), flags: flags.into() }
    }

    fn inform(&mut self, code: u32, kind: u16, data: &[u8]) -> Result<(), ConnectionError> {
        self.reply(code, option_reply::INFO, &[&kind.to_be_bytes(), data])
    }

    fn acknowledge(&mut self, code: u32) -> Result<Next, ConnectionError> {
        self.reply(code, option_reply::ACK, &[])?;
        Ok(Next::Option)
    }

    fn malformed(&mut self, code: u32, reason: Malformed) -> Result<Next, ConnectionError> {
        self.reply_text(code, option_reply::INVALID, reason.0)
    }

    fn unknown(&mut self, code: u32) -> Result<Next, ConnectionError> {
        self.reply_text(code, option_reply::UNKNOWN, "there is no export of that name")
    }

    fn reply_text(&mut self, code: u32, kind: u32, text: &str) -> Result<Next, ConnectionError> {
        debug!(option = code, "option refused: {text}");
        self.reply(code, kind, &[text.as_bytes()])?;
        Ok(Next::Option)
    }

    fn reply(&mut self, code: u32, kind: u32, parts: &[&[u8]]) -> Result<(), ConnectionError> {
        let length = parts.iter().map(|part| part.len()).sum();
        self.output.put(&OptionReplyHeader {
            magic: OPTION_REPLY_MAGIC.into(),
            option: code.into(),
            kind: kind.into(),
            length: to_u32(length).into(),
        })?;
        for part in parts {
            self.output.put_bytes(part)?;
        }
        Ok(())
    }
}
