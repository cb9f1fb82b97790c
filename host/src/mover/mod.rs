//! The mover carries out plans: bytes go from sources to buffers and back, natively.
//!
//! Stored bytes are read into the caller's buffer; encoded blocks are decoded into
//! it, in parallel, or through a bounded cache where only a part is asked for.

mod blocks;
mod decode;
mod decrypt;
mod inflate;
mod sandbox;
mod write;

use std::sync::Arc;

use fumehood_core::{Disk, Error as CoreError, Piece, PieceKind};
use rayon::prelude::*;

use self::blocks::BlockCache;
pub(crate) use self::sandbox::DecoderModule;
pub(crate) use self::write::Emptying;
use crate::error::Result;

/// Moves bytes for one disk.
pub(crate) struct Mover {
    blocks: BlockCache,
}

impl Mover {
    /// A mover that keeps about `block_cache` bytes of decoded blocks.
    pub(crate) fn new(block_cache: usize, decoder: Arc<DecoderModule>) -> Self {
        Self { blocks: BlockCache::new(block_cache, decoder) }
    }

    /// Fills `buffer` by `pieces`, which cover it.
    #[inline]
    pub(crate) fn read(&self, disk: &Disk, pieces: &[Piece], buffer: &mut [u8]) -> Result<()> {
        if let [piece] = pieces {
            return self.read_piece(disk, piece, buffer);
        }
        self.read_pieces(disk, pieces, buffer)
    }

    /// Whether a piece can be read without decoding or asking a plugin.
    #[inline]
    pub(crate) fn is_ready(&self, piece: &Piece) -> bool {
        match &piece.kind {
            PieceKind::Encoded { block, .. } => self.blocks.holds(block),
            PieceKind::Computed => false,
            _ => true,
        }
    }

    /// The same, one piece after the other, in this thread: for who waits in the middle of
    /// another read. A worker that waits for others meanwhile takes up other work, and
    /// that could wait for what this one holds.
    pub(crate) fn read_in_order(
        &self,
        disk: &Disk,
        pieces: &[Piece],
        buffer: &mut [u8],
    ) -> Result<()> {
        let mut rest = buffer;
        for piece in pieces {
            let (part, behind) = rest.split_at_mut(piece.length as usize);
            rest = behind;
            self.read_piece(disk, piece, part)?;
        }
        Ok(())
    }

    fn read_pieces(&self, disk: &Disk, pieces: &[Piece], buffer: &mut [u8]) -> Result<()> {
        let mut encoded = Vec::new();
        let mut rest = buffer;
        for piece in pieces {
            let (part, behind) = rest.split_at_mut(piece.length as usize);
            rest = behind;
            match piece.kind {
                PieceKind::Encoded { .. } => encoded.push((piece, part)),
                _ => self.read_piece(disk, piece, part)?,
            }
        }
        match encoded.as_mut_slice() {
            [] => Ok(()),
            [(piece, part)] => self.read_piece(disk, piece, part),
            many => {
                many.par_iter_mut().try_for_each(|(piece, part)| self.read_piece(disk, piece, part))
            }
        }
    }

    #[inline]
    fn read_piece(&self, disk: &Disk, piece: &Piece, buffer: &mut [u8]) -> Result<()> {
        match &piece.kind {
            PieceKind::Stored { source, offset, .. } => {
                Ok(disk.read_source(*source, *offset, buffer)?)
            }
            PieceKind::Absent | PieceKind::Zero => {
                buffer.fill(0);
                Ok(())
            }
            PieceKind::Encoded { block, skip } => {
                self.blocks.read(disk, block, *skip as usize, buffer)
            }
            PieceKind::Computed => Ok(disk.compute(piece, buffer)?),
            PieceKind::Damaged(what) => {
                let what = what.to_string();
                Err(CoreError::Damaged { offset: piece.offset, what }.into())
            }
        }
    }
}
