//! Zeroing: whole blocks by their state, parts of blocks by their bytes.

use fumehood_plugin::Result;

use crate::bat::Payload;
use crate::store::Store;

impl Store {
    /// Makes a range read as zeroes; see [`fumehood_plugin::Disk::zero`].
    ///
    /// # Errors
    /// [`fumehood_plugin::Error::OutOfRange`], [`fumehood_plugin::Error::ReadOnly`], [`fumehood_plugin::Error::Corrupt`] at an entry, and
    /// what the source answers; the same range may be zeroed again then.
    pub fn zero(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        let end = self.check_granules(offset, length)?;
        self.begin()?;
        // The blocks of a fixed image stay where they are.
        let drop = drop && !self.metadata.fixed;
        let mut at = offset;
        while at < end {
            let geometry = self.bat.geometry;
            let block = at / geometry.block_size;
            let stop = end.min(geometry.block_start(block + 1));
            match stop - at == geometry.block_length(block) {
                true => self.zero_block(block, drop)?,
                false => self.zero_sectors(block, at, stop)?,
            }
            self.write_out_if_much()?;
            at = stop;
        }
        Ok(())
    }

    fn zero_block(&mut self, block: u64, drop: bool) -> Result<()> {
        let geometry = self.bat.geometry;
        let before = self.payload(block)?;
        match before {
            Payload::Full(room) | Payload::Partial(room) if drop => {
                self.set_payload(block, Payload::Zero)?;
                self.give_back(room, geometry.block_size)?;
            }
            Payload::Full(room) | Payload::Partial(room) => {
                self.write_zeroes(room, geometry.block_length(block))?;
                self.set_payload(block, Payload::Full(room))?;
            }
            before if self.shows_parent(before) => self.set_payload(block, Payload::Zero)?,
            _ => {}
        }
        match self.writing()?.rooms.remove(&block) {
            Some(room) => self.give_back(room, geometry.block_size),
            None => Ok(()),
        }
    }

    /// Zeroes a part of a block, of which other parts may be placed or linked.
    fn zero_sectors(&mut self, block: u64, from: u64, to: u64) -> Result<()> {
        let skip = from - self.bat.geometry.block_start(block);
        let before = self.payload(block)?;
        match before {
            Payload::Full(room) | Payload::Partial(room) => {
                self.write_zeroes(room + skip, to - from)?;
                self.link(block, from, to)
            }
            before if self.shows_parent(before) => {
                let (room, is_new) = self.room(block, before)?;
                if !is_new {
                    self.write_zeroes(room + skip, to - from)?;
                }
                self.link(block, from, to)
            }
            // It reads as zeroes; what was written to its room must not show.
            _ => match self.writing()?.rooms.get(&block).copied() {
                Some(room) => self.write_zeroes(room + skip, to - from),
                None => Ok(()),
            },
        }
    }

    /// Writes zeroes into the file, which links to come may rely on.
    pub fn write_zeroes(&mut self, offset: u64, length: u64) -> Result<()> {
        self.writing()?.unsettled = true;
        self.source.zero(offset, length)
    }
}
