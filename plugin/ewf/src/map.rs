//! The disk: from chunk numbers to extents. What the entries say is
//! [`crate::entries`]'s; what is wrong with the set as a whole [`crate::check`]'s.
//!
//! Source: libewf, "Expert Witness Compression Format", Data chunk; the same,
//! "Version 2", Sector data.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::READ_LIMIT;
use fumehood_plugin::{
    Codec, Content, Digest, DigestKind, DigestValue, Disk, Encoded, Error, Extent, Extents,
    Finding, Result, Stored,
};

use crate::check;
use crate::entries::Entries;
use crate::evidence::{Evidence, Segment};
use crate::media::{MOST_BLOCK, Method};
use crate::place::{ChunkPlace, Form};
use crate::sealed::SEAL;
use crate::table::Table;
use crate::unpack::unpacked_length;

/// Extents an answer has at most.
const MOST_EXTENTS: usize = 16384;
/// Chunks an answer looks at: like ones make one extent, and their tables are verified.
const MOST_CHUNKS: u64 = 1 << 20;
/// What a zlib stream may need beyond twice its chunk.
const SLACK: u32 = 64 << 10;

/// An opened disk of a set.
pub struct ChunkMap {
    evidence: Rc<Evidence>,
    entries: Entries,
    /// Decoded length of the last chunk, once it is known.
    tail: Option<u32>,
}

impl ChunkMap {
    /// The disk of `evidence`; reads nothing yet.
    pub fn new(evidence: Rc<Evidence>) -> Self {
        let entries = Entries::new(evidence.tables.len());
        Self { evidence, entries, tail: None }
    }

    /// Appends the chunks of one table from `number` on, up to `end` of the disk,
    /// and answers the number of the chunk behind them.
    fn push_table(
        &mut self,
        answer: &mut Extents,
        (index, table): (usize, &Table),
        mut number: u64,
        end: u64,
    ) -> Result<u64> {
        let evidence = Rc::clone(&self.evidence);
        let segment = evidence.segment_of(table)?;
        let chunk = u64::from(evidence.media.chunk);
        let stop = table.end().min(end.div_ceil(chunk));
        while number < stop && answer.len() < MOST_EXTENTS {
            let entry = u32::try_from(number - table.first).map_err(|_| Error::OutOfRange)?;
            let Some(page) = self.entries.page(&evidence, (index, table), entry)? else {
                let last = table.end().saturating_mul(chunk).min(evidence.media.size);
                let at = number * chunk;
                answer.push(at, last - at, Content::Damaged(distrust(table, segment)));
                return Ok(table.end());
            };
            let mut at = entry;
            while number < stop
                && answer.len() < MOST_EXTENTS
                && let Some(place) = page.place(at)
            {
                let tail = &mut self.tail;
                let content = content(&evidence, segment, number, place, tail);
                answer.push(number * chunk, u64::from(evidence.media.length_of(number)), content);
                number += 1;
                at = at.saturating_add(1);
            }
        }
        Ok(number)
    }

    /// The bytes that fill chunk `number`, which is said to be computed.
    fn fill(&mut self, evidence: &Evidence, number: u64) -> Result<[u8; 8]> {
        let (index, table) = evidence.table_of(number).ok_or(Error::OutOfRange)?;
        let entry = u32::try_from(number - table.first).map_err(|_| Error::OutOfRange)?;
        let page = self.entries.page(evidence, (index, table), entry)?;
        match page.and_then(|page| page.place(entry)) {
            Some(ChunkPlace::Fill(pattern)) => Ok(pattern),
            _ => Err(Error::OutOfRange),
        }
    }
}

impl Disk for ChunkMap {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let evidence = Rc::clone(&self.evidence);
        let (size, chunk) = (evidence.media.size, u64::from(evidence.media.chunk));
        if offset >= size {
            return Err(Error::OutOfRange);
        }
        let mut number = offset / chunk;
        let most = number.saturating_add(MOST_CHUNKS).saturating_mul(chunk).min(size);
        let end = offset.saturating_add(length.max(1)).min(most);
        let mut answer = Extents::new();
        while number.saturating_mul(chunk) < end && answer.len() < MOST_EXTENTS {
            let Some(table) = evidence.table_of(number) else {
                let at = number * chunk;
                let (next, why) = evidence.lacking(number);
                let stop = next.map_or(size, |next| next.saturating_mul(chunk).min(size));
                answer.push(at, stop - at, Content::Damaged(why.into()));
                let Some(next) = next else { break };
                number = next;
                continue;
            };
            number = self.push_table(&mut answer, table, number, end)?;
        }
        Ok(answer.finish())
    }

    fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let evidence = Rc::clone(&self.evidence);
        let end = offset.checked_add(length as u64).filter(|end| *end <= evidence.media.size);
        let end = end.filter(|_| length as u64 <= READ_LIMIT).ok_or(Error::OutOfRange)?;
        let chunk = u64::from(evidence.media.chunk);
        let mut bytes = Vec::with_capacity(length);
        let mut at = offset;
        while at < end {
            let number = at / chunk;
            let pattern = self.fill(&evidence, number)?;
            let stop = number.saturating_add(1).saturating_mul(chunk).min(end);
            // Chunks are whole patterns.
            let skip = (at % pattern.len() as u64) as usize;
            bytes.extend(pattern.iter().cycle().skip(skip).take((stop - at) as usize));
            at = stop;
        }
        Ok(bytes)
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        let evidence = Rc::clone(&self.evidence);
        check::check(&evidence, self)
    }
}

fn distrust(table: &Table, segment: &Segment) -> String {
    match table.copies.iter().flatten().next() {
        Some(copy) => format!(
            "the table with entries at {} of {} and its mirror fail their checksums",
            copy.entries, segment.name
        ),
        None => format!(
            "the table of chunk {} in {} and its mirror fail their checksums",
            table.first, segment.name
        ),
    }
}

fn content(
    evidence: &Evidence,
    segment: &Segment,
    number: u64,
    place: ChunkPlace,
    tail: &mut Option<u32>,
) -> Content {
    let (start, end, form) = match place {
        ChunkPlace::Held { start, end, form } => (start, end, form),
        ChunkPlace::Fill(pattern) if pattern == [0; 8] => return Content::Zero,
        ChunkPlace::Fill(_) => return Content::Computed,
        ChunkPlace::Unknown(flags) => {
            let known = "expected those of compression, checksum and pattern only";
            return Content::Damaged(format!("chunk {number} has flags {flags:#x}, {known}"));
        }
    };
    if start >= segment.size {
        return Content::Damaged(format!(
            "chunk {number} begins at {start} of {}, which ends at {}",
            segment.name, segment.size
        ));
    }
    let room = end.min(segment.size) - start;
    match form {
        _ if evidence.media.is_original() => packed(evidence, segment, number, (start, room), tail),
        Form::Compressed => packed(evidence, segment, number, (start, room), tail),
        Form::Sealed | Form::Plain => {
            unpacked(evidence, segment, number, (start, room), form == Form::Sealed)
        }
    }
}

/// A compressed chunk, in `room` bytes or fewer.
fn packed(
    evidence: &Evidence,
    segment: &Segment,
    number: u64,
    (start, room): (u64, u64),
    tail: &mut Option<u32>,
) -> Content {
    let codec = match evidence.media.method {
        Method::Zlib => Codec::Zlib,
        Method::Bzip2 => Codec::Bzip2,
        Method::None => {
            return Content::Damaged(format!(
                "chunk {number} at {start} of {} is compressed, in a set that is not",
                segment.name
            ));
        }
    };
    let chunk = evidence.media.chunk;
    let wanted = evidence.media.length_of(number);
    let most = chunk.saturating_mul(2).saturating_add(SLACK).min(MOST_BLOCK);
    let stored = u32::try_from(room).map_or(most, |room| room.min(most));
    // Only the last chunk can be cut, and some writers store it whole.
    let decoded = if wanted == chunk {
        chunk
    } else {
        let length = || tail_length(evidence, segment, start, u64::from(stored)).unwrap_or(wanted);
        *tail.get_or_insert_with(|| length().max(wanted))
    };
    // The stream ends in a checksum of its own.
    Content::Encoded(Encoded::new(segment.id, start, stored, codec, decoded))
}

/// A chunk that is stored as it is, in `room` bytes or fewer; if `sealed`, with its
/// checksum behind it.
fn unpacked(
    evidence: &Evidence,
    segment: &Segment,
    number: u64,
    (start, room): (u64, u64),
    sealed: bool,
) -> Content {
    let chunk = evidence.media.chunk;
    let wanted = evidence.media.length_of(number);
    let held = if sealed { room.saturating_sub(SEAL) } else { room };
    if held < u64::from(wanted) {
        return Content::Damaged(format!(
            "raw chunk {number} at {start} of {} has room for {held} bytes, expected {wanted}",
            segment.name
        ));
    }
    if !sealed {
        return Content::Stored(Stored { source: segment.id, offset: start, writable: false });
    }
    let whole = u32::try_from(held).ok().filter(|held| *held <= chunk);
    raw(segment, start, if wanted == chunk { chunk } else { whole.unwrap_or(wanted) })
}

/// What the last chunk's stream yields. Where that cannot be told whoever reads it will
/// see what is wrong.
fn tail_length(evidence: &Evidence, segment: &Segment, start: u64, stored: u64) -> Option<u32> {
    let (method, limit) = (evidence.media.method, u64::from(evidence.media.chunk));
    let length = unpacked_length(&*segment.source, start, stored, method, limit).ok()?;
    u32::try_from(length).ok()
}

fn raw(segment: &Segment, offset: u64, length: u32) -> Content {
    Content::Encoded(Encoded {
        digest: Some(Digest {
            kind: DigestKind::Adler32,
            value: DigestValue::Follows,
            over_decoded: true,
        }),
        ..Encoded::new(segment.id, offset, length, Codec::Identity, length)
    })
}
