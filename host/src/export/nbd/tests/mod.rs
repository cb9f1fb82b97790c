//! Tests of the server from a client's side, over sockets and over byte streams.

mod commands;
mod flushing;
mod handshake;
mod hostile;
mod memory;
mod sample;
mod serving;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::protocol::*;
use super::*;
use crate::export::Export;
use sample::Sample;
use zerocopy::{FromBytes, IntoBytes};

/// A client whose server runs on another thread.
struct Client {
    stream: UnixStream,
    control: Arc<Control>,
    server: Option<JoinHandle<Result<(), ConnectionError>>>,
}

/// A reply to an option.
#[derive(Debug, PartialEq, Eq)]
struct OptionReply {
    kind: u32,
    data: Vec<u8>,
}

/// A chunk of a structured reply.
#[derive(Debug, PartialEq, Eq)]
struct Chunk {
    done: bool,
    kind: u16,
    cookie: u64,
    payload: Vec<u8>,
}

impl Client {
    /// Connects, and reads the greeting.
    fn connect(exports: Vec<Arc<dyn Export>>) -> Self {
        Self::connect_with(exports, Arc::new(Decoders::new(2, 64 << 20)))
    }

    /// Connects to a server that has these decoders.
    fn connect_with(exports: Vec<Arc<dyn Export>>, decoders: Arc<Decoders>) -> Self {
        let (stream, served) = UnixStream::pair().unwrap();
        let control = Arc::new(Control::default());
        let shared = Arc::clone(&control);
        let server = std::thread::spawn(move || {
            let socket = Socket::new(served);
            let result = serve_connection(&exports, &socket, &shared, &decoders);
            socket.finish();
            result
        });
        let mut client = Self::over(stream);
        (client.control, client.server) = (control, Some(server));
        client
    }

    /// A client of a server that is already running.
    fn over(stream: UnixStream) -> Self {
        // A test that fails must not hang.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self { stream, control: Arc::default(), server: None };
        let greeting: Greeting = client.take();
        assert_eq!((greeting.magic.get(), greeting.flags.get()), (GREETING_MAGIC, 3));
        client
    }

    /// Connects to a sample and begins to transmit, with everything that can be had.
    fn structured(sample: Sample) -> Self {
        let mut client = Self::connect(vec![Arc::new(sample)]);
        client.negotiate();
        client
    }

    fn negotiate(&mut self) {
        self.send(&3_u32.to_be_bytes());
        assert_eq!(self.option(option::STRUCTURED_REPLY, &[]), [acknowledged()]);
        let query = context_data("", &[ALLOCATION_CONTEXT]);
        assert_eq!(self.option(option::SET_META_CONTEXT, &query).len(), 2);
        let replies = self.option(option::GO, &information_data("", &[]));
        assert_eq!(replies.last(), Some(&acknowledged()));
    }

    /// Connects to a sample and begins to transmit with simple replies.
    fn simple(sample: Sample) -> Self {
        Self::connect(vec![Arc::new(sample)]).begin_simple()
    }

    /// Begins to transmit with simple replies.
    fn begin_simple(mut self) -> Self {
        self.send(&3_u32.to_be_bytes());
        self.send_option(option::EXPORT_NAME, &[]);
        let _: ExportSummary = self.take();
        self
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn take<S: FromBytes + IntoBytes>(&mut self) -> S {
        let mut value = S::new_zeroed();
        self.stream.read_exact(value.as_mut_bytes()).unwrap();
        value
    }

    fn take_bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn send_option(&mut self, option: u32, data: &[u8]) {
        self.send(&option_bytes(option, data));
    }

    /// Sends an option and takes its replies to the last.
    fn option(&mut self, option: u32, data: &[u8]) -> Vec<OptionReply> {
        self.send_option(option, data);
        let mut replies = Vec::new();
        loop {
            let header: OptionReplyHeader = self.take();
            assert_eq!(header.magic.get(), OPTION_REPLY_MAGIC);
            assert_eq!(header.option.get(), option);
            let data = self.take_bytes(header.length.get() as usize);
            let kind = header.kind.get();
            replies.push(OptionReply { kind, data });
            if kind == option_reply::ACK || kind >= 1 << 31 {
                return replies;
            }
        }
    }

    /// The kind of the last reply to an option.
    fn option_kind(&mut self, option: u32, data: &[u8]) -> u32 {
        self.option(option, data).last().unwrap().kind
    }

    fn request(&mut self, command: u16, flags: u16, offset: u64, length: u32) {
        self.send(&request_bytes(command, flags, 7, offset, length));
    }

    fn simple_reply(&mut self) -> (u32, u64) {
        let reply: SimpleReply = self.take();
        assert_eq!(reply.magic.get(), SIMPLE_REPLY_MAGIC);
        (reply.error.get(), reply.cookie.get())
    }

    fn chunk(&mut self) -> Chunk {
        let header: ChunkHeader = self.take();
        assert_eq!(header.magic.get(), STRUCTURED_REPLY_MAGIC);
        let payload = self.take_bytes(header.length.get() as usize);
        let done = header.flags.get() == chunk_flag::DONE;
        Chunk { done, kind: header.kind.get(), cookie: header.cookie.get(), payload }
    }

    /// The error number of an answer that is one error chunk.
    fn error(&mut self) -> u32 {
        let chunk = self.chunk();
        assert!(chunk.done && chunk.kind >= 1 << 15, "{chunk:?}");
        u32::from_be_bytes(chunk.payload[..4].try_into().unwrap())
    }

    /// The bytes of a structured read, put together; or the first error.
    fn assemble(&mut self, cookie: u64, offset: u64, length: u32) -> Result<Vec<u8>, u32> {
        let mut bytes = vec![0xee; length as usize];
        let (mut covered, mut error) = (0, None);
        loop {
            let chunk = self.chunk();
            assert_eq!(chunk.cookie, cookie);
            covered += place(&chunk, offset, &mut bytes, &mut error);
            if chunk.done {
                break;
            }
        }
        assert!(error.is_some() || covered == bytes.len());
        error.map_or(Ok(bytes), Err)
    }

    /// Disconnects and gives the server's result.
    fn end(mut self) -> Result<(), ConnectionError> {
        let server = self.server.take().unwrap();
        drop(self.stream);
        server.join().unwrap()
    }
}

/// Puts a chunk's content into its place; answers how many bytes it covers.
fn place(chunk: &Chunk, offset: u64, bytes: &mut [u8], error: &mut Option<u32>) -> usize {
    let word = |at: usize| u64::from_be_bytes(chunk.payload[at..at + 8].try_into().unwrap());
    match chunk.kind {
        chunk::OFFSET_DATA => {
            let (start, data) = ((word(0) - offset) as usize, &chunk.payload[8..]);
            bytes[start..start + data.len()].copy_from_slice(data);
            data.len()
        }
        chunk::OFFSET_HOLE => {
            let start = (word(0) - offset) as usize;
            let length = u32::from_be_bytes(chunk.payload[8..].try_into().unwrap()) as usize;
            bytes[start..start + length].fill(0);
            length
        }
        kind => {
            assert!(kind >= 1 << 15);
            *error = Some(u32::from_be_bytes(chunk.payload[..4].try_into().unwrap()));
            0
        }
    }
}

fn acknowledged() -> OptionReply {
    OptionReply { kind: option_reply::ACK, data: Vec::new() }
}

fn option_bytes(option: u32, data: &[u8]) -> Vec<u8> {
    let header = OptionHeader {
        magic: OPTION_MAGIC.into(),
        option: option.into(),
        length: (data.len() as u32).into(),
    };
    [header.as_bytes(), data].concat()
}

fn request_bytes(command: u16, flags: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let header = RequestHeader {
        magic: REQUEST_MAGIC.into(),
        flags: flags.into(),
        command: command.into(),
        cookie: cookie.into(),
        offset: offset.into(),
        length: length.into(),
    };
    header.as_bytes().to_vec()
}

fn string_data(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

fn information_data(name: &str, kinds: &[u16]) -> Vec<u8> {
    let mut data = string_data(name);
    data.extend((kinds.len() as u16).to_be_bytes());
    data.extend(kinds.iter().flat_map(|kind| kind.to_be_bytes()));
    data
}

fn context_data(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = string_data(name);
    data.extend((queries.len() as u32).to_be_bytes());
    data.extend(queries.iter().flat_map(|query| string_data(query)));
    data
}
