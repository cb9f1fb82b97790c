//! The host's write path over memory: in place where it may be, into rooms
//! elsewhere, committed at a flush. Every answer is checked; which rules one answer
//! shows is in [`super::rules`], what is remembered of rooms in [`super::rooms`].

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::journal::{JournalSource, all_zero};
use super::reading::broken;
use super::rooms::{Room, Rooms, State};
use super::rules::check_placements;
use crate::error::{Error, Result};
use crate::extent::{Content, Encoded, Extent, Placement, Stored};
use crate::format::{Disk, Image};
use crate::source::Source;

/// Decodes a block: (what, stored bytes) → decoded bytes.
pub type DecodeBlock = Box<dyn Fn(&Encoded, &[u8]) -> Result<Vec<u8>>>;

/// Carries out writes on an image's first disk the way the host does.
///
/// A method fails with what the plugin answered, or with [`Error::Io`] and the
/// broken rule for an answer that the contract does not allow.
pub struct SimulatedHost {
    pub(super) image: Box<dyn Image>,
    pub(super) disk: Box<dyn Disk>,
    pub(super) sources: BTreeMap<u32, JournalSource>,
    pub(super) parent: Vec<u8>,
    pub(super) size: u64,
    pub(super) granularity: u64,
    pub(super) decode: Option<DecodeBlock>,
    pub(super) rooms: Rooms,
    /// Storage given back since the last flush: (source, offset, length).
    dropped: Vec<(u32, u64, u64)>,
    commits: u64,
}

impl SimulatedHost {
    /// Over `image`, which lies in `main`; `parent` is what shows where it has
    /// nothing, and ends in zeroes.
    ///
    /// # Errors
    /// What the image answers for its first disk.
    pub fn new(image: Box<dyn Image>, main: JournalSource, parent: Vec<u8>) -> Result<Self> {
        let info =
            image.disks().into_iter().next().ok_or_else(|| broken("an image of no disks"))?;
        if !info.granularity.is_power_of_two() {
            return Err(broken(&format!("a granularity of {}", info.granularity)));
        }
        let granularity = u64::from(info.granularity);
        Ok(Self {
            disk: image.disk(0)?,
            image,
            sources: BTreeMap::from([(main.id(), main)]),
            parent,
            size: info.size,
            granularity,
            decode: None,
            rooms: Rooms::new(granularity),
            dropped: Vec::new(),
            commits: 0,
        })
    }

    /// Adds another source that the image's extents may name.
    #[must_use]
    pub fn with_source(mut self, source: JournalSource) -> Self {
        self.sources.insert(source.id(), source);
        self
    }

    /// Decodes encoded extents with `decode`.
    #[must_use]
    pub fn with_decoder(mut self, decode: DecodeBlock) -> Self {
        self.decode = Some(decode);
        self
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The disk, for calls of its own, such as [`Disk::check`].
    pub fn disk(&mut self) -> &mut dyn Disk {
        &mut *self.disk
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// See [`SimulatedHost`].
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = self.checked_end(offset, bytes.len() as u64)?;
        let mut at = offset;
        while at < end {
            let rest = &bytes[(at - offset) as usize..];
            at += match self.rooms.at(at) {
                Some(room) => self.write_to_room(room, at, rest)?,
                None => self.write_elsewhere(at, rest)?,
            };
        }
        Ok(())
    }

    /// Makes a range of any alignment read as zeroes: whole granules by the plugin,
    /// the rest by writing.
    ///
    /// # Errors
    /// See [`SimulatedHost`].
    pub fn zero(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        let end = self.checked_end(offset, length)?;
        let start = offset.next_multiple_of(self.granularity).min(end);
        let whole_end = if end == self.size { end } else { end - end % self.granularity };
        if whole_end <= start || start % self.granularity != 0 {
            return self.write(offset, &vec![0; length as usize]);
        }
        self.write(offset, &vec![0; (start - offset) as usize])?;
        self.zero_granules(start, whole_end - start, drop)?;
        self.write(whole_end, &vec![0; (end - whole_end) as usize])
    }

    /// Commits what is pending, after everything so far is durable.
    ///
    /// # Errors
    /// See [`SimulatedHost`].
    pub fn commit(&mut self) -> Result<()> {
        let ranges = self.rooms.pending(self.size);
        if ranges.is_empty() {
            return Ok(());
        }
        self.sync()?;
        let mut expected = Vec::new();
        for (offset, length) in &ranges {
            expected.push(self.read(*offset, *length)?);
        }
        self.disk.commit(&ranges)?;
        for ((offset, length), expected) in ranges.iter().zip(&expected) {
            self.rooms.release(*offset, *length);
            if self.read_linked(*offset, *length)? != *expected {
                return Err(broken(&format!("commit of {length} at {offset} did not link them")));
            }
        }
        self.commits += 1;
        if self.commits.is_multiple_of(2) {
            self.rooms.forget_unused();
        }
        Ok(())
    }

    /// Makes all that was written durable, as a guest's flush does.
    ///
    /// # Errors
    /// See [`SimulatedHost`].
    pub fn flush(&mut self) -> Result<()> {
        if self.rooms.pending(self.size).is_empty() {
            self.sync()?;
        }
        self.commit()?;
        self.disk.flush()?;
        self.dropped.clear();
        Ok(())
    }

    /// Grows or shrinks the disk.
    ///
    /// # Errors
    /// See [`SimulatedHost`].
    pub fn resize(&mut self, size: u64) -> Result<()> {
        self.commit()?;
        self.rooms = Rooms::new(self.granularity);
        self.disk.resize(size)?;
        let old = core::mem::replace(&mut self.size, size);
        if size > old && !all_zero(&self.read(old, size - old)?) {
            return Err(broken(&format!("not all zero behind the old end at {old}")));
        }
        Ok(())
    }

    /// Flushes, and closes the image.
    ///
    /// # Errors
    /// See [`SimulatedHost`].
    pub fn close(mut self) -> Result<()> {
        self.flush()?;
        self.image.close()?;
        self.sync()
    }

    pub(super) fn checked_end(&self, offset: u64, length: u64) -> Result<u64> {
        let end = offset.checked_add(length).filter(|end| *end <= self.size);
        end.ok_or(Error::OutOfRange)
    }

    pub(super) fn granule_end(&self, at: u64) -> u64 {
        (at - at % self.granularity + self.granularity).min(self.size)
    }

    fn sync(&self) -> Result<()> {
        self.sources.values().try_for_each(JournalSource::flush)
    }

    /// Writes what of `bytes` lies in the granule at `at` into its room.
    fn write_to_room(&mut self, room: Room, at: u64, bytes: &[u8]) -> Result<u64> {
        let end = self.granule_end(at);
        let start = at - at % self.granularity;
        let step = (end - at).min(bytes.len() as u64);
        let bytes = &bytes[..step as usize];
        let mut granule = self.read(start, end - start)?;
        let zero_before = all_zero(&granule);
        granule[(at - start) as usize..][..bytes.len()].copy_from_slice(bytes);
        let (skip, payload) = match room.state {
            State::Pending => (at - start, bytes),
            _ if room.zeroed && zero_before => (at - start, bytes),
            _ => (0, &granule[..]),
        };
        if !(room.zeroed && all_zero(payload)) {
            self.source(room.stored.source)?.write(room.stored.offset + skip, payload)?;
        }
        self.rooms.use_at(at);
        Ok(step)
    }

    /// Writes in place where the extents allow it, or asks for room; gives how far
    /// that came.
    fn write_elsewhere(&mut self, at: u64, bytes: &[u8]) -> Result<u64> {
        let states = [State::Pending, State::Known];
        let end = (at + bytes.len() as u64).min(self.rooms.next(at, &states).unwrap_or(u64::MAX));
        let extents = self.extents(at, end - at)?;
        let native = |extent: &&Extent| matches!(extent.content, Content::Stored(s) if s.writable);
        let first = extents.iter().find(|extent| extent.end() > at);
        if let Some(Extent { offset, length, content: Content::Stored(stored) }) = first
            && stored.writable
        {
            let step = (offset + length).min(end) - at;
            let place = stored.offset + (at - offset);
            self.source(stored.source)?.write(place, &bytes[..step as usize])?;
            return Ok(step);
        }
        let next = extents.iter().filter(|extent| extent.offset > at).find(native);
        let end = next.map_or(end, |extent| extent.offset.min(end));
        self.place(at, end - at, bytes)
    }

    /// Asks for room for the first `length` of `bytes`. Rooms are taken up; what may
    /// be written in place at the beginning is, and its length returned.
    fn place(&mut self, offset: u64, length: u64, bytes: &[u8]) -> Result<u64> {
        let visible = self.read(offset, length)?;
        let placements = self.disk.place(offset, length)?;
        let shape = (self.size, self.granularity);
        check_placements(&placements, (offset, length), shape, &self.source_size())
            .map_err(|e| broken(&e))?;
        if self.read(offset, length)? != visible {
            return Err(broken(&format!("place of {length} at {offset} changed what is visible")));
        }
        for placement in placements.iter().filter(|placement| placement.fresh) {
            self.check_fresh(placement)?;
            self.rooms.take_up(placement).map_err(|e| broken(&e))?;
        }
        let first =
            placements.iter().find(|placement| placement.offset + placement.length > offset);
        let Some(first) = first.filter(|placement| !placement.fresh) else { return Ok(0) };
        let end = (first.offset + first.length).min(offset + length);
        let place =
            Stored { offset: first.stored.offset + (offset - first.offset), ..first.stored };
        self.check_in_place(offset, end - offset, place)?;
        let bytes = &bytes[..(end - offset) as usize];
        self.source(place.source)?.write(place.offset, bytes)?;
        if self.read_linked(offset, end - offset)? != bytes {
            return Err(broken(&format!("what was written in place at {offset} is not visible")));
        }
        Ok(end - offset)
    }

    /// That fresh room is zeroed if it says so, and is not what was just given back.
    fn check_fresh(&self, placement: &Placement) -> Result<()> {
        let Stored { source, offset, .. } = placement.stored;
        let end = offset + placement.length;
        let reused = self
            .dropped
            .iter()
            .find(|(id, start, length)| *id == source && *start < end && offset < start + length);
        if reused.is_some() {
            return Err(broken(&format!("given back and not flushed: {placement:?}")));
        }
        let room = self.source(source)?.read(offset, placement.length as usize)?;
        if placement.zeroed && !all_zero(&room) {
            return Err(broken(&format!("not zeroed: {placement:?}")));
        }
        Ok(())
    }

    /// That the extents show a range where a placement says its bytes already are.
    fn check_in_place(&mut self, offset: u64, length: u64, place: Stored) -> Result<()> {
        for extent in self.extents(offset, length)? {
            let from = extent.offset.max(offset);
            if from >= offset + length || extent.end() <= offset {
                continue;
            }
            let expected = place.offset + (from - offset);
            let same = matches!(extent.content, Content::Stored(stored)
                if stored.source == place.source
                    && stored.offset + (from - extent.offset) == expected);
            if !same {
                return Err(broken(&format!("not fresh at {place:?}, but shown as {extent:?}")));
            }
        }
        Ok(())
    }

    fn zero_granules(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        let before = self.stored_extents(offset, length)?;
        self.disk.zero(offset, length, drop)?;
        self.rooms.release(offset, length);
        let after = self.stored_extents(offset, length)?;
        self.dropped.extend(before.into_iter().filter(|place| !after.contains(place)));
        if !all_zero(&self.read_linked(offset, length)?) {
            return Err(broken(&format!("{length} at {offset} were zeroed and are not zero")));
        }
        Ok(())
    }
}
