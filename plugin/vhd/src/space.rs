//! Room in the file: behind everything at its end, where the footer moves along, or
//! where a block was given up. What lies in the room is for [`crate::write`].

use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, Source};
use zerocopy::IntoBytes;

use crate::footer::Footer;
use crate::geometry::SECTOR;
use crate::header::BlockShape;

/// Blocks are placed so that their data begins on a multiple of this.
const ALIGNMENT: u64 = 4096;
/// The file is grown ahead by an eighth, and by no more than this.
const AHEAD: u64 = 16 << 20;
/// An entry of the table says no larger place.
const PLACE_LIMIT: u64 = (u32::MAX as u64 - 1) * SECTOR;

/// Free room. All of the file from `end` to the footer is zero.
#[derive(Debug)]
pub struct Space {
    end: u64,
    footer_at: u64,
    /// A place of the footer that it has left and that is not zero yet.
    left: Option<u64>,
    /// Blocks that may be used again.
    free: Vec<u64>,
    /// Blocks whose links are gone in the image, but perhaps not on storage.
    dropped: Vec<u64>,
    grown: bool,
}

impl Space {
    /// The room of a file whose footer stands at `footer_at`.
    pub fn new(footer_at: u64) -> Self {
        let (left, grown) = (None, false);
        Self { end: footer_at, footer_at, left, free: Vec::new(), dropped: Vec::new(), grown }
    }

    /// Where the footer stands.
    pub fn footer_at(&self) -> u64 {
        self.footer_at
    }

    /// Room for a block, all zero.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or what the source answers; nothing has changed then.
    pub fn block(&mut self, main: &dyn Source, footer: &Footer, shape: BlockShape) -> Result<u64> {
        let Some(place) = self.free.last().copied() else {
            return self.reserve(main, footer, shape.stored(), shape.bitmap);
        };
        if !main.discard(place, shape.stored())? {
            main.zero(place, shape.stored())?;
        }
        self.free.pop();
        Ok(place)
    }

    /// `length` bytes of zeroes at the end, so that their `aligned`th byte has a
    /// round offset.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or what the source answers; nothing has changed then.
    pub fn reserve(
        &mut self,
        main: &dyn Source,
        footer: &Footer,
        length: u64,
        aligned: u64,
    ) -> Result<u64> {
        self.clear_left(main)?;
        let place = (self.end + aligned).next_multiple_of(ALIGNMENT) - aligned;
        let end = place + length.next_multiple_of(SECTOR);
        if place > PLACE_LIMIT {
            return Err(Error::NoSpace);
        }
        if end > self.footer_at {
            let ahead = (end / 8).min(AHEAD).next_multiple_of(ALIGNMENT);
            match self.move_footer(main, footer, end + ahead) {
                Err(Error::NoSpace) => self.move_footer(main, footer, end)?,
                moved => moved?,
            }
        }
        self.clear_left(main)?;
        self.end = end;
        Ok(place)
    }

    /// Writes the footer where the file will end, and makes it durable before its old
    /// place is used.
    fn move_footer(&mut self, main: &dyn Source, footer: &Footer, to: u64) -> Result<()> {
        main.write(to, footer.as_bytes())?;
        main.flush()?;
        self.left = Some(self.footer_at);
        self.footer_at = to;
        self.grown = true;
        Ok(())
    }

    fn clear_left(&mut self, main: &dyn Source) -> Result<()> {
        if let Some(left) = self.left {
            main.write(left, &[0; SECTOR as usize])?;
            self.left = None;
        }
        Ok(())
    }

    /// Takes back room that was never linked.
    pub fn give_back(&mut self, place: u64) {
        self.free.push(place);
    }

    /// Takes back room whose link was removed.
    pub fn drop_after_flush(&mut self, place: u64) {
        self.dropped.push(place);
    }

    /// What was dropped is free from here on, and its storage is given back.
    ///
    /// # Errors
    /// What the source answers.
    pub fn flushed(&mut self, main: &dyn Source, shape: BlockShape) -> Result<()> {
        while let Some(place) = self.dropped.last().copied() {
            main.discard(place, shape.stored())?;
            self.dropped.pop();
            self.free.push(place);
        }
        Ok(())
    }

    /// Cuts off what is free at the end of the file, and gives back the storage of the
    /// rest; `footer` is written at the new end first.
    ///
    /// # Errors
    /// What the source answers.
    pub fn trim(&mut self, main: &dyn Source, footer: &Footer, shape: BlockShape) -> Result<()> {
        self.free.sort_unstable();
        while let Some(place) = self.free.last().copied() {
            let end = place + shape.stored();
            let next = (end + shape.bitmap).next_multiple_of(ALIGNMENT) - shape.bitmap;
            if end != self.end && next != self.end {
                break;
            }
            self.end = place;
            self.grown = true;
            self.free.pop();
        }
        for place in &self.free {
            main.discard(*place, shape.stored())?;
        }
        if self.grown && self.end < self.footer_at {
            main.write(self.end, footer.as_bytes())?;
            main.flush()?;
            main.resize(self.end + SECTOR)?;
            self.footer_at = self.end;
        }
        Ok(())
    }
}
