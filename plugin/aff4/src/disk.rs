//! A disk: from its offsets through the map to chunks and symbols.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::READ_LIMIT;
use fumehood_plugin::{Content, Disk, Error, Extent, Extents, Finding, Result};

use crate::check;
use crate::chunks::{Found, Windows};
use crate::content::{Habits, content};
use crate::evidence::Evidence;
use crate::map::{Entry, Pages};
use crate::plan::{Data, DiskPlan, Target};
use crate::symbol::Symbol;
use crate::text::shown;

/// Extents an answer has at most.
const MOST_EXTENTS: usize = 16384;
/// Pieces and chunks that are looked up for an answer, as many of them may be one extent.
const MOST_STEPS: u32 = 65536;

/// A range of the disk, and what it shows.
pub struct Piece {
    /// Where it begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// What it shows.
    pub target: Target,
    /// From where on.
    pub position: u64,
    /// The number of the first entry of the map behind it.
    next: u64,
}

/// An opened disk.
pub struct AffDisk {
    evidence: Rc<Evidence>,
    data: Data,
    size: u64,
    pages: Pages,
    windows: Windows,
    /// By stream.
    habits: Vec<Habits>,
}

impl AffDisk {
    /// The disk that `plan` describes.
    ///
    /// # Errors
    /// What the source answers.
    pub fn new(evidence: Rc<Evidence>, plan: &DiskPlan) -> Result<Self> {
        let size = evidence.size(plan)?;
        let habits = vec![Habits::default(); evidence.plan.streams.len()];
        let (pages, windows) = (Pages::default(), Windows::default());
        Ok(Self { evidence, data: plan.data, size, pages, windows, habits })
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The piece that holds `at`, which lies inside of the disk.
    ///
    /// # Errors
    /// What the source answers.
    pub fn piece(&mut self, at: u64) -> Result<Piece> {
        self.piece_by(at, None)
    }

    /// The piece behind `piece`, which does not end the disk.
    ///
    /// # Errors
    /// What the source answers.
    pub fn behind(&mut self, piece: &Piece) -> Result<Piece> {
        self.piece_by(piece.end, Some(piece.next))
    }

    /// The piece that holds `at`: `entry` of the map, if it is known, or the gap before it.
    fn piece_by(&mut self, at: u64, entry: Option<u64>) -> Result<Piece> {
        let place = match self.data {
            Data::Stream(place) => {
                let target = Target::Stream(place);
                return Ok(Piece { start: 0, end: self.size, target, position: 0, next: 0 });
            }
            Data::Map(place) => place,
        };
        let evidence = &self.evidence;
        let map = evidence.plan.maps.get(place).ok_or(Error::OutOfRange)?;
        let entries = evidence.maps.get(place).ok_or(Error::OutOfRange)?;
        let source = &*evidence.volume(map.volume)?.source;
        let ends_behind = |entry: Option<Entry>| entry.is_none_or(|entry| entry.end() > at);
        let number = match entry {
            Some(number) if ends_behind(entries.get(source, &mut self.pages, number)?) => number,
            // Also where the map is not in order any more.
            _ => entries.find(source, &mut self.pages, at)?,
        };
        let next = entries.get(source, &mut self.pages, number)?;
        if let Some(entry) = next.filter(|entry| entry.mapped.get() <= at) {
            let target = usize::try_from(entry.target.get()).ok();
            let target = target.and_then(|target| map.targets.get(target));
            let target = target.cloned().ok_or(Error::OutOfRange)?;
            let (start, position) = (entry.mapped.get(), entry.target_offset.get());
            let (end, next) = (entry.end().min(self.size), number.saturating_add(1));
            return Ok(Piece { start, end, target, position, next });
        }
        let start = match number.checked_sub(1) {
            Some(before) => {
                entries.get(source, &mut self.pages, before)?.map_or(0, |entry| entry.end())
            }
            None => 0,
        };
        let start = start.min(at);
        let end = next.map_or(self.size, |entry| entry.mapped.get().min(self.size));
        let target = Target::Symbol(map.gap);
        Ok(Piece { start, end, target, position: start, next: number })
    }

    /// Appends what `piece` shows from `at` on, up to `end` and a little further, in no more
    /// than `steps`; answers where that ends.
    fn push(
        &mut self,
        (answer, steps): (&mut Extents, &mut u32),
        piece: &Piece,
        (at, end): (u64, u64),
    ) -> Result<u64> {
        let content = match &piece.target {
            Target::Symbol(Symbol::ZERO) => Content::Zero,
            Target::Symbol(_) => Content::Computed,
            Target::Lost(urn) => Content::Damaged(lost(urn)),
            Target::Stream(place) => {
                return self.push_stream((answer, steps), piece, *place, (at, end));
            }
        };
        let start = if answer.is_empty() { piece.start } else { at };
        answer.push(start, piece.end - start, content);
        Ok(piece.end)
    }

    /// The same for a piece of a stream.
    fn push_stream(
        &mut self,
        (answer, steps): (&mut Extents, &mut u32),
        piece: &Piece,
        place: usize,
        (mut at, end): (u64, u64),
    ) -> Result<u64> {
        let evidence = Rc::clone(&self.evidence);
        let stream = evidence.plan.streams.get(place).ok_or(Error::OutOfRange)?;
        let source = &*evidence.volume(stream.volume)?.source;
        let chunk = u64::from(stream.chunk);
        while at < piece.end.min(end) && answer.len() < MOST_EXTENTS && *steps > 0 {
            *steps -= 1;
            let position = piece.position.saturating_add(at - piece.start);
            if position >= stream.size {
                let urn = shown(&stream.urn);
                let what = format!("past the end of stream {urn}, at {}", stream.size);
                answer.push(at, piece.end - at, Content::Damaged(what));
                return Ok(piece.end);
            }
            let number = position / chunk;
            // The first extent begins where its chunk does, or the piece.
            let back = if answer.is_empty() { (position % chunk).min(at - piece.start) } else { 0 };
            let (start, skip) = (at - back, (position - back) % chunk);
            let (found, behind) = match self.windows.find(&evidence, place, number)? {
                Found::Chunk(found) => {
                    let habits = self.habits.get_mut(place).ok_or(Error::OutOfRange)?;
                    (content(source, stream, habits, (number, found, skip as u32))?, number + 1)
                }
                Found::Damaged(what) => {
                    let what = format!("stream {}: {what}", shown(&stream.urn));
                    (Content::Damaged(what), number + 1)
                }
                Found::Missing(behind) => {
                    let what = format!("segments of stream {} are missing", shown(&stream.urn));
                    (Content::Damaged(what), behind.max(number + 1))
                }
            };
            let length = behind.saturating_mul(chunk).min(stream.size) - (position - back);
            let length = length.min(piece.end - start);
            answer.push(start, length, found);
            at = start + length;
        }
        Ok(at)
    }
}

/// Why a range of a stream that is in no volume cannot be read.
pub fn lost(urn: &str) -> String {
    format!("it lies in stream {}, which is in no file of the set that was found", shown(urn))
}

impl Disk for AffDisk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if offset >= self.size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(self.size);
        let mut answer = Extents::new();
        let mut steps = MOST_STEPS;
        let mut piece = self.piece(offset)?;
        let mut at = self.push((&mut answer, &mut steps), &piece, (offset, end))?;
        while at < end && answer.len() < MOST_EXTENTS && steps > 0 {
            steps -= 1;
            piece = self.behind(&piece)?;
            at = self.push((&mut answer, &mut steps), &piece, (at, end))?;
        }
        Ok(answer.finish())
    }

    fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.size);
        let end = end.filter(|_| length as u64 <= READ_LIMIT).ok_or(Error::OutOfRange)?;
        let mut bytes = vec![0; length];
        let (mut at, mut rest) = (offset, bytes.as_mut_slice());
        let mut next = None;
        while at < end {
            let piece = self.piece_by(at, next)?;
            next = Some(piece.next);
            let Target::Symbol(symbol) = piece.target else { return Err(Error::OutOfRange) };
            let count = (piece.end.min(end) - at) as usize;
            let (out, behind) = rest.split_at_mut(count);
            symbol.fill(piece.position.wrapping_add(at - piece.start), out);
            (at, rest) = (at + count as u64, behind);
        }
        Ok(bytes)
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        check::check(self)
    }
}
