//! Reading through the simulated host: by extents, and from rooms where those hold
//! what is not committed yet. Nothing here changes anything.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::host::SimulatedHost;
use super::journal::{JournalSource, parent_bytes};
use super::rooms::State;
use super::rules::check_extents;
use crate::error::{Error, Result};
use crate::extent::{Content, Extent};
use crate::memory::slice;
use crate::source::Source;

impl SimulatedHost {
    /// What the disk shows in a range.
    ///
    /// # Errors
    /// See [`SimulatedHost`].
    pub fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let end = self.checked_end(offset, length)?;
        let mut out = Vec::new();
        let mut at = offset;
        while at < end {
            let next = self.rooms.next(at, &[State::Pending]).map_or(end, |next| next.min(end));
            let pending = self.rooms.at(at).filter(|room| room.state == State::Pending);
            if let Some(room) = pending {
                let step = self.granule_end(at).min(end) - at;
                let place = room.stored.offset + at % self.granularity;
                out.extend(self.source(room.stored.source)?.read(place, step as usize)?);
                at += step;
            } else {
                out.extend(self.read_linked(at, next - at)?);
                at = next;
            }
        }
        Ok(out)
    }

    /// All that the disk shows.
    ///
    /// # Errors
    /// See [`SimulatedHost`].
    pub fn contents(&mut self) -> Result<Vec<u8>> {
        self.read(0, self.size)
    }

    pub(super) fn source(&self, id: u32) -> Result<&JournalSource> {
        self.sources.get(&id).ok_or_else(|| broken(&format!("source {id} was not granted")))
    }

    pub(super) fn source_size(&self) -> impl Fn(u32) -> Option<u64> {
        |id| self.sources.get(&id).map(Source::size)
    }

    /// One checked answer of extents.
    pub(super) fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let extents = self.disk.extents(offset, length)?;
        check_extents(&extents, offset, self.size, &self.source_size()).map_err(|e| broken(&e))?;
        Ok(extents)
    }

    /// What the image shows without rooms.
    pub(super) fn read_linked(&mut self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let (mut at, end) = (offset, offset + length);
        let mut out = Vec::new();
        while at < end {
            for extent in self.extents(at, end - at)? {
                let (from, to) = (extent.offset.max(at), extent.end().min(end));
                if from < to {
                    out.extend(self.read_extent(&extent, from, to - from)?);
                    at = to;
                }
            }
        }
        Ok(out)
    }

    fn read_extent(&mut self, extent: &Extent, from: u64, length: u64) -> Result<Vec<u8>> {
        let skip = from - extent.offset;
        match &extent.content {
            Content::Absent => Ok(parent_bytes(&self.parent, from, length)),
            Content::Zero => Ok(vec![0; length as usize]),
            Content::Stored(stored) => {
                self.source(stored.source)?.read(stored.offset + skip, length as usize)
            }
            Content::Encoded(encoded) => {
                let stored_length = encoded.stored_length as usize;
                let stored = self.source(encoded.source)?.read(encoded.offset, stored_length)?;
                let decode = self.decode.as_ref().ok_or_else(|| broken("no decoder was given"))?;
                let block = decode(encoded, &stored)?;
                let skip = u64::from(encoded.skip) + skip;
                slice(&block, skip, length as usize).map(<[u8]>::to_vec)
            }
            Content::Computed => self.disk.read(from, length as usize),
            Content::Damaged(what) => Err(Error::Io(what.clone())),
        }
    }

    /// Where a range is stored: (source, offset, length).
    pub(super) fn stored_extents(
        &mut self,
        offset: u64,
        length: u64,
    ) -> Result<Vec<(u32, u64, u64)>> {
        let (mut at, end) = (offset, offset + length);
        let mut places = Vec::new();
        while at < end {
            for extent in self.extents(at, end - at)? {
                let (from, to) = (extent.offset.max(at), extent.end().min(end));
                if let Content::Stored(stored) = extent.content
                    && from < to
                {
                    places.push((stored.source, stored.offset + (from - extent.offset), to - from));
                }
                at = at.max(to);
            }
        }
        Ok(places)
    }
}

/// The error for an answer that breaks a rule.
pub(super) fn broken(rule: &str) -> Error {
    Error::Io(format!("the contract is broken: {rule}"))
}
