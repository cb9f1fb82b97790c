//! Writing: payload goes where the plan puts it; room that is new is filled up to
//! whole granules with what was visible before, then linked by the plugin.

use fumehood_core::{Disk, WritePiece};

use super::Mover;
use crate::error::Result;

impl Mover {
    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write(&self, disk: &Disk, bytes: &[u8], offset: u64) -> Result<()> {
        // One write at a time: a granule must not be filled by two at once.
        let _writing = disk.begin_write()?;
        let pieces = disk.plan_write(offset, bytes.len() as u64)?;
        for piece in &pieces {
            let from = (piece.offset - offset) as usize;
            let payload = &bytes[from..from + piece.length as usize];
            if piece.fill_before == 0 && piece.fill_after == 0 {
                disk.source(piece.source)?.write_at(piece.source_offset, payload)?;
            } else {
                self.write_filled(disk, piece, payload)?;
            }
        }
        Ok(disk.complete_write(&pieces)?)
    }

    /// Writes a whole granule of which `payload` is only a part.
    fn write_filled(&self, disk: &Disk, piece: &WritePiece, payload: &[u8]) -> Result<()> {
        let before = piece.fill_before as usize;
        let mut granules = vec![0; before + payload.len() + piece.fill_after as usize];
        for (at, range) in [
            (piece.offset - piece.fill_before, 0..before),
            (piece.offset + piece.length, before + payload.len()..granules.len()),
        ] {
            let mut visible = fumehood_core::Pieces::new();
            disk.plan_read(at, range.len() as u64, &mut visible)?;
            self.read(disk, &visible, &mut granules[range])?;
        }
        granules[before..before + payload.len()].copy_from_slice(payload);
        let start = piece.source_offset - piece.fill_before;
        Ok(disk.source(piece.source)?.write_at(start, &granules)?)
    }
}
