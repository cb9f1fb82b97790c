//! What was written since the extent cache was filled: it stands above the cache,
//! so that a write costs no cached page. Holds, too, what is still to be committed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use crate::contract::format as wit;
use crate::plan::{Block, Piece, PieceKind, Pieces, SourceKey};

/// Runs of the top layer by the disk offset at which they begin, without overlap.
#[derive(Default)]
pub(super) struct Recent {
    runs: BTreeMap<u64, Run>,
    pending_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    end: u64,
    content: Content,
    /// Not committed yet.
    pending: bool,
}

/// What a run holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Stored { source: u32, offset: u64 },
    Encoded { block: Block, skip: u32 },
    Zero,
}

impl Content {
    /// What it holds `skip` bytes further on.
    fn behind(&self, skip: u64) -> Self {
        match self {
            Self::Stored { source, offset } => {
                Self::Stored { source: *source, offset: offset + skip }
            }
            Self::Encoded { block, skip: already } => {
                Self::Encoded { block: block.clone(), skip: already + skip as u32 }
            }
            Self::Zero => Self::Zero,
        }
    }

    fn kind(self) -> PieceKind {
        match self {
            Self::Stored { source, offset } => {
                let source = SourceKey { layer: 0, id: source };
                PieceKind::Stored { source, offset, writable: true }
            }
            Self::Encoded { block, skip } => PieceKind::Encoded { block, skip },
            Self::Zero => PieceKind::Zero,
        }
    }
}

impl Recent {
    /// How many runs there are.
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Bytes of the disk that are to be committed.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// Where the bytes from `at` on are stored, if they are: source, offset in it, and
    /// the end of the run.
    pub(super) fn stored_from(&self, at: u64) -> Option<(u32, u64, u64)> {
        let (start, run) = self.runs.range(..=at).next_back()?;
        match run.content.behind(at.checked_sub(*start)?) {
            Content::Stored { source, offset } if run.end > at => Some((source, offset, run.end)),
            _ => None,
        }
    }

    /// Sets what `range` holds.
    pub(super) fn insert(&mut self, range: Range<u64>, content: Content, pending: bool) {
        self.remove(range.clone());
        if pending {
            self.pending_bytes += range.end - range.start;
        }
        if let Some((start, last)) = self.runs.range_mut(..range.start).next_back()
            && last.end == range.start
            && last.pending == pending
            && !matches!(content, Content::Encoded { .. })
            && last.content.behind(range.start - start) == content
        {
            last.end = range.end;
            return;
        }
        self.runs.insert(range.start, Run { end: range.end, content, pending });
    }

    /// Forgets what is known of `range`.
    pub(super) fn remove(&mut self, range: Range<u64>) {
        if !self.is_known(&range) {
            return;
        }
        self.split(range.start);
        self.split(range.end);
        while let Some((&start, run)) = self.runs.range(range.clone()).next() {
            if run.pending {
                self.pending_bytes -= run.end - start;
            }
            self.runs.remove(&start);
        }
    }

    /// What is to be committed, in order; neighbours are joined.
    pub(super) fn pending(&self) -> Vec<wit::Range> {
        let mut ranges: Vec<wit::Range> = Vec::new();
        if self.pending_bytes == 0 {
            return ranges;
        }
        for (&offset, run) in self.runs.iter().filter(|(_, run)| run.pending) {
            let length = run.end - offset;
            match ranges.last_mut() {
                Some(last) if last.offset + last.length == offset => last.length += length,
                _ => ranges.push(wit::Range { offset, length }),
            }
        }
        ranges
    }

    /// These ranges were committed.
    pub(super) fn committed(&mut self, ranges: &[wit::Range]) {
        for range in ranges {
            let end = range.offset + range.length;
            self.split(range.offset);
            self.split(end);
            for (start, run) in self.runs.range_mut(range.offset..end) {
                if core::mem::take(&mut run.pending) {
                    self.pending_bytes -= run.end - start;
                }
            }
        }
    }

    /// Drops all that is committed, and gives its ranges.
    pub(super) fn drain_committed(&mut self) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        self.runs.retain(|start, run| {
            if !run.pending {
                ranges.push(*start..run.end);
            }
            run.pending
        });
        ranges
    }

    /// Puts what is known here in the place of what `pieces` say, from the piece
    /// number `first` on.
    pub(super) fn patch(&self, first: usize, pieces: &mut Pieces) {
        let (Some(start), Some(end)) = (
            pieces.get(first).map(|piece| piece.offset),
            pieces.last().map(|piece| piece.offset + piece.length),
        ) else {
            return;
        };
        if !self.is_known(&(start..end)) {
            return;
        }
        let old: Pieces = pieces.drain(first..).collect();
        for piece in &old {
            let (mut at, end) = (piece.offset, piece.offset + piece.length);
            for (start, run) in self.overlapping(at..end) {
                let (from, to) = (start.max(at), run.end.min(end));
                push_part(pieces, piece, at..from);
                push_joined(pieces, from..to, run.content.behind(from - start).kind());
                at = to;
            }
            push_part(pieces, piece, at..end);
        }
    }

    /// Whether anything is known of `range`, in one look: mostly nothing is.
    fn is_known(&self, range: &Range<u64>) -> bool {
        self.runs.range(..range.end).next_back().is_some_and(|(_, run)| run.end > range.start)
    }

    fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = (u64, &Run)> {
        let first = self.runs.range(..range.start).next_back();
        let first = first.filter(|(_, run)| run.end > range.start);
        first.into_iter().chain(self.runs.range(range)).map(|(start, run)| (*start, run))
    }

    /// Makes a run end at `at` if one goes over it.
    fn split(&mut self, at: u64) {
        if let Some((start, run)) = self.runs.range_mut(..at).next_back()
            && run.end > at
        {
            let behind =
                Run { end: run.end, content: run.content.behind(at - start), pending: run.pending };
            run.end = at;
            self.runs.insert(at, behind);
        }
    }
}

/// Appends the part of `piece` in `range`, which may be empty.
fn push_part(pieces: &mut Pieces, piece: &Piece, range: Range<u64>) {
    if !range.is_empty() {
        let kind = piece.kind.behind(range.start - piece.offset);
        let length = range.end - range.start;
        pieces.push(Piece { offset: range.start, length, layer: piece.layer, kind });
    }
}

/// Appends a piece of the top layer, or lengthens the last one that it continues:
/// one run may lie over many pieces.
fn push_joined(pieces: &mut Pieces, range: Range<u64>, kind: PieceKind) {
    let length = range.end - range.start;
    if let Some(last) = pieces.last_mut()
        && last.layer == 0
        && last.offset + last.length == range.start
        && last.kind.behind(last.length) == kind
    {
        last.length += length;
        return;
    }
    pieces.push(Piece { offset: range.start, length, layer: 0, kind });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(offset: u64) -> Content {
        Content::Stored { source: 0, offset }
    }

    fn absent(offset: u64, length: u64) -> Piece {
        Piece { offset, length, layer: 1, kind: PieceKind::Absent }
    }

    fn shown(pieces: &Pieces) -> Vec<(u64, u64, Option<u64>)> {
        let place = |piece: &Piece| match piece.kind {
            PieceKind::Stored { offset, .. } => Some(offset),
            _ => None,
        };
        pieces.iter().map(|piece| (piece.offset, piece.length, place(piece))).collect()
    }

    #[test]
    fn runs_stand_above_pieces() {
        let mut recent = Recent::default();
        recent.insert(10..20, stored(1000), true);
        recent.insert(30..70, stored(2000), false);
        let mut pieces = Pieces::new();
        pieces.push(absent(900, 5));
        pieces.push(absent(0, 40));
        pieces.push(absent(40, 40));
        recent.patch(1, &mut pieces);
        assert_eq!(
            shown(&pieces),
            [
                (900, 5, None),
                (0, 10, None),
                (10, 10, Some(1000)),
                (20, 10, None),
                (30, 40, Some(2000)),
                (70, 10, None)
            ]
        );
        let mut inside = Pieces::new();
        inside.push(absent(35, 5));
        recent.patch(0, &mut inside);
        assert_eq!(shown(&inside), [(35, 5, Some(2005))]);
    }

    #[test]
    fn what_is_pending_is_counted_and_joined() {
        let mut recent = Recent::default();
        recent.insert(0..10, stored(100), true);
        recent.insert(10..20, stored(110), true);
        assert_eq!(recent.len(), 1);
        recent.insert(20..30, stored(500), true);
        recent.insert(40..50, stored(600), true);
        let pending = recent.pending();
        let bounds: Vec<_> = pending.iter().map(|range| (range.offset, range.length)).collect();
        assert_eq!(bounds, [(0, 30), (40, 10)]);
        // Between the snapshot and its commit a neighbour was written.
        recent.insert(30..40, stored(510), true);
        recent.committed(&pending);
        assert_eq!(recent.pending_bytes(), 10);
        recent.insert(5..15, Content::Zero, false);
        recent.remove(32..34);
        assert_eq!(recent.pending_bytes(), 8);
        assert_eq!(recent.drain_committed().len(), 5);
        assert_eq!(recent.len(), 2);
    }
}
