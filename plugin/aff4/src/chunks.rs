//! Where the chunks of a stream lie: the indexes of its segments, of which a few windows
//! are kept. What a chunk decodes to is [`crate::content`]'s.
//!
//! Source: AFF4 Standard v1.0a, sections 3 and 6.2; the older index, which lists ends of
//! chunks (or beginnings, where the first is 0), as in the pre-standard reference images.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::read::{parse_struct, read_bytes};
use fumehood_plugin::{DigestKind, Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::evidence::Evidence;
use crate::segments::Members;
use crate::stream::Stream;
use crate::zip::{Member, Method, contents, contents_offset};

/// Chunks a window.
const WINDOW: u64 = 2048;
/// Windows kept: some 2 MiB.
const KEPT: usize = 24;
/// Bytes of an index that has to be inflated, or is of the older kind.
const MOST_INDEX: u64 = 1 << 20;

/// An entry of an index.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct IndexEntry {
    offset: U64,
    length: U32,
}

const ENTRY: u64 = size_of::<IndexEntry>() as u64;

/// A chunk in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Offset in the volume's source.
    pub offset: u64,
    /// Stored bytes.
    pub length: u32,
    /// Over what it decodes to.
    pub digest: Option<(DigestKind, Vec<u8>)>,
}

/// What is known of a chunk.
pub enum Found {
    /// Where it lies.
    Chunk(Chunk),
    /// Why nothing can be read.
    Damaged(String),
    /// No segment is there for this and the chunks up to that number.
    Missing(u64),
}

/// Chunks of one segment.
struct Window {
    /// Stream, segment, and number of the window in it.
    key: (usize, u64, u64),
    state: core::result::Result<Chunks, String>,
}

/// The chunks of a window that can be read.
struct Chunks {
    /// Where the segment's chunks begin and end in the source.
    start: u64,
    end: u64,
    /// Offset in the segment, and stored bytes.
    entries: Vec<(u64, u32)>,
    /// One digest behind the other.
    hashes: Option<(DigestKind, Vec<u8>)>,
}

/// The windows of one opened disk.
#[derive(Default)]
pub struct Windows {
    /// The one used last stands first.
    windows: Vec<Window>,
}

impl Windows {
    /// The chunk `number` of the stream at `place` of the plan.
    ///
    /// # Errors
    /// What the sources answer; what is wrong with the image is damaged instead.
    pub fn find(&mut self, evidence: &Evidence, place: usize, number: u64) -> Result<Found> {
        let stream = evidence.plan.streams.get(place).ok_or(Error::OutOfRange)?;
        let (segment, inner) = (number / stream.per_segment, number % stream.per_segment);
        let key = (place, segment, inner / WINDOW);
        match self.windows.iter().position(|window| window.key == key) {
            Some(kept) => self.windows.get_mut(..=kept).unwrap_or_default().rotate_right(1),
            None => {
                let number = (segment < stream.listed).then_some(stream.first + segment);
                let members = number.map(|number| evidence.segments.borrow_mut().get(number));
                let Some(members) = members.transpose()?.flatten() else {
                    return Ok(Found::Missing(missing_until(evidence, stream, segment)));
                };
                let source = &*evidence.volume(stream.volume)?.source;
                let state = match Chunks::read(source, &members, inner / WINDOW * WINDOW) {
                    Ok(chunks) => Ok(chunks),
                    Err(Error::Corrupt { offset, what, .. }) => Err(format!("at {offset}: {what}")),
                    Err(Error::Unsupported(what)) => Err(what),
                    Err(error) => return Err(error),
                };
                self.windows.truncate(KEPT - 1);
                self.windows.insert(0, Window { key, state });
            }
        }
        let chunks = self.windows.first().map(|window| &window.state);
        Ok(match chunks {
            Some(Ok(chunks)) => chunks.find(inner % WINDOW, number),
            Some(Err(what)) => Found::Damaged(format!("segment {segment}: {what}")),
            None => Found::Damaged(String::new()),
        })
    }
}

/// The chunk at which the next segment begins that is there.
fn missing_until(evidence: &Evidence, stream: &Stream, segment: u64) -> u64 {
    let behind = stream.first.saturating_add(segment).saturating_add(1);
    let next = evidence.segments.borrow().skip_missing(behind).saturating_sub(stream.first);
    let next = if next < stream.listed { next } else { stream.segments() };
    next.saturating_mul(stream.per_segment)
}

impl Chunks {
    fn read(source: &dyn Source, members: &Members, first: u64) -> Result<Self> {
        let start = contents_offset(source, &members.chunks)?;
        let end = start + members.chunks.size;
        let Some((index, old)) = members.index else {
            let what = "its index is missing".to_string();
            return Err(Error::corrupt_in(source.id(), start, what));
        };
        let entries = if old {
            old_entries(source, &index, first, members.chunks.size)?
        } else {
            entries(source, &index, first)?
        };
        let hashes = match members.hashes {
            Some((member, kind)) => {
                let length = length_of(kind);
                Some((kind, part(source, &member, first * length, WINDOW * length)?))
            }
            None => None,
        };
        Ok(Self { start, end, entries, hashes })
    }

    fn find(&self, place: u64, number: u64) -> Found {
        let place = place as usize;
        let Some((offset, length)) = self.entries.get(place).copied() else {
            return Found::Damaged(format!("chunk {number} is not in the index of its segment"));
        };
        let start = self.start.saturating_add(offset);
        let end = start.saturating_add(length.into());
        if length == 0 || end > self.end {
            return Found::Damaged(format!(
                "chunk {number} has {length} bytes at {offset} of its segment, which has {}",
                self.end - self.start
            ));
        }
        let digest = self.hashes.as_ref().and_then(|(kind, hashes)| {
            let length = length_of(*kind) as usize;
            let digest = hashes.get(place.checked_mul(length)?..)?.get(..length)?;
            Some((*kind, digest.to_vec()))
        });
        Found::Chunk(Chunk { offset: start, length, digest })
    }
}

/// The bytes of a member from `from` on, at most `length`; none past its end.
fn part(source: &dyn Source, member: &Member, from: u64, length: u64) -> Result<Vec<u8>> {
    if member.method == Method::Deflated {
        let all = contents(source, member, MOST_INDEX, "index of a segment")?;
        let rest = all.get(from as usize..).unwrap_or_default();
        return Ok(rest.get(..length as usize).unwrap_or(rest).to_vec());
    }
    let offset = contents_offset(source, member)?;
    let length = length.min(member.stored.saturating_sub(from));
    read_bytes(source, offset.saturating_add(from), length, "index of a segment")
}

fn entries(source: &dyn Source, index: &Member, first: u64) -> Result<Vec<(u64, u32)>> {
    let bytes = part(source, index, first * ENTRY, WINDOW * ENTRY)?;
    let entries = bytes.chunks_exact(size_of::<IndexEntry>()).map(|raw| {
        let entry: IndexEntry = parse_struct(raw, source.id(), index.header, "index entry")?;
        Ok((entry.offset.get(), entry.length.get()))
    });
    entries.collect()
}

/// The same from an index of the older kind, for a segment of `size` bytes.
fn old_entries(
    source: &dyn Source,
    index: &Member,
    first: u64,
    size: u64,
) -> Result<Vec<(u64, u32)>> {
    let bytes = contents(source, index, MOST_INDEX, "index of a segment")?;
    let (words, _) = bytes.as_chunks::<4>();
    let words = words.iter().map(|word| u64::from(u32::from_le_bytes(*word)));
    let mut bounds: Vec<u64> = words.collect();
    if bounds.first() == Some(&0) {
        bounds.push(size);
    } else {
        bounds.insert(0, 0);
    }
    let pairs = bounds.iter().zip(bounds.iter().skip(1)).skip(first as usize);
    let entry = |(start, end): (&u64, &u64)| {
        (*start, end.checked_sub(*start).and_then(|length| u32::try_from(length).ok()).unwrap_or(0))
    };
    Ok(pairs.take(WINDOW as usize).map(entry).collect())
}

/// Bytes of a digest.
fn length_of(kind: DigestKind) -> u64 {
    match kind {
        DigestKind::Md5 => 16,
        DigestKind::Sha1 => 20,
        _ => 32,
    }
}
