//! Writing: payload goes where the plan puts it; room that is new is filled up to
//! whole granules with what was visible before.

use fumehood_core::{Disk, Piece, PieceKind, Pieces, Source, Write, WritePiece};

use super::Mover;
use crate::error::Result;

/// What is written.
#[derive(Clone, Copy)]
enum Payload<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// Zeroes; with `drop`, storage that holds them may be given back.
    Zeroes { drop: bool },
}

/// How a range is emptied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emptying {
    /// It reads as zeroes, and its storage stays.
    Zero,
    /// It reads as zeroes, and its storage is given back.
    ZeroAndDrop,
    /// Its storage is given back where that costs nothing; no one reads it before it
    /// is written again.
    Trim,
}

impl Mover {
    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write(&self, disk: &Disk, bytes: &[u8], offset: u64) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let write = disk.plan_write(offset, bytes.len() as u64)?;
        self.carry_out(disk, write, offset, Payload::Bytes(bytes))
    }

    /// Empties a range: whole granules by the plugin, the ragged ends by writing.
    /// What reads as zeroes already is left alone.
    pub(crate) fn empty(&self, disk: &Disk, offset: u64, length: u64, how: Emptying) -> Result<()> {
        let range = offset..offset.saturating_add(length);
        disk.check_writable()?;
        let whole = disk.granules_within(range.clone());
        if whole.is_empty() {
            return self.empty_in_place(disk, range.start, range.end, how);
        }
        self.empty_in_place(disk, range.start, whole.start, how)?;
        self.empty_in_place(disk, whole.end, range.end, how)?;
        self.zero_granules(disk, whole.start, whole.end, how != Emptying::Zero)
    }

    fn zero_granules(&self, disk: &Disk, start: u64, end: u64, drop: bool) -> Result<()> {
        let mut at = start;
        while at < end {
            let pieces = disk.extents(at, end - at)?;
            let known = pieces.last().map_or(at, |last| last.offset + last.length);
            // What is known may end within a granule.
            let stop = match disk.granules_within(at..known).end {
                stop if stop > at => stop,
                _ => end.min(at + u64::from(disk.info().granularity)),
            };
            if stop > known || pieces.iter().any(|piece| !piece.kind.is_zero()) {
                disk.zero(at..stop, drop)?;
                for piece in &pieces {
                    self.forget_block(piece);
                }
            }
            at = stop;
        }
        Ok(())
    }

    /// Writes zeroes over what is no whole granule.
    fn empty_in_place(&self, disk: &Disk, start: u64, end: u64, how: Emptying) -> Result<()> {
        let payload = Payload::Zeroes { drop: how != Emptying::Zero };
        let mut at = start;
        while at < end {
            let pieces = disk.extents(at, end - at)?;
            for piece in &pieces {
                let in_place = matches!(piece.kind, PieceKind::Stored { writable: true, .. })
                    && piece.layer == 0;
                if !piece.kind.is_zero() && (in_place || how != Emptying::Trim) {
                    let write = disk.plan_write(piece.offset, piece.length)?;
                    self.carry_out(disk, write, piece.offset, payload)?;
                }
                at = piece.offset + piece.length;
            }
        }
        Ok(())
    }

    fn carry_out(
        &self,
        disk: &Disk,
        write: Write<'_>,
        offset: u64,
        payload: Payload<'_>,
    ) -> Result<()> {
        for piece in write.pieces() {
            let source = disk.source(piece.source)?;
            let source = &*source;
            if piece.fill_before > 0 || piece.fill_after > 0 {
                self.fill(disk, piece, source)?;
            }
            match payload {
                Payload::Bytes(bytes) => {
                    let from = (piece.offset - offset) as usize;
                    let bytes = &bytes[from..from + piece.length as usize];
                    source.write_at(piece.source_offset, bytes)?;
                }
                Payload::Zeroes { .. } if piece.fresh && piece.zeroed => {}
                Payload::Zeroes { drop } => {
                    let given_back = drop && source.discard(piece.source_offset, piece.length)?;
                    if !given_back {
                        source.zero(piece.source_offset, piece.length)?;
                    }
                }
            }
        }
        for block in write.replaced() {
            self.blocks.forget(block);
        }
        Ok(write.complete()?)
    }

    /// Fills what a piece leaves of its granules.
    fn fill(&self, disk: &Disk, piece: &WritePiece, source: &dyn Source) -> Result<()> {
        let before = piece.offset - piece.fill_before;
        let room = piece.source_offset - piece.fill_before;
        self.fill_range(disk, piece, source, before, piece.fill_before, room)?;
        let after = piece.offset + piece.length;
        let room = piece.source_offset + piece.length;
        self.fill_range(disk, piece, source, after, piece.fill_after, room)
    }

    fn fill_range(
        &self,
        disk: &Disk,
        piece: &WritePiece,
        source: &dyn Source,
        offset: u64,
        length: u64,
        room: u64,
    ) -> Result<()> {
        let mut visible = Pieces::new();
        disk.plan_read(offset, length, &mut visible)?;
        for part in &visible {
            let place = room + (part.offset - offset);
            match (part.kind.is_zero(), piece.zeroed) {
                (true, true) => {}
                (true, false) => source.zero(place, part.length)?,
                (false, _) => self.copy(disk, part, source, place)?,
            }
        }
        Ok(())
    }

    /// Copies what a piece of the disk holds to a place of a source.
    fn copy(&self, disk: &Disk, piece: &Piece, source: &dyn Source, place: u64) -> Result<()> {
        const STEP: u64 = 1 << 20;
        let mut buffer = vec![0; STEP.min(piece.length) as usize];
        let mut done = 0;
        while done < piece.length {
            let step = STEP.min(piece.length - done);
            let part = &mut buffer[..step as usize];
            let mut pieces = Pieces::new();
            disk.plan_read(piece.offset + done, step, &mut pieces)?;
            self.read(disk, &pieces, part)?;
            source.write_at(place + done, part)?;
            done += step;
        }
        Ok(())
    }

    fn forget_block(&self, piece: &Piece) {
        if let PieceKind::Encoded { block, .. } = &piece.kind {
            self.blocks.forget(block);
        }
    }
}
