//! gzip: members, one behind the other (RFC 1952). Members that tell their length (BGZF)
//! are taken as they are; the others are inflated, to find where they can be entered.

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Codec, DigestKind, Error, Result, SourceHandle};
use zerocopy::little_endian::U32;

use crate::feed::Feed;
use crate::gzip_header::{GzipHeader, TRAILER, Trailer};
use crate::index_writer::IndexWriter;
use crate::inflate::Inflate;
use crate::piece::{Check, EncodedPiece, Piece};
use crate::survey::{STEP_DECODED, STEP_READS, Survey};
use crate::unpack::is_zero;

/// The most that a BGZF block decodes to.
const BLOCK_LIMIT: u32 = 64 << 10;

/// A walk over the members.
pub struct GzipSurvey {
    main: SourceHandle,
    feed: Feed,
    member: Option<Inflate>,
    interval: u64,
    done: bool,
}

impl GzipSurvey {
    /// At the beginning of `main`.
    pub fn new(main: &SourceHandle) -> Self {
        let size = main.size();
        // Windows then stay below a gigabyte, and entering costs little.
        let interval = (size / 4096).next_power_of_two().clamp(1 << 20, 16 << 20);
        let feed = Feed::new(main.clone(), 0, size);
        Self { main: main.clone(), feed, member: None, interval, done: false }
    }

    /// Begins the next member, or passes it whole.
    fn begin(&mut self, index: &mut IndexWriter) -> Result<()> {
        let first = index.summary.parts == 0;
        let start = self.feed.position();
        let Some(header) = GzipHeader::read(&mut self.feed)? else {
            if first {
                return Err(Error::Unrecognised);
            }
            return self.trail(index);
        };
        index.summary.parts += 1;
        let data = start + header.length;
        if let Some(end) = header.member.and_then(|length| start.checked_add(length))
            && let Some(trailer_at) = end.checked_sub(TRAILER).filter(|at| *at > data)
        {
            return self.block(data, trailer_at, index);
        }
        self.feed.seek(data);
        self.member = Some(Inflate::new(data, self.interval));
        Ok(())
    }

    /// A member between `data` and its trailer, whose length is known.
    fn block(&mut self, data: u64, trailer_at: u64, index: &mut IndexWriter) -> Result<()> {
        let trailer: Trailer = read_struct(&*self.main, trailer_at, "a block's trailer")?;
        let size = trailer.size.get();
        if size > BLOCK_LIMIT {
            let what =
                alloc::format!("expected a block of at most {BLOCK_LIMIT} bytes, found {size}");
            return Err(Error::corrupt(trailer_at + 4, what));
        }
        let piece = EncodedPiece {
            offset: data,
            stored: (trailer_at - data) as u32,
            codec: Codec::Deflate,
            check: Check::Given(DigestKind::Crc32, trailer.crc.get()),
            entrance: None,
        };
        index.push(size.into(), Piece::Encoded(piece))?;
        self.feed.seek(trailer_at + TRAILER);
        self.done = self.feed.is_empty();
        Ok(())
    }

    /// Compares a member that was inflated with its trailer.
    fn end(&mut self, member: &Inflate, index: &mut IndexWriter) -> Result<()> {
        let at = self.feed.position();
        let (crc, length) = member.sums();
        let stored = self.feed.take_u32("a member's checksum")?;
        if stored != crc {
            let what = alloc::format!("expected CRC-32 {stored:08x} of a member, found {crc:08x}");
            return Err(Error::corrupt(at, what));
        }
        let stored = self.feed.take_u32("a member's length")?;
        if stored != length as u32 {
            let what =
                alloc::format!("expected {stored} bytes (modulo 2^32) of a member, found {length}");
            return Err(Error::corrupt(at + 4, what));
        }
        let summary = &mut index.summary;
        (summary.crc, summary.has_crc) = (U32::new(crc), U32::new((summary.parts == 1).into()));
        self.done = self.feed.is_empty();
        Ok(())
    }

    /// What is no member: zeroes fill the last block of a tape, and all else is noise.
    fn trail(&mut self, index: &mut IndexWriter) -> Result<()> {
        let left = self.feed.left();
        let rest = self.feed.some()?;
        if !is_zero(rest) {
            index.summary.trailing += left;
            self.done = true;
            return Ok(());
        }
        let length = rest.len();
        self.feed.consume(length);
        self.done = self.feed.is_empty();
        Ok(())
    }
}

impl Survey for GzipSurvey {
    fn step(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let (size, position) = (index.size(), self.feed.position());
        let mut reads = 0;
        while !self.done && reads < STEP_READS {
            match self.member.take() {
                None => {
                    self.begin(index)?;
                    reads += 1;
                }
                Some(mut member) => match member.step(&mut self.feed, index)? {
                    true => self.end(&member, index)?,
                    false => self.member = Some(member),
                },
            }
            let decoded = self.member.as_ref().map_or(0, Inflate::since) + index.size() - size;
            let read = self.feed.position().saturating_sub(position);
            if decoded.max(2 * read) >= STEP_DECODED && self.member.is_some() {
                break;
            }
        }
        if self.done && index.summary.parts > 1 {
            index.summary.has_crc = U32::ZERO;
        }
        Ok(self.done)
    }

    fn position(&self) -> u64 {
        self.feed.position()
    }
}
