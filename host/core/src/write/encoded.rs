//! Writing whole units that the embedder encoded.

use core::ops::Range;

use super::{Content, RangeGuard};
use crate::check::BLOCK_LIMIT;
use crate::contract::format as wit;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::plan::{Block, SourceKey};

/// A planned write of one encoded unit; its range is locked as long as it lives.
pub struct EncodedWrite<'a> {
    disk: &'a Disk,
    range: Range<u64>,
    block: Block,
    _guard: RangeGuard<'a>,
}

impl EncodedWrite<'_> {
    /// The source to write the encoded bytes to, and the byte offset in it.
    pub fn place(&self) -> (SourceKey, u64) {
        (self.block.source, self.block.offset)
    }

    /// The bytes are there: the unit is visible from here on.
    ///
    /// # Errors
    /// As [`super::Write::complete`].
    pub fn complete(self) -> Result<()> {
        let Self { disk, range, block, _guard } = self;
        let mut state = disk.writing.state.write();
        state.rooms.remove(range.clone());
        state.recent.insert(range, Content::Encoded { block, skip: 0 }, true);
        let is_full = disk.note_backlog(&state.recent);
        drop((state, _guard));
        if is_full { disk.commit() } else { Ok(()) }
    }
}

impl Disk {
    /// How the top image takes encoded units, if it does.
    pub fn encoding(&self) -> Option<wit::Encoding> {
        let granularity = self.info().granularity;
        self.info().encoding.filter(|encoding| {
            encoding.unit.is_power_of_two()
                && encoding.unit <= BLOCK_LIMIT
                && encoding.unit.is_multiple_of(granularity)
        })
    }

    /// Plans a write of the unit at `offset`, encoded to `stored_length` bytes.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::OutOfRange`] for what is no unit,
    /// [`Error::Untrusted`] for a place that breaks the contract, and what the plugin
    /// answered.
    pub fn plan_encoded(&self, offset: u64, stored_length: u32) -> Result<EncodedWrite<'_>> {
        self.check_writable()?;
        let encoding = self.encoding().ok_or(Error::ReadOnly)?;
        let unit = u64::from(encoding.unit);
        let length = unit.min(self.size().saturating_sub(offset));
        let end = self.check_range(offset, length)?;
        if !offset.is_multiple_of(unit) || length == 0 {
            return Err(Error::OutOfRange { offset, length, size: self.size() });
        }
        let guard = self.writing.locks.lock(offset..end);
        self.check_writable()?;
        let placing = self.writing.placing.lock();
        let stored = self.call_top(|disk, store, this| {
            disk.call_place_encoded(store, this, offset, stored_length)
        })?;
        drop(placing);
        let checked = self.check_room(&stored, stored_length.into());
        checked.map_err(|reason| self.top().fail(reason))?;
        let block = Block {
            source: SourceKey { layer: 0, id: stored.source },
            offset: stored.offset,
            stored_length,
            decoded_length: encoding.unit,
            codec: encoding.codec,
            digest: None,
            needs: None,
        };
        Ok(EncodedWrite { disk: self, range: offset..end, block, _guard: guard })
    }
}
