//! Changes of the image as a whole: another size, another parent, and its end.

use fumehood_plugin::{Error, Parent, Result};

use crate::bat::Payload;
use crate::bitmap;
use crate::geometry::{ENTRY_SIZE, Geometry};
use crate::guid::Guid;
use crate::header::Header;
use crate::layout::{KIB_64, MIB, REGION_TABLES, Region};
use crate::metadata::{check_geometry, set_parent, set_size};
use crate::pages::Kind;
use crate::region;
use crate::store::Store;

impl Store {
    /// Changes the disk's size; see [`fumehood_plugin::Disk::resize`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a size the format cannot have, [`Error::ReadOnly`],
    /// and what the source answers: the size is then as it was.
    pub fn resize(&mut self, size: u64) -> Result<()> {
        let old = self.bat.geometry;
        let new = Geometry { size, ..old };
        check_geometry(new).map_err(Error::Unsupported)?;
        self.begin()?;
        self.flush()?;
        let resized = match size > old.size {
            true => self.grow(new),
            false => self.announce(new),
        };
        if let Err(error) = resized {
            self.bat.geometry = old;
            set_size(&mut self.pages, self.bat.regions.metadata, old.size)?;
            return Err(error);
        }
        if size < old.size {
            self.free_behind(old)?;
        }
        self.flush()
    }

    /// Shows the new size, and makes it last.
    fn announce(&mut self, new: Geometry) -> Result<()> {
        self.bat.geometry = new;
        set_size(&mut self.pages, self.bat.regions.metadata, new.size)?;
        self.write_out()
    }

    fn grow(&mut self, new: Geometry) -> Result<()> {
        let old = self.bat.geometry;
        let needed = new.entry_count(self.bat.differencing) * ENTRY_SIZE;
        if needed > self.bat.regions.bat.length {
            self.move_bat(needed)?;
        }
        self.clear_tail()?;
        self.bat.geometry = new;
        for block in old.block_count()..new.block_count() {
            // Whatever a larger disk left there means nothing any more.
            if self.bat.differencing && block.is_multiple_of(new.chunk_ratio()) {
                self.bat.set_bitmap(&mut self.pages, block, None)?;
            }
            let payload = match (self.bat.differencing, self.metadata.fixed) {
                (true, _) => Payload::Zero,
                (false, true) => Payload::Full(self.take(new.block_size)?),
                (false, false) => Payload::NotPresent,
            };
            self.set_payload(block, payload)?;
            self.write_out_if_much()?;
        }
        let start = old.block_start(old.block_count()).min(new.size);
        if self.metadata.parent.is_some() && start > old.size {
            self.zero(old.size, start - old.size, true)?;
        }
        self.announce(new)
    }

    /// Bytes of the last block behind the disk's end become part of the disk: they are
    /// to be in the file, and zeroes.
    fn clear_tail(&mut self) -> Result<()> {
        let geometry = self.bat.geometry;
        let block = geometry.block_count() - 1;
        let used = geometry.block_length(block);
        let Some(room) = self.payload(block)?.offset() else { return Ok(()) };
        if self.pages.file_size() < room + geometry.block_size {
            self.pages.resize(room + geometry.block_size)?;
        }
        match geometry.block_size - used {
            0 => Ok(()),
            length => self.write_zeroes(room + used, length),
        }
    }

    /// Blocks and bitmaps behind the new end are free.
    fn free_behind(&mut self, old: Geometry) -> Result<()> {
        let new = self.bat.geometry;
        for block in new.block_count()..old.block_count() {
            self.bat.geometry = old;
            let payload = self.payload(block);
            self.bat.geometry = new;
            let room = self.writing()?.rooms.remove(&block);
            for offset in [payload?.offset(), room].into_iter().flatten() {
                self.give_back(offset, new.block_size)?;
            }
            self.set_payload(block, Payload::NotPresent)?;
            if self.bat.differencing && block.is_multiple_of(new.chunk_ratio()) {
                self.free_bitmap(block)?;
            }
            self.write_out_if_much()?;
        }
        Ok(())
    }

    fn free_bitmap(&mut self, block: u64) -> Result<()> {
        if let Some(bits) = self.bat.bitmap(&mut self.pages, block)? {
            self.bat.set_bitmap(&mut self.pages, block, None)?;
            self.give_back(bits, MIB)?;
        }
        Ok(())
    }

    /// Moves the BAT to where it has room for `needed` bytes. Its old place is not used
    /// again in this session: the log may still speak of it.
    fn move_bat(&mut self, needed: u64) -> Result<()> {
        let old = self.bat.regions.bat;
        let length = needed.next_multiple_of(MIB);
        let offset = self.take(length)?;
        for at in (0..old.length).step_by(KIB_64 as usize) {
            let bytes = self.pages.bytes(old.offset + at, KIB_64, "BAT")?;
            self.source.write(offset + at, &bytes)?;
        }
        self.pages.forget(offset, length);
        self.bat.regions.bat = Region { offset, length };
        let table = region::moved_bat(&mut self.pages, self.bat.regions.bat)?;
        for place in REGION_TABLES {
            self.pages.change(place, &table, Kind::Logged)?;
        }
        self.write_out()
    }

    /// Records another parent, or none; see [`fumehood_plugin::Disk::rebase`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an image made without a parent, and for a parent that
    /// the format cannot record; [`Error::ReadOnly`], and what the source answers.
    pub fn rebase(&mut self, parent: Option<Parent>) -> Result<()> {
        if self.metadata.parent.is_none() {
            return match parent {
                None => Ok(()),
                Some(_) => {
                    let what = "a parent for an image that was made without one";
                    Err(Error::Unsupported(what.into()))
                }
            };
        }
        self.begin()?;
        if parent.is_none() {
            self.fill_blocks()?;
        }
        self.flush()?;
        if parent.is_none() {
            for block in (0..self.bat.geometry.block_count()).step_by(self.chunk_step()) {
                self.free_bitmap(block)?;
                self.write_out_if_much()?;
            }
            self.write_out()?;
        }
        let before = core::mem::replace(&mut self.metadata.parent, parent);
        let changed = set_parent(&mut self.pages, self.bat.regions.metadata, &self.metadata);
        if let Err(error) = changed {
            self.metadata.parent = before;
            return Err(error);
        }
        self.flush()
    }

    fn chunk_step(&self) -> usize {
        // At most 2^15.
        self.bat.geometry.chunk_ratio() as usize
    }

    /// Makes blocks whole of which sectors are a parent's: those become zeroes, since
    /// the host has copied what it wants to keep.
    fn fill_blocks(&mut self) -> Result<()> {
        let geometry = self.bat.geometry;
        for block in 0..geometry.block_count() {
            let Payload::Partial(room) = self.payload(block)? else { continue };
            let bits = self.bat.needed_bitmap(&mut self.pages, block)?;
            let first = geometry.first_bit(block);
            let last = first + geometry.block_length(block) / geometry.sector;
            let mut bit = first;
            while bit < last {
                let (here, next) = bitmap::run(&mut self.pages, bits, bit, last)?;
                if !here {
                    let offset = room + (bit - first) * geometry.sector;
                    self.write_zeroes(offset, (next - bit) * geometry.sector)?;
                }
                bit = next;
            }
            self.set_payload(block, Payload::Full(room))?;
            self.write_out_if_much()?;
        }
        Ok(())
    }

    /// Leaves the image as one that was closed properly; see
    /// [`fumehood_plugin::Image::close`].
    ///
    /// # Errors
    /// What the source answers.
    pub fn close(&mut self) -> Result<()> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let bitmaps = core::mem::take(&mut writing.bitmap_rooms).into_values();
        let bitmaps = bitmaps.map(|offset| Region { offset, length: MIB });
        bitmaps.for_each(|room| writing.space.give_back(room));
        let length = self.bat.geometry.block_size;
        for offset in core::mem::take(&mut writing.rooms).into_values() {
            writing.space.give_back(Region { offset, length });
        }
        self.flush()?;
        if !self.is_writable() {
            return Ok(());
        }
        // What the log speaks of is durable where it belongs: the log may end.
        self.settle()?;
        let next = Header { log: Guid::NIL, ..self.header };
        self.header.replace(&*self.source, next)?;
        let writing = self.writing()?;
        (writing.journal, writing.begun) = (None, false);
        let end = writing.space.trim();
        match end < self.pages.file_size() {
            true => self.pages.resize(end),
            false => Ok(()),
        }
    }
}
