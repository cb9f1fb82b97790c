//! lzop: a header, and blocks that say how long they are, stored and decoded.

use fumehood_plugin::{Codec, DigestKind, Error, Result, SourceHandle};
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::PIECE_LIMIT;
use crate::checksum::CRC32;
use crate::feed::Feed;
use crate::index_writer::IndexWriter;
use crate::piece::{Check, EncodedPiece, Piece};
use crate::survey::{STEP_READS, Survey, cut};

/// First bytes of a file.
pub const MAGIC: &[u8] = b"\x89LZO\0\r\n\x1a\n";

const ADLER32_DECODED: u32 = 0x1;
const ADLER32_STORED: u32 = 0x2;
const EXTRA: u32 = 0x40;
const CRC32_DECODED: u32 = 0x100;
const CRC32_STORED: u32 = 0x200;
const MULTIPART: u32 = 0x400;
const FILTER: u32 = 0x800;
const HEADER_CRC32: u32 = 0x1000;

/// Said of archives.
const SEVERAL: &str = "an lzop archive of several files: unpack it with lzop -d";

/// From this version on there are fields for a level, a filter's version and long times.
const VERSION_0_94: u16 = 0x0940;

/// The header's first fields, behind the magic.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct First {
    version: U16,
    library: U16,
}

/// A walk over the blocks.
pub struct LzopSurvey {
    feed: Feed,
    flags: Option<u32>,
}

impl LzopSurvey {
    /// At the beginning of `main`.
    pub fn new(main: &SourceHandle) -> Self {
        Self { feed: Feed::new(main.clone(), 0, main.size()).narrow(), flags: None }
    }

    fn header(&mut self) -> Result<u32> {
        if self.feed.at_least(MAGIC.len())?.get(..MAGIC.len()) != Some(MAGIC) {
            return Err(Error::Unrecognised);
        }
        self.feed.consume(MAGIC.len());
        let start = self.feed.position();
        // Nothing of it is longer than a name of 255 bytes.
        let bytes = self.feed.at_least(512)?;
        let (length, method, flags) = parse(bytes).ok_or_else(|| cut(start, "an lzop header"))?;
        let fields = bytes.get(..length).unwrap_or_default();
        let sum = match flags & HEADER_CRC32 != 0 {
            true => CRC32.checksum(fields),
            false => adler2::adler32_slice(fields),
        };
        self.feed.consume(length);
        let stored = self.number("a header's checksum")?;
        if stored != sum {
            let what =
                alloc::format!("expected checksum {stored:08x} of a header, found {sum:08x}");
            return Err(Error::corrupt(start + length as u64, what));
        }
        let unsupported = match () {
            () if !(1..=3).contains(&method) => alloc::format!("an lzop file of method {method}"),
            () if flags & MULTIPART != 0 => SEVERAL.into(),
            () if flags & FILTER != 0 => "an lzop file that went through a filter".into(),
            () => return self.extra(flags),
        };
        Err(Error::Unsupported(unsupported))
    }

    /// Passes the extra field, if there is one.
    fn extra(&mut self, flags: u32) -> Result<u32> {
        if flags & EXTRA != 0 {
            let length = self.number("the length of an extra field")?;
            let end = self.feed.position() + u64::from(length) + 4;
            if u64::from(length) + 4 > self.feed.left() {
                return Err(cut(self.feed.position(), "an extra field"));
            }
            self.feed.seek(end);
        }
        Ok(flags)
    }

    /// Takes the next block; true at the end.
    fn block(&mut self, flags: u32, index: &mut IndexWriter) -> Result<bool> {
        let at = self.feed.position();
        let decoded = self.number("a block's length")?;
        if decoded == 0 {
            return self.end();
        }
        let stored = self.number("a block's stored length")?;
        if u64::from(decoded) > PIECE_LIMIT || stored > decoded || stored == 0 {
            let what =
                alloc::format!("expected a block, found one of {decoded} bytes, {stored} stored");
            return Err(Error::corrupt(at, what));
        }
        let mut check = Check::None;
        for (flag, kind) in
            [(ADLER32_DECODED, DigestKind::Adler32), (CRC32_DECODED, DigestKind::Crc32)]
        {
            if flags & flag != 0 {
                check = Check::Given(kind, self.number("a block's checksum")?);
            }
        }
        // A block that is not compressed has no second checksum.
        for flag in [ADLER32_STORED, CRC32_STORED] {
            if flags & flag != 0 && stored < decoded {
                self.number("a block's checksum")?;
            }
        }
        let offset = self.feed.position();
        if u64::from(stored) > self.feed.left() {
            return Err(cut(offset, "the rest of a block"));
        }
        let piece = match (stored == decoded, check) {
            (true, Check::None) => Piece::Stored(offset),
            (plain, check) => {
                let codec = if plain { Codec::Identity } else { Codec::Lzo };
                Piece::Encoded(EncodedPiece { offset, stored, codec, check, entrance: None })
            }
        };
        index.push(decoded.into(), piece)?;
        self.feed.seek(offset + u64::from(stored));
        Ok(false)
    }

    fn end(&mut self) -> Result<bool> {
        if self.feed.at_least(MAGIC.len())?.starts_with(MAGIC) {
            return Err(Error::Unsupported(SEVERAL.into()));
        }
        Ok(true)
    }

    fn number(&mut self, what: &str) -> Result<u32> {
        self.feed.take(what).map(u32::from_be_bytes)
    }
}

/// The header's length without its checksum, its method, and its flags.
fn parse(bytes: &[u8]) -> Option<(usize, u8, u32)> {
    let (first, rest) = First::read_from_prefix(bytes).ok()?;
    let new = first.version.get() >= VERSION_0_94;
    // The version needed to read it, and the level behind the method.
    let rest = rest.get(if new { 2 } else { 0 }..)?;
    let (method, rest) = u8::read_from_prefix(rest).ok()?;
    let rest = rest.get(usize::from(new)..)?;
    let (flags, rest) = U32::read_from_prefix(rest).ok()?;
    let flags = flags.get();
    let filter = if flags & FILTER != 0 { 4 } else { 0 };
    // Mode, and a time of 32 or 64 bits.
    let rest = rest.get(filter + if new { 12 } else { 8 }..)?;
    let (name, rest) = u8::read_from_prefix(rest).ok()?;
    let rest = rest.get(usize::from(name)..)?;
    Some((bytes.len() - rest.len(), method, flags))
}

impl Survey for LzopSurvey {
    fn step(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let flags = match self.flags {
            Some(flags) => flags,
            None => self.header()?,
        };
        if self.flags.is_none() {
            index.summary.parts += 1;
            self.flags = Some(flags);
        }
        for _ in 0..STEP_READS {
            if self.block(flags, index)? {
                index.summary.trailing += self.feed.left();
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn position(&self) -> u64 {
        self.feed.position()
    }
}
