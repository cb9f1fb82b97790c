//! Writing: planned here, carried out by the embedder, linked by the plugin.
//!
//! ```text
//!   plan_write ─▶ pieces ─▶ the embedder writes them ─▶ Write::complete
//!      │  in place: stored, and writable                    │ visible from here on
//!      └  into room that the plugin placed                  ▼
//!                                   pending ──flush──▶ sources durable ─▶ commit
//! ```
//!
//! * Requests that overlap take turns ([`ranges`]).
//! * Room is kept until it is used ([`rooms`]); one answer of a plugin serves many
//!   writes.
//! * What was written stands above the extent cache ([`recent`]) and is committed in
//!   batches, at the latest by [`Disk::flush`]. All payload is durable before the
//!   plugin links it, so that no crash shows bytes that were not written there.

mod encoded;
mod flush;
mod ranges;
mod recent;
mod rooms;

use alloc::format;
use alloc::string::String;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use smallvec::SmallVec;

pub use self::encoded::EncodedWrite;
pub use self::ranges::RangeGuard;
use self::ranges::RangeLocks;
use self::recent::{Content, Recent};
use self::rooms::{Room, Rooms};
use crate::contract::format as wit;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::plan::{Block, PieceKind, Pieces, SourceKey};
use crate::source::Access;
use crate::sync::{Mutex, RwLock};

/// The most answers for the room of one write.
const PLACE_LIMIT: usize = 4096;

/// What a disk keeps for writing.
#[derive(Default)]
pub(crate) struct Writing {
    locks: RangeLocks,
    /// Held while the plugin changes links: commit, zero, flush, resize.
    structure: Mutex<()>,
    /// Set once and for good, under a lock of the whole disk.
    frozen: AtomicBool,
    /// Held from the plugin's answer about room until it is kept, and by what takes room
    /// back, so that no answer is kept that is no longer true; and while the plugin links,
    /// before which all that it wrote is durable. Taken after `structure`.
    placing: Mutex<()>,
    state: RwLock<State>,
    /// Whether much is pending.
    wants_commit: AtomicBool,
    /// Grows, under the lock of `state`, whenever something known there is dropped.
    pub(crate) generation: AtomicU64,
    flushes: flush::Flushes,
}

#[derive(Default)]
struct State {
    rooms: Rooms,
    recent: Recent,
}

impl Writing {
    /// Does something unless what was known here has been dropped since `generation`.
    pub(crate) fn if_still(&self, generation: u64, then: impl FnOnce()) {
        let _state = self.state.read();
        if self.generation.load(Ordering::Acquire) == generation {
            then();
        }
    }

    /// Puts what was written lately in the place of what the cache said since
    /// `generation`; `false` where some of that was dropped meanwhile, so that the
    /// cache is to be asked again.
    pub(crate) fn patch(&self, first: usize, pieces: &mut Pieces, generation: u64) -> bool {
        let state = self.state.read();
        if self.generation.load(Ordering::Acquire) != generation {
            return false;
        }
        state.recent.patch(first, pieces);
        true
    }
}

/// Where some bytes of a write go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritePiece {
    /// Byte offset on the disk.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// The source to write to.
    pub source: SourceKey,
    /// Byte offset in it, for the piece's first byte.
    pub source_offset: u64,
    /// New room: so many bytes before the piece must be written too, with what is
    /// visible there now.
    pub fill_before: u64,
    /// The same behind the piece.
    pub fill_after: u64,
    /// New room: visible from [`Write::complete`] on.
    pub fresh: bool,
    /// The room reads as zeroes now: zeroes need not be written.
    pub zeroed: bool,
}

impl WritePiece {
    /// What is written in all, with what is filled.
    fn filled(&self) -> Range<u64> {
        self.offset - self.fill_before..self.offset + self.length + self.fill_after
    }
}

/// A planned write. Its range is locked as long as it lives; what is dropped
/// without [`Write::complete`] is not visible where it went to new room.
pub struct Write<'a> {
    disk: &'a Disk,
    pieces: WritePieces,
    replaced: SmallVec<[Block; 2]>,
    completed: bool,
    _guard: RangeGuard<'a>,
}

impl Write<'_> {
    /// Where the bytes go: pieces in order and without gaps.
    pub fn pieces(&self) -> &[WritePiece] {
        &self.pieces
    }

    /// Encoded blocks of the top layer that are no longer used once the write is
    /// complete, in whole or in part: a cache of decoded blocks forgets them.
    pub fn replaced(&self) -> &[Block] {
        &self.replaced
    }

    /// All pieces hold their bytes: they are visible from here on, and survive a
    /// crash after the next [`Disk::flush`].
    ///
    /// # Errors
    /// Where too much is pending it is committed now: what sources and plugins answer.
    /// The write is visible even so. [`Disk::wants_commit`] says so earlier.
    pub fn complete(mut self) -> Result<()> {
        self.completed = true;
        let disk = self.disk;
        if self.pieces.iter().any(|piece| piece.fresh) {
            let mut state = disk.writing.state.write();
            for piece in self.pieces.iter().filter(|piece| piece.fresh) {
                let offset = piece.source_offset - piece.fill_before;
                let content = Content::Stored { source: piece.source.id, offset };
                state.recent.insert(piece.filled(), content, true);
                state.rooms.remove(piece.filled());
            }
            let is_full = disk.note_backlog(&state.recent);
            drop(state);
            drop(self);
            if is_full {
                return disk.commit();
            }
        }
        Ok(())
    }

    /// Nothing was written: the room is as it was.
    fn forget(mut self) {
        self.completed = true;
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if self.completed || !self.pieces.iter().any(|piece| piece.fresh) {
            return;
        }
        // The room may hold a part of the bytes: it must not count as zeroed.
        let mut state = self.disk.writing.state.write();
        for piece in self.pieces.iter().filter(|piece| piece.fresh) {
            state.rooms.remove(piece.filled());
        }
    }
}

impl Disk {
    /// Plans a write of `length` bytes at `offset`, and locks what it touches.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::OutOfRange`], [`Error::Untrusted`] for
    /// placements that break the contract, and what the plugin answered.
    pub fn plan_write(&self, offset: u64, length: u64) -> Result<Write<'_>> {
        self.check_writable()?;
        let end = self.check_range(offset, length)?;
        let mut locked = offset..end;
        loop {
            let write = self.plan_locked(offset..end, locked.clone())?;
            let (first, last) = match (write.pieces.first(), write.pieces.last()) {
                (Some(first), Some(last)) => (first.filled().start, last.filled().end),
                _ => return Ok(write),
            };
            if locked.start <= first && last <= locked.end {
                return Ok(write);
            }
            // More is filled than is locked: that is locked too. Planned anew, since
            // another request may have changed it meanwhile.
            write.forget();
            locked = locked.start.min(first)..locked.end.max(last);
        }
    }

    fn plan_locked(&self, range: Range<u64>, locked: Range<u64>) -> Result<Write<'_>> {
        let guard = self.writing.locks.lock(locked);
        // It may have been resized or frozen while this one waited.
        self.check_writable()?;
        self.check_range(range.start, range.end - range.start)?;
        let mut visible = Pieces::new();
        self.plan_read(range.start, range.end - range.start, &mut visible)?;
        let mut pieces = WritePieces::new();
        let mut replaced = SmallVec::new();
        // From here on up to the next piece to be written in place, room is needed.
        let mut at = range.start;
        for piece in &visible {
            match &piece.kind {
                PieceKind::Stored { source, offset, writable: true } if piece.layer == 0 => {
                    self.place(at..piece.offset, &mut pieces)?;
                    pieces.push(in_place(piece.offset, piece.length, *source, *offset));
                    at = piece.offset + piece.length;
                }
                PieceKind::Encoded { block, .. } if piece.layer == 0 => {
                    replaced.push(block.clone());
                }
                _ => {}
            }
        }
        self.place(at..range.end, &mut pieces)?;
        Ok(Write { disk: self, pieces, replaced, completed: false, _guard: guard })
    }

    /// Holds off every write as long as the answer lives, once those under way are
    /// done.
    pub fn hold_writes(&self) -> RangeGuard<'_> {
        self.writing.locks.lock(0..u64::MAX)
    }

    /// [`Error::ReadOnly`] unless the top image was opened for writing.
    ///
    /// # Errors
    /// That one.
    pub fn check_writable(&self) -> Result<()> {
        match self.top().access() {
            Access::ReadWrite if self.writing.frozen.load(Ordering::Acquire) => Err(Error::Frozen),
            Access::ReadWrite => Ok(()),
            Access::Read => Err(Error::ReadOnly),
        }
    }

    /// Lets no change begin from here on; those that wait fail with [`Error::Frozen`].
    /// To be called with the whole disk held ([`Disk::hold_writes`]).
    pub fn freeze(&self) {
        self.writing.frozen.store(true, Ordering::Release);
    }

    /// Appends pieces for `range`, from room that is there or that the plugin gives
    /// now.
    fn place(&self, range: Range<u64>, pieces: &mut WritePieces) -> Result<()> {
        let mut at = range.start;
        let mut asked = None;
        for _ in 0..PLACE_LIMIT {
            at = self.use_room(at..range.end, pieces)?;
            if at >= range.end {
                return Ok(());
            }
            if asked == Some(at) {
                return Err(self.top().fail(format!("asked for room at {at}, it gives none")));
            }
            asked = Some(at);
            self.ask_for_room(at, range.end - at)?;
        }
        let (start, end) = (range.start, range.end);
        let reason =
            format!("{PLACE_LIMIT} answers give room from {start} up to {at} only, not to {end}");
        Err(self.top().fail(reason))
    }

    /// Appends pieces for as much of `range` as there is room for, and says where
    /// that ends.
    fn use_room(&self, range: Range<u64>, pieces: &mut WritePieces) -> Result<u64> {
        let state = self.writing.state.read();
        let granularity = u64::from(self.info().granularity);
        let mut at = range.start;
        while at < range.end {
            if let Some(room) = state.rooms.find(at) {
                let end = room.end.min(range.end);
                let start = at / granularity * granularity;
                let last = end.next_multiple_of(granularity).min(self.size());
                let joins = pieces.last().is_some_and(|last| last.filled().end > start);
                if last > room.end || (joins && at != start) {
                    let reason = format!("the granule of {granularity} bytes at {start} is mixed");
                    return Err(self.top().fail(reason));
                }
                pieces.push(WritePiece {
                    offset: at,
                    length: end - at,
                    source: SourceKey { layer: 0, id: room.source },
                    source_offset: room.source_offset,
                    fill_before: at - start,
                    fill_after: last - end,
                    fresh: true,
                    zeroed: room.zeroed,
                });
                at = end;
            } else if let Some((source, offset, end)) = state.recent.stored_from(at) {
                let length = end.min(range.end) - at;
                let source = SourceKey { layer: 0, id: source };
                pieces.push(in_place(at, length, source, offset));
                at += length;
            } else {
                break;
            }
        }
        Ok(at)
    }

    /// Asks the plugin for room, checks it, and keeps it.
    fn ask_for_room(&self, offset: u64, length: u64) -> Result<()> {
        let _placing = self.writing.placing.lock();
        let placements =
            self.call_top(|disk, store, this| disk.call_place(store, this, offset, length))?;
        let mut at = None;
        for placement in &placements {
            let stop = self.check_placement(placement, offset, at);
            let stop = stop.map_err(|reason| self.top().fail(reason))?;
            let wit::Placement { offset: start, stored, fresh, zeroed, .. } = *placement;
            let mut state = self.writing.state.write();
            if !fresh {
                // Only what this write has locked: the rest may be another's by now.
                let (from, to) = (start.max(offset), stop.min(offset + length));
                if from < to {
                    let offset = stored.offset + (from - start);
                    let content = Content::Stored { source: stored.source, offset };
                    state.recent.insert(from..to, content, false);
                    // What was not writable there may be writable all around now.
                    self.cache.forget(from, to - from);
                }
            } else if state.rooms.find(start).is_none_or(|known| known.end < stop) {
                // One that is known was asked for again, by two writes at once: what
                // the first answer said of its zeroes still holds.
                let (source, source_offset) = (stored.source, stored.offset);
                state.rooms.insert(start, Room { end: stop, source, source_offset, zeroed });
            }
            at = Some(stop);
        }
        self.shrink_recent();
        Ok(())
    }

    /// Checks a placement of an answer about `wanted`: the first begins there or before,
    /// the others follow the one that ended at `follows`. Answers where it ends on the
    /// disk.
    fn check_placement(
        &self,
        placement: &wit::Placement,
        wanted: u64,
        follows: Option<u64>,
    ) -> core::result::Result<u64, String> {
        let wit::Placement { offset, length, stored, fresh, .. } = *placement;
        let stop = offset.checked_add(length).map(|stop| stop.min(self.size()));
        let in_order = match follows {
            Some(end) => offset == end,
            None => offset <= wanted,
        };
        let stop = stop.filter(|stop| in_order && *stop > offset);
        let Some(stop) = stop else {
            return Err(format!("asked for room at {wanted}, it gives {length} bytes at {offset}"));
        };
        let granularity = u64::from(self.info().granularity);
        let is_whole =
            |edge: u64| edge.is_multiple_of(granularity) || (edge == stop && stop == self.size());
        if fresh && !(is_whole(offset) && is_whole(stop)) {
            return Err(format!("room of {length} bytes at {offset} is not whole granules"));
        }
        self.check_room(&stored, length)?;
        Ok(stop)
    }

    /// Room lies in a source that may be written, and ends before the end of all offsets.
    fn check_room(&self, stored: &wit::Stored, length: u64) -> core::result::Result<(), String> {
        let source = self.top().source(stored.source).ok();
        let writable = source.is_some_and(|source| source.access() == Access::ReadWrite);
        if !stored.writable || !writable {
            return Err(format!("room in source {}, which is not writable", stored.source));
        }
        match stored.offset.checked_add(length).filter(|end| *end <= i64::MAX as u64) {
            Some(_) => Ok(()),
            None => Err(format!("room of {length} bytes at {} of a source", stored.offset)),
        }
    }
}

/// The pieces of one write.
type WritePieces = SmallVec<[WritePiece; 2]>;

fn in_place(offset: u64, length: u64, source: SourceKey, source_offset: u64) -> WritePiece {
    WritePiece {
        offset,
        length,
        source,
        source_offset,
        fill_before: 0,
        fill_after: 0,
        fresh: false,
        zeroed: false,
    }
}
