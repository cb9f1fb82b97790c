//! Planning writes.
//!
//! ```text
//!   begin_write ─▶ plan_write ─▶ the embedder writes the pieces ─▶ complete_write
//!                    │ in place                                      │ commit what
//!                    │ or place (the plugin makes room)              │ was placed
//! ```
//!
//! Placed room becomes visible with [`Disk::complete_write`], not before; what is
//! never completed is given back by the plugin.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::contract::format as wit;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::plan::{PieceKind, Pieces, SourceKey};
use crate::source::Access;
use crate::sync::MutexGuard;

/// The most answers for the room of one write.
const PLACE_LIMIT: usize = 4096;

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
    /// New room: so many bytes before the piece must be written too, with what was
    /// visible there before.
    pub fill_before: u64,
    /// The same behind the piece.
    pub fill_after: u64,
    /// Room that the plugin links in [`Disk::complete_write`].
    pub fresh: bool,
    /// Room that the plugin gave; otherwise the bytes were there already.
    pub placed: bool,
}

impl WritePiece {
    /// What is written in all, with what is filled.
    fn filled(&self) -> wit::Range {
        wit::Range {
            offset: self.offset - self.fill_before,
            length: self.fill_before + self.length + self.fill_after,
        }
    }
}

impl Disk {
    /// Waits for the write under way to end, and holds the next one off as long as
    /// the answer lives.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] unless the top image was opened for writing.
    pub fn begin_write(&self) -> Result<MutexGuard<'_, ()>> {
        match self.layers()[0].image.access() {
            Access::ReadWrite => Ok(self.writing.lock()),
            Access::Read => Err(Error::ReadOnly),
        }
    }

    /// Plans a write of `length` bytes at `offset`: pieces that cover it, in order.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Untrusted`] for placements that break the
    /// contract, and what the plugin answered.
    pub fn plan_write(&self, offset: u64, length: u64) -> Result<Vec<WritePiece>> {
        let mut visible = Pieces::new();
        self.plan_read(offset, length, &mut visible)?;
        let mut pieces = Vec::new();
        let mut at = offset;
        for piece in visible {
            let end = piece.offset + piece.length;
            if end <= at {
                continue;
            }
            match piece.kind {
                PieceKind::Stored { source, offset: stored, writable: true }
                    if piece.layer == 0 =>
                {
                    pieces.push(WritePiece {
                        offset: at,
                        length: end - at,
                        source,
                        source_offset: stored + (at - piece.offset),
                        fill_before: 0,
                        fill_after: 0,
                        fresh: false,
                        placed: false,
                    });
                }
                _ => self.place(at, end, &mut pieces)?,
            }
            at = end;
        }
        Ok(pieces)
    }

    /// The pieces of a plan hold their bytes: links what was placed.
    ///
    /// # Errors
    /// What the plugin answered; the write is then not visible.
    pub fn complete_write(&self, pieces: &[WritePiece]) -> Result<()> {
        let fresh: Vec<_> =
            pieces.iter().filter(|piece| piece.fresh).map(WritePiece::filled).collect();
        let answer = if fresh.is_empty() {
            Ok(())
        } else {
            self.call_top(|disk, store, this| disk.call_commit(store, this, &fresh))
        };
        // Whatever the answer: a plugin may have linked the room and then failed.
        for piece in pieces.iter().filter(|piece| piece.placed) {
            let range = piece.filled();
            self.cache.forget(range.offset, range.length);
        }
        answer
    }

    /// Makes a range read as zeroes; with `drop`, its storage may be given back.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::OutOfRange`], and what the plugin answered.
    pub fn zero(&self, offset: u64, length: u64, drop: bool) -> Result<()> {
        let _writing = self.begin_write()?;
        self.check_range(offset, length)?;
        let answer =
            self.call_top(|disk, store, this| disk.call_zero(store, this, offset, length, drop));
        self.cache.forget(offset, length);
        answer
    }

    /// Everything completed so far survives a crash from here on.
    ///
    /// # Errors
    /// What the plugin answered.
    pub fn flush(&self) -> Result<()> {
        if self.layers()[0].image.access() == Access::Read {
            return Ok(());
        }
        self.call_top(|disk, store, this| disk.call_flush(store, this))
    }

    /// Asks the plugin for room for `offset..end`.
    fn place(&self, offset: u64, end: u64, pieces: &mut Vec<WritePiece>) -> Result<()> {
        let mut at = offset;
        for _ in 0..PLACE_LIMIT {
            if at >= end {
                return Ok(());
            }
            let placements =
                self.call_top(|disk, store, this| disk.call_place(store, this, at, end - at))?;
            let granularity = u64::from(self.info().granularity);
            let mut next = at;
            for placement in &placements {
                let checked = self.write_piece(placement, next, end, granularity);
                let piece = checked.map_err(|reason| self.layers()[0].image.fail(reason))?;
                next = piece.offset + piece.length;
                pieces.push(piece);
                if next == end {
                    break;
                }
            }
            if next == at {
                let reason = format!("asked for room at {at}, it gives none");
                return Err(self.layers()[0].image.fail(reason));
            }
            at = next;
        }
        let reason = format!("{PLACE_LIMIT} answers give room up to {at} only, not to {end}");
        Err(self.layers()[0].image.fail(reason))
    }

    /// The part of a placement from `at` to at most `end`, checked.
    fn write_piece(
        &self,
        placement: &wit::Placement,
        at: u64,
        end: u64,
        granularity: u64,
    ) -> core::result::Result<WritePiece, String> {
        let wit::Placement { offset, length, stored, fresh } = *placement;
        let stop = offset.checked_add(length).filter(|stop| *stop > at && offset <= at);
        let Some(stop) = stop else {
            return Err(format!("asked for room at {at}, it gives {length} bytes at {offset}"));
        };
        let stop = stop.min(end);
        let whole = |edge: u64| edge.next_multiple_of(granularity).min(self.size());
        let start = if fresh { at / granularity * granularity } else { at };
        let last = if fresh { whole(stop) } else { stop };
        if start < offset || last > offset + length {
            return Err(format!("room of {length} bytes at {offset} is not whole granules"));
        }
        let source_offset = stored.offset.checked_add(at - offset);
        let source = self.layers()[0].image.source(stored.source).ok();
        match (source_offset, source) {
            (Some(source_offset), Some(source))
                if stored.writable && source.access() == Access::ReadWrite =>
            {
                Ok(WritePiece {
                    offset: at,
                    length: stop - at,
                    source: SourceKey { layer: 0, id: stored.source },
                    source_offset,
                    fill_before: at - start,
                    fill_after: last - stop,
                    fresh,
                    placed: true,
                })
            }
            _ => Err(format!("room in source {}, which is not writable", stored.source)),
        }
    }
}
