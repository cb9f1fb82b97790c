//! Streams of the .xz format, found from the end backwards: footer, index, header
//! (its sections 2 and 4).

use alloc::vec::Vec;

use fumehood_plugin::read::{read_bytes, read_struct};
use fumehood_plugin::{Error, Result, Source, SourceHandle};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::{CRC32, Digest32};
use crate::feed::Feed;
use crate::kind::XZ_MAGIC;
use crate::varint::variable;

/// Length of a stream's header, and of its footer.
pub const HEADER: u64 = 12;
/// The most streams; each takes some memory.
const STREAMS_LIMIT: usize = 100_000;
/// The longest index of a stream, in bytes: some ten million blocks. It is read in one
/// step.
const INDEX_LIMIT: u64 = 64 << 20;
const FOOTER_MAGIC: [u8; 2] = *b"YZ";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 6],
    flags: [u8; 2],
    checksum: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Footer {
    checksum: U32,
    /// Length of the index in units of four bytes, less one.
    backward: U32,
    flags: [u8; 2],
    magic: [u8; 2],
}

/// Which check stands behind each block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckKind(pub u8);

impl CheckKind {
    /// Its length in bytes.
    pub fn length(self) -> u64 {
        const LENGTHS: [u8; 16] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
        LENGTHS.get(usize::from(self.0)).copied().unwrap_or_default().into()
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "none",
            1 => "CRC-32",
            4 => "CRC-64",
            10 => "SHA-256",
            _ => "unknown",
        }
    }
}

/// A stream: where it begins, and where its index lies.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    pub start: u64,
    /// Where the blocks end and the index begins.
    pub index: u64,
    pub index_length: u64,
    pub check: CheckKind,
}

/// The index of a stream, read from front to back.
pub struct Records {
    feed: Feed,
    digest: Digest32,
    pub left: u64,
}

/// A block, as the index says it.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Length without padding.
    pub unpadded: u64,
    /// Length when decoded.
    pub decoded: u64,
}

/// The streams, last first, as they are found.
pub struct Streams {
    main: SourceHandle,
    pub list: Vec<Stream>,
    /// Where the part ends that is not looked at yet.
    end: u64,
}

impl Streams {
    /// None found yet in `main`.
    pub fn new(main: &SourceHandle) -> Self {
        Self { main: main.clone(), list: Vec::new(), end: main.size() }
    }

    /// Finds the next stream; true when there is none left.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a stream's parts do not fit together.
    pub fn step(&mut self) -> Result<bool> {
        if self.end == 0 && !self.list.is_empty() {
            return Ok(true);
        }
        self.end = before_padding(&*self.main, self.end)?;
        if self.list.len() >= STREAMS_LIMIT {
            let what = alloc::format!("a file of more than {STREAMS_LIMIT} streams");
            return Err(Error::Unsupported(what));
        }
        let stream = find(&self.main, self.end)?;
        self.end = stream.start;
        self.list.push(stream);
        Ok(self.end == 0)
    }
}

/// Padding between streams: zeroes, in units of four bytes.
fn before_padding(source: &dyn Source, mut end: u64) -> Result<u64> {
    while end >= 4 {
        let length = end.min(64 << 10) & !3;
        let bytes = read_bytes(source, end - length, length, "stream padding")?;
        let units = bytes.rchunks_exact(4).take_while(|unit| **unit == [0; 4]).count() as u64;
        end -= units * 4;
        if units * 4 < length {
            break;
        }
    }
    Ok(end)
}

/// The stream that ends at `end`.
fn find(main: &SourceHandle, end: u64) -> Result<Stream> {
    let footer_at = end.checked_sub(HEADER).ok_or_else(|| no_stream(end))?;
    let footer: Footer = read_struct(&**main, footer_at, "stream footer")?;
    let sum = CRC32.checksum(footer.as_bytes().get(4..10).unwrap_or_default());
    if footer.magic != FOOTER_MAGIC || footer.checksum.get() != sum {
        return Err(no_stream(footer_at));
    }
    let check = flags(footer.flags, footer_at + 8)?;
    let index_length = (u64::from(footer.backward.get()) + 1) * 4;
    if index_length > INDEX_LIMIT {
        let what = alloc::format!("an .xz stream with an index of {index_length} bytes");
        return Err(Error::Unsupported(what));
    }
    let index = footer_at.checked_sub(index_length).ok_or_else(|| no_stream(footer_at + 4))?;
    // The blocks' lengths say where the stream begins.
    let stream = Stream { start: 0, index, index_length, check };
    let mut records = Records::open(main, &stream)?;
    let mut length = HEADER;
    while let Some(record) = records.next()? {
        length = length.saturating_add(record.unpadded.saturating_add(3) & !3);
    }
    let start = index.checked_sub(length).ok_or_else(|| {
        let what = alloc::format!("expected blocks of less than {index} bytes, found {length}");
        Error::corrupt(index, what)
    })?;
    let header: Header = read_struct(&**main, start, "stream header")?;
    let sum = CRC32.checksum(&header.flags);
    if header.magic != XZ_MAGIC || header.checksum.get() != sum || header.flags != footer.flags {
        let what = "expected the header of a stream, as the index behind it says";
        return Err(Error::corrupt(start, what));
    }
    Ok(Stream { start, ..stream })
}

fn no_stream(position: u64) -> Error {
    let what = "expected the end of an .xz stream, found none: the file may be cut";
    Error::corrupt(position, what)
}

fn flags(flags: [u8; 2], position: u64) -> Result<CheckKind> {
    match flags {
        [0, kind @ 0..16] => Ok(CheckKind(kind)),
        [first, second] => {
            let what = alloc::format!("stream flags {first:#04x} {second:#04x}, not 0 and a check");
            Err(Error::corrupt(position, what))
        }
    }
}

impl Records {
    /// The index of `stream`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where none begins there.
    pub fn open(main: &SourceHandle, stream: &Stream) -> Result<Self> {
        let end = stream.index + stream.index_length;
        let feed = Feed::new(main.clone(), stream.index, end);
        let mut records = Self { feed, digest: CRC32.digest(), left: 0 };
        let indicator: [u8; 1] = records.feed.take("an index")?;
        records.digest.update(&indicator);
        if indicator != [0] {
            return Err(Error::corrupt(stream.index, "expected an index, found a block"));
        }
        records.left = records.number()?;
        // A record has two bytes at least.
        if records.left > stream.index_length / 2 {
            let what = alloc::format!(
                "expected an index of {} bytes, found {} records",
                stream.index_length,
                records.left
            );
            return Err(Error::corrupt(stream.index, what));
        }
        Ok(records)
    }

    /// The next record; none at the end, whose checksum is then compared.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a broken index.
    pub fn next(&mut self) -> Result<Option<Record>> {
        if self.left == 0 {
            return self.end().map(|()| None);
        }
        self.left -= 1;
        let at = self.feed.position();
        let (unpadded, decoded) = (self.number()?, self.number()?);
        if unpadded < 5 {
            let what = alloc::format!("expected a block, found one of {unpadded} bytes");
            return Err(Error::corrupt(at, what));
        }
        Ok(Some(Record { unpadded, decoded }))
    }

    fn number(&mut self) -> Result<u64> {
        let at = self.feed.position();
        let bytes = self.feed.at_least(9)?;
        let Some((value, length)) = variable(bytes) else {
            return Err(Error::corrupt(at, "expected a number in an index, found none that ends"));
        };
        self.digest.update(bytes.get(..length).unwrap_or_default());
        self.feed.consume(length);
        Ok(value)
    }

    fn end(&mut self) -> Result<()> {
        let padding = (self.feed.left() % 4) as usize;
        let at = self.feed.position();
        let bytes = self.feed.peek(padding, "the padding of an index")?;
        let clean = bytes.iter().all(|byte| *byte == 0);
        self.digest.update(bytes);
        self.feed.consume(padding);
        let sum = self.digest.clone().finalize();
        let stored = self.feed.take_u32("the checksum of an index")?;
        if !clean || stored != sum || !self.feed.is_empty() {
            let what = alloc::format!("expected CRC-32 {stored:08x} of an index, found {sum:08x}");
            return Err(Error::corrupt(at, what));
        }
        Ok(())
    }
}
