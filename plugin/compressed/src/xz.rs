//! .xz: blocks, which the indexes at the streams' ends list. A block of nothing but
//! LZMA2 that the host can decode whole is taken as it is; others are unpacked.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Codec, DigestKind, Error, Result, SourceHandle};
use lzma_rust2::{Action, Lzma2Stream, Status};
use sha2::{Digest, Sha256};

use crate::PIECE_LIMIT;
use crate::checksum::{CRC32, CRC64, Digest32, Digest64};
use crate::feed::Feed;
use crate::index_writer::IndexWriter;
use crate::piece::{Check, EncodedPiece, Piece};
use crate::survey::{STEP_DECODED, STEP_READS, Survey, cut};
use crate::unpack::Unpack;
use crate::xz_block::BlockHeader;
use crate::xz_stream::{CheckKind, HEADER, Record, Records, Stream, Streams};

/// The largest dictionary that is decoded here: it grows by doubling, so that twice as much
/// lies in memory at times.
const DICTIONARY_LIMIT: u64 = 24 << 20;
/// Decoded at once.
const OUTPUT: usize = 256 << 10;

/// A walk over the streams: backwards to find them, then over their blocks.
pub struct XzSurvey {
    main: SourceHandle,
    streams: Streams,
    found: bool,
    records: Option<(Records, CheckKind)>,
    /// Where the next block begins.
    position: u64,
    decode: Option<Box<Decode>>,
}

/// A block that is decoded here.
struct Decode {
    decoder: Lzma2Stream,
    feed: Feed,
    /// Where the check stands, and which it is.
    check: u64,
    kind: CheckKind,
    sums: Sums,
    unpack: Unpack,
    output: Vec<u8>,
    /// Still to be decoded.
    left: u64,
}

enum Sums {
    None,
    Crc32(Digest32),
    Crc64(Digest64),
    Sha256(Box<Sha256>),
}

impl XzSurvey {
    /// At the end of `main`.
    pub fn new(main: &SourceHandle) -> Self {
        let streams = Streams::new(main);
        Self { main: main.clone(), streams, found: false, records: None, position: 0, decode: None }
    }

    /// Takes the next block; true at the end.
    fn next(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let Some((records, check)) = &mut self.records else {
            let Some(stream) = self.streams.list.pop() else { return Ok(true) };
            self.begin(&stream, index)?;
            return Ok(false);
        };
        match records.next()? {
            Some(record) => {
                let check = *check;
                self.block(record, check, index)?;
            }
            None => self.records = None,
        }
        Ok(false)
    }

    fn begin(&mut self, stream: &Stream, index: &mut IndexWriter) -> Result<()> {
        index.summary.parts += 1;
        self.records = Some((Records::open(&self.main, stream)?, stream.check));
        self.position = stream.start + HEADER;
        Ok(())
    }

    fn block(&mut self, record: Record, kind: CheckKind, index: &mut IndexWriter) -> Result<()> {
        let start = self.position;
        // The streams were found by these sums, so they stay below the file's size.
        let end = start + record.unpadded;
        let padded = record.unpadded.saturating_add(3) & !3;
        self.position = start + padded;
        let mut feed = Feed::new(self.main.clone(), start, (start + 1024).min(end));
        let header = BlockHeader::read(&mut feed)?;
        let stored = record.unpadded.checked_sub(header.length + kind.length());
        let stored = stored.ok_or_else(|| {
            let what = alloc::format!(
                "expected a block of {} bytes, found its header longer",
                record.unpadded
            );
            Error::corrupt(start, what)
        })?;
        let offset = start + header.length;
        let check = start + padded - kind.length();
        let fits = stored.max(record.decoded) <= PIECE_LIMIT;
        if header.filters.is_empty() && fits {
            let piece = EncodedPiece {
                offset,
                stored: stored as u32,
                codec: Codec::Lzma2,
                check: stands_at(kind, check),
                entrance: None,
            };
            return index.push(record.decoded, Piece::Encoded(piece));
        }
        self.decode =
            Some(Box::new(self.decoder(&header, offset..offset + stored, check, kind)?));
        if let Some(decode) = &mut self.decode {
            decode.left = record.decoded;
        }
        Ok(())
    }

    fn decoder(
        &self,
        header: &BlockHeader,
        data: core::ops::Range<u64>,
        check: u64,
        kind: CheckKind,
    ) -> Result<Decode> {
        if header.dictionary > DICTIONARY_LIMIT {
            return Err(Error::Unsupported(alloc::format!(
                "an .xz block with a dictionary of {} MiB that is too long to be decoded whole; \
                 at most {} MiB are decoded: unpack it with xz -d, or compress it in shorter \
                 blocks with xz -T0 --block-size=16MiB",
                header.dictionary >> 20,
                DICTIONARY_LIMIT >> 20
            )));
        }
        let mut decoder = Lzma2Stream::new(header.dictionary as u32);
        let filtered = decoder.set_filters(&header.filters);
        filtered.map_err(|error| {
            Error::Unsupported(alloc::format!("the filters of an .xz block: {error:?}"))
        })?;
        let sums = match kind.0 {
            1 => Sums::Crc32(CRC32.digest()),
            4 => Sums::Crc64(CRC64.digest()),
            10 => Sums::Sha256(Box::new(Sha256::new())),
            _ => Sums::None,
        };
        let feed = Feed::new(self.main.clone(), data.start, data.end);
        let (unpack, output) = (Unpack::default(), vec![0; OUTPUT]);
        Ok(Decode { decoder, feed, check, kind, sums, unpack, output, left: 0 })
    }
}

/// The digest of a block that the host decodes.
fn stands_at(kind: CheckKind, offset: u64) -> Check {
    match kind.0 {
        1 => Check::At(DigestKind::Crc32, offset),
        4 => Check::At(DigestKind::Crc64, offset),
        10 => Check::At(DigestKind::Sha256, offset),
        _ => Check::None,
    }
}

impl Sums {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Sums::None => (),
            Sums::Crc32(digest) => digest.update(bytes),
            Sums::Crc64(digest) => digest.update(bytes),
            Sums::Sha256(digest) => digest.update(bytes),
        }
    }

    /// As it stands in the file; empty for none.
    fn finish(self) -> Vec<u8> {
        match self {
            Sums::None => Vec::new(),
            Sums::Crc32(digest) => digest.finalize().to_le_bytes().to_vec(),
            Sums::Crc64(digest) => digest.finalize().to_le_bytes().to_vec(),
            Sums::Sha256(digest) => digest.finalize().to_vec(),
        }
    }
}

impl Decode {
    /// Decodes some; true at the block's end.
    fn step(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let position = self.feed.position();
        let input = self.feed.some()?;
        let action = if input.is_empty() { Action::Finish } else { Action::Run };
        let result = self.decoder.process(input, &mut self.output, action).map_err(|error| {
            Error::corrupt(position, alloc::format!("expected a sound LZMA2 stream: {error:?}"))
        })?;
        let ended = input.is_empty();
        self.feed.consume(result.bytes_consumed);
        let decoded = self.output.get(..result.bytes_produced).unwrap_or_default();
        self.sums.update(decoded);
        self.unpack.push(index, decoded)?;
        let left = self.left.checked_sub(decoded.len() as u64);
        self.left = left.ok_or_else(|| {
            Error::corrupt(position, "expected a block as long as its index says, found more")
        })?;
        let done = result.status == Status::StreamEnd;
        if ended && decoded.is_empty() && !done {
            return Err(cut(position, "the rest of a block"));
        }
        Ok(done)
    }

    fn finish(mut self, main: &SourceHandle, index: &mut IndexWriter) -> Result<()> {
        if self.left > 0 {
            let what =
                alloc::format!("expected {} bytes more of a block, found its end", self.left);
            return Err(Error::corrupt(self.feed.position(), what));
        }
        self.unpack.write(index)?;
        let sum = self.sums.finish();
        if !sum.is_empty() && main.read(self.check, sum.len())? != sum {
            let what =
                alloc::format!("expected the {} of a block, found another", self.kind.name());
            return Err(Error::corrupt(self.check, what));
        }
        Ok(())
    }
}

impl Survey for XzSurvey {
    fn step(&mut self, index: &mut IndexWriter) -> Result<bool> {
        let (size, position) = (index.size(), self.position);
        for _ in 0..STEP_READS {
            if !self.found {
                self.found = self.streams.step()?;
                continue;
            }
            match self.decode.take() {
                None => {
                    if self.next(index)? {
                        return Ok(true);
                    }
                }
                Some(mut decode) => match decode.step(index)? {
                    true => decode.finish(&self.main, index)?,
                    false => self.decode = Some(decode),
                },
            }
            // LZMA decodes at a tenth of what others do.
            let read = self.position().saturating_sub(position);
            if self.decode.is_some() && (index.size() - size).max(8 * read) >= STEP_DECODED {
                break;
            }
        }
        Ok(false)
    }

    fn position(&self) -> u64 {
        self.decode.as_ref().map_or(self.position, |decode| decode.feed.position())
    }
}
