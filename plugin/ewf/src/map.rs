//! The disk: from chunk numbers to extents. What the entries say is
//! [`crate::entries`]'s; what is wrong with the set as a whole [`crate::check`]'s.
//!
//! Source: libewf, "Expert Witness Compression Format", Data chunk.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{
    Codec, Content, Digest, DigestKind, DigestValue, Disk, Encoded, Error, Extent, Extents,
    Finding, Result,
};

use crate::check;
use crate::entries::{ChunkPlace, Entries};
use crate::evidence::{Evidence, Segment};
use crate::inflate::inflated_length;
use crate::sealed::SEAL;
use crate::table::Table;

/// Extents an answer has at most.
const MOST_EXTENTS: usize = 16384;
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
}

impl Disk for ChunkMap {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let evidence = Rc::clone(&self.evidence);
        let (size, chunk) = (evidence.media.size, u64::from(evidence.media.chunk));
        if offset >= size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(size);
        let mut answer = Extents::new();
        let mut number = offset / chunk;
        while number.saturating_mul(chunk) < end && answer.len() < MOST_EXTENTS {
            let Some(table) = evidence.table_of(number) else {
                // Tables are consecutive: behind the last one there is nothing.
                let at = number * chunk;
                answer.push(at, size - at, Content::Damaged(evidence.absence.clone()));
                break;
            };
            number = self.push_table(&mut answer, table, number, end)?;
        }
        Ok(answer.finish())
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
    if place.start >= segment.size {
        return Content::Damaged(format!(
            "chunk {number} begins at {} of {}, which ends at {}",
            place.start, segment.name, segment.size
        ));
    }
    let room = place.end.min(segment.size) - place.start;
    let chunk = evidence.media.chunk;
    let wanted = evidence.media.length_of(number);
    if place.compressed || evidence.media.is_original() {
        let most = chunk.saturating_mul(2).saturating_add(SLACK);
        let stored = u32::try_from(room).map_or(most, |room| room.min(most));
        // Only the last chunk can be cut, and some writers store it whole.
        let decoded = if wanted == chunk {
            chunk
        } else {
            *tail.get_or_insert_with(|| tail_length(segment, place.start, stored, wanted, chunk))
        };
        return zlib(segment, place.start, stored, decoded);
    }
    let held = room.saturating_sub(SEAL);
    if held < u64::from(wanted) {
        return Content::Damaged(format!(
            "raw chunk {number} at {} of {} has room for {held} bytes, expected {wanted}",
            place.start, segment.name
        ));
    }
    let whole = u32::try_from(held).ok().filter(|held| *held <= chunk);
    raw(segment, place.start, if wanted == chunk { chunk } else { whole.unwrap_or(wanted) })
}

/// What the last chunk's stream yields. Where that cannot be told it is what the
/// media needs of it, and whoever reads it will see what is wrong.
fn tail_length(segment: &Segment, start: u64, stored: u32, wanted: u32, chunk: u32) -> u32 {
    inflated_length(&*segment.source, start, u64::from(stored), u64::from(chunk))
        .ok()
        .and_then(|length| u32::try_from(length).ok())
        .filter(|length| *length >= wanted)
        .unwrap_or(wanted)
}

fn zlib(segment: &Segment, offset: u64, stored_length: u32, decoded_length: u32) -> Content {
    // The stream ends in its own Adler-32.
    Content::Encoded(Encoded::new(segment.id, offset, stored_length, Codec::Zlib, decoded_length))
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
