//! The NBD protocol as it is on the wire: magic numbers, codes, and structures.
//!
//! Nothing here acts. Names follow the protocol document's, with its prefixes as
//! modules.

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first word a server sends.
pub const GREETING_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// Begins the second word of a greeting, and every option.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Begins every reply to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Begins every request.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Begins every simple reply.
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Begins every chunk of a structured reply.
pub const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

/// The longest string of the protocol, in bytes.
pub const STRING_LIMIT: usize = 4096;
/// Zeroes at the end of the answer to [`option::EXPORT_NAME`] for clients that want them.
pub const EXPORT_PADDING: usize = 124;
/// The TCP port that clients try unless told otherwise.
pub const DEFAULT_PORT: u16 = 10809;
/// The one metadata context of this server.
pub const ALLOCATION_CONTEXT: &str = "base:allocation";
/// The query that stands for every context of the `base` namespace.
pub const BASE_WILDCARD: &str = "base:";

/// Flags of the greeting, and the client's flags in answer to it.
pub mod handshake_flag {
    /// Options are answered in a fixed frame.
    pub const FIXED_NEWSTYLE: u16 = 1 << 0;
    /// The answer to `EXPORT_NAME` ends without padding.
    pub const NO_ZEROES: u16 = 1 << 1;
}

/// Flags that describe an export.
pub mod transmission_flag {
    /// Always set.
    pub const HAS_FLAGS: u16 = 1 << 0;
    /// Writes are refused.
    pub const READ_ONLY: u16 = 1 << 1;
    /// Flushes are understood.
    pub const SEND_FLUSH: u16 = 1 << 2;
    /// Durable writes are understood.
    pub const SEND_FUA: u16 = 1 << 3;
    /// Trims are understood.
    pub const SEND_TRIM: u16 = 1 << 5;
    /// Writes of zeroes are understood.
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    /// Reads may ask for an answer in one piece.
    pub const SEND_DF: u16 = 1 << 7;
    /// Several connections see the same bytes.
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    /// Requests to fill caches are understood.
    pub const SEND_CACHE: u16 = 1 << 10;
    /// Writes of zeroes may ask to fail rather than be slow.
    pub const SEND_FAST_ZERO: u16 = 1 << 11;
}

/// Options of the handshake.
pub mod option {
    /// Choose an export and begin, without a way to fail politely.
    pub const EXPORT_NAME: u32 = 1;
    /// End the session.
    pub const ABORT: u32 = 2;
    /// List the exports.
    pub const LIST: u32 = 3;
    /// Begin encryption.
    pub const STARTTLS: u32 = 5;
    /// Describe an export.
    pub const INFO: u32 = 6;
    /// Describe an export and begin.
    pub const GO: u32 = 7;
    /// Use structured replies.
    pub const STRUCTURED_REPLY: u32 = 8;
    /// List metadata contexts.
    pub const LIST_META_CONTEXT: u32 = 9;
    /// Choose metadata contexts.
    pub const SET_META_CONTEXT: u32 = 10;
}

/// Kinds of replies to options.
pub mod option_reply {
    /// Done.
    pub const ACK: u32 = 1;
    /// One export of a list.
    pub const SERVER: u32 = 2;
    /// One piece of information about an export.
    pub const INFO: u32 = 3;
    /// One metadata context.
    pub const META_CONTEXT: u32 = 4;
    /// The option is unknown.
    pub const UNSUPPORTED: u32 = (1 << 31) + 1;
    /// The option makes no sense.
    pub const INVALID: u32 = (1 << 31) + 3;
    /// There is no such export.
    pub const UNKNOWN: u32 = (1 << 31) + 6;
    /// The server is about to end.
    pub const SHUTDOWN: u32 = (1 << 31) + 7;
    /// The option is too long.
    pub const TOO_BIG: u32 = (1 << 31) + 9;
}

/// Pieces of information about an export.
pub mod information {
    /// Its size and transmission flags.
    pub const EXPORT: u16 = 0;
    /// Its name.
    pub const NAME: u16 = 1;
    /// Its description.
    pub const DESCRIPTION: u16 = 2;
    /// Its block sizes.
    pub const BLOCK_SIZE: u16 = 3;
}

/// Commands of the transmission phase.
pub mod command {
    /// Read bytes.
    pub const READ: u16 = 0;
    /// Write the bytes that follow.
    pub const WRITE: u16 = 1;
    /// End the session.
    pub const DISCONNECT: u16 = 2;
    /// Bring completed writes to stable storage.
    pub const FLUSH: u16 = 3;
    /// Forget a range.
    pub const TRIM: u16 = 4;
    /// Prepare a range for reading.
    pub const CACHE: u16 = 5;
    /// Write zeroes.
    pub const WRITE_ZEROES: u16 = 6;
    /// Tell the allocation of a range.
    pub const BLOCK_STATUS: u16 = 7;
}

/// Flags of commands.
pub mod command_flag {
    /// Answer only when the write is on stable storage.
    pub const DURABLE: u16 = 1 << 0;
    /// Do not make a hole.
    pub const NO_HOLE: u16 = 1 << 1;
    /// Answer a read in one piece.
    pub const UNFRAGMENTED: u16 = 1 << 2;
    /// Answer with one extent.
    pub const ONE_EXTENT: u16 = 1 << 3;
    /// Fail rather than be slow.
    pub const FAST_ZERO: u16 = 1 << 4;
}

/// Flags of a structured reply's chunk.
pub mod chunk_flag {
    /// The request's last chunk.
    pub const DONE: u16 = 1 << 0;
}

/// Kinds of a structured reply's chunks.
pub mod chunk {
    /// Bytes that were read.
    pub const OFFSET_DATA: u16 = 1;
    /// A range that reads as zeroes.
    pub const OFFSET_HOLE: u16 = 2;
    /// Extents of a metadata context.
    pub const BLOCK_STATUS: u16 = 5;
    /// A failure.
    pub const ERROR: u16 = (1 << 15) + 1;
    /// A failure at a known offset.
    pub const ERROR_OFFSET: u16 = (1 << 15) + 2;
}

/// Flags of an extent of the allocation context.
pub mod allocation {
    /// No storage is allocated.
    pub const HOLE: u32 = 1 << 0;
    /// It reads as zeroes.
    pub const ZERO: u32 = 1 << 1;
}

/// Error numbers.
pub mod error_number {
    /// Not permitted.
    pub const NOT_PERMITTED: u32 = 1;
    /// Input or output failed.
    pub const INPUT_OUTPUT: u32 = 5;
    /// Out of memory.
    pub const OUT_OF_MEMORY: u32 = 12;
    /// Invalid.
    pub const INVALID: u32 = 22;
    /// No space left.
    pub const NO_SPACE: u32 = 28;
    /// Not supported.
    pub const NOT_SUPPORTED: u32 = 95;
    /// The server is about to end.
    pub const SHUTDOWN: u32 = 108;
}

/// Declares structures of the wire: packed, big-endian, copied bytewise.
macro_rules! wire {
    ($($(#[$note:meta])* $name:ident { $($(#[$field_note:meta])* $field:ident: $kind:ty,)+ })+) => {$(
        $(#[$note])*
        #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(C)]
        pub struct $name { $($(#[$field_note])* pub $field: $kind,)+ }
    )+};
}

wire! {
    /// What a server says first.
    Greeting {
        /// [`GREETING_MAGIC`].
        magic: U64,
        /// [`OPTION_MAGIC`].
        option_magic: U64,
        /// [`handshake_flag`].
        flags: U16,
    }
    /// Begins an option; its data follow.
    OptionHeader {
        /// [`OPTION_MAGIC`].
        magic: U64,
        /// [`option`].
        option: U32,
        /// The length of the data.
        length: U32,
    }
    /// Begins a reply to an option; its data follow.
    OptionReplyHeader {
        /// [`OPTION_REPLY_MAGIC`].
        magic: U64,
        /// The option that is answered.
        option: U32,
        /// [`option_reply`].
        kind: U32,
        /// The length of the data.
        length: U32,
    }
    /// The answer to [`option::EXPORT_NAME`], and the end of an [`information::EXPORT`].
    ExportSummary {
        /// The size in bytes.
        size: U64,
        /// [`transmission_flag`].
        flags: U16,
    }
    /// The end of an [`information::BLOCK_SIZE`].
    BlockSizeSummary {
        /// The smallest unit of requests.
        minimum: U32,
        /// The best unit of requests.
        preferred: U32,
        /// The most bytes a request may carry.
        maximum: U32,
    }
    /// A request; the bytes of a write follow.
    RequestHeader {
        /// [`REQUEST_MAGIC`].
        magic: U32,
        /// [`command_flag`].
        flags: U16,
        /// [`command`].
        command: U16,
        /// Names the request in replies.
        cookie: U64,
        /// Where in the export.
        offset: U64,
        /// How many bytes.
        length: U32,
    }
    /// A simple reply; the bytes of a read follow.
    SimpleReply {
        /// [`SIMPLE_REPLY_MAGIC`].
        magic: U32,
        /// [`error_number`], or 0.
        error: U32,
        /// The request's.
        cookie: U64,
    }
    /// Begins a chunk of a structured reply; its payload follows.
    ChunkHeader {
        /// [`STRUCTURED_REPLY_MAGIC`].
        magic: U32,
        /// [`chunk_flag`].
        flags: U16,
        /// [`chunk`].
        kind: U16,
        /// The request's.
        cookie: U64,
        /// The length of the payload.
        length: U32,
    }
    /// The payload of [`chunk::OFFSET_HOLE`].
    Hole {
        /// Where in the export.
        offset: U64,
        /// How many bytes.
        length: U32,
    }
    /// Begins the payload of [`chunk::ERROR`]; the message follows.
    ErrorHeader {
        /// [`error_number`].
        error: U32,
        /// The length of the message.
        length: U16,
    }
    /// One extent of [`chunk::BLOCK_STATUS`].
    ExtentDescriptor {
        /// How many bytes.
        length: U32,
        /// [`allocation`].
        flags: U32,
    }
}
