//! Entries of the block allocation table ([MS-VHDX] 2.5.1): what they say, and what
//! they may not say.

use alloc::format;

use fumehood_plugin::{Error, Result};

use crate::geometry::{ENTRY_SIZE, Geometry};
use crate::layout::{MIB, Region};
use crate::pages::{Kind, Pages};
use crate::region::Regions;

/// Bits 3–19 are reserved; the offset's MiB follow.
const RESERVED: u64 = 0xf_fff8;
const STATE: u64 = 7;

/// What an entry says of a payload block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Not in this image: the parent's, or zeroes.
    NotPresent,
    /// Zeroes, whatever a parent holds.
    Zero,
    /// All of it lies at this offset.
    Full(u64),
    /// The sectors that the bitmap names lie here, the others in the parent.
    Partial(u64),
}

impl Payload {
    /// Where it lies.
    pub fn offset(self) -> Option<u64> {
        match self {
            Payload::Full(offset) | Payload::Partial(offset) => Some(offset),
            Payload::NotPresent | Payload::Zero => None,
        }
    }

    /// The entry that says so.
    pub fn encode(self) -> u64 {
        match self {
            Payload::NotPresent => 0,
            Payload::Zero => 2,
            Payload::Full(offset) => offset | 6,
            Payload::Partial(offset) => offset | 7,
        }
    }
}

/// Where entries lie and by which rules they are read.
#[derive(Debug, Clone, Copy)]
pub struct Bat {
    /// How the disk is divided.
    pub geometry: Geometry,
    /// What no block may lie over; the BAT itself among it.
    pub regions: Regions,
    /// Whether the image has a parent.
    pub differencing: bool,
}

impl Bat {
    /// Where in the file the entry of this index stands.
    pub fn entry_offset(&self, index: u64) -> u64 {
        self.regions.bat.offset.saturating_add(index.saturating_mul(ENTRY_SIZE))
    }

    /// What the entry of a payload block says.
    ///
    /// # Errors
    /// What [`Bat::decode`] and reading answer.
    pub fn payload(&self, pages: &mut Pages, block: u64) -> Result<Payload> {
        let raw = self.raw(pages, self.geometry.payload_index(block))?;
        self.decode(raw, block, pages.file_size())
    }

    /// Changes the entry of a payload block in memory, to be logged.
    ///
    /// # Errors
    /// What reading answers.
    pub fn set_payload(&self, pages: &mut Pages, block: u64, payload: Payload) -> Result<()> {
        self.set_raw(pages, self.geometry.payload_index(block), payload.encode())
    }

    /// Where the sector bitmap of a payload block's chunk lies, if there is one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at the entry, or what reading answers.
    pub fn bitmap(&self, pages: &mut Pages, block: u64) -> Result<Option<u64>> {
        let index = self.geometry.bitmap_index(block);
        let raw = self.raw(pages, index)?;
        let field = self.entry_offset(index);
        if raw & RESERVED != 0 {
            return Err(reserved(raw, field));
        }
        match raw & STATE {
            0 => Ok(None),
            6 => {
                let offset = raw & !(RESERVED | STATE);
                let place = Region { offset, length: MIB };
                self.check_place(place, MIB, "sector bitmap", field, pages.file_size())?;
                Ok(Some(offset))
            }
            state => {
                let what = format!("expected state 0 or 6 for a sector bitmap, found {state}");
                Err(Error::corrupt(field, what))
            }
        }
    }

    /// Changes the entry of a chunk's bitmap in memory, to be logged.
    ///
    /// # Errors
    /// What reading answers.
    pub fn set_bitmap(&self, pages: &mut Pages, block: u64, offset: Option<u64>) -> Result<()> {
        let raw = offset.map_or(0, |offset| offset | 6);
        self.set_raw(pages, self.geometry.bitmap_index(block), raw)
    }

    /// The sector bitmap that a block in state 7 needs.
    ///
    /// # Errors
    /// As [`Bat::bitmap`], and [`Error::Corrupt`] where there is none.
    pub fn needed_bitmap(&self, pages: &mut Pages, block: u64) -> Result<u64> {
        self.bitmap(pages, block)?.ok_or_else(|| {
            let field = self.entry_offset(self.geometry.bitmap_index(block));
            let what = format!("expected a sector bitmap, which block {block} needs, found none");
            Error::corrupt(field, what)
        })
    }

    /// What an entry says of payload block `block`. Offsets of states without data
    /// are hints of where it lay before, and mean nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at the entry's offset.
    pub fn decode(&self, raw: u64, block: u64, file_size: u64) -> Result<Payload> {
        let field = self.entry_offset(self.geometry.payload_index(block));
        if raw & RESERVED != 0 {
            return Err(reserved(raw, field));
        }
        let offset = raw & !(RESERVED | STATE);
        let place = Region { offset, length: self.geometry.block_size };
        // The last block may be cut off where the disk ends.
        let needed = match block + 1 == self.geometry.block_count() {
            true => self.geometry.block_length(block),
            false => self.geometry.block_size,
        };
        match raw & STATE {
            0 => Ok(Payload::NotPresent),
            1..=3 => Ok(Payload::Zero),
            6 => {
                self.check_place(place, needed, "block", field, file_size)?;
                Ok(Payload::Full(offset))
            }
            7 if self.differencing => {
                self.check_place(place, needed, "block", field, file_size)?;
                Ok(Payload::Partial(offset))
            }
            state => {
                let known = if self.differencing { "0–3, 6 or 7" } else { "0–3 or 6" };
                let what = format!("expected block state {known}, found {state}");
                Err(Error::corrupt(field, what))
            }
        }
    }

    fn check_place(
        &self,
        place: Region,
        needed: u64,
        name: &str,
        field: u64,
        file_size: u64,
    ) -> Result<()> {
        let Region { offset, length } = place;
        if offset < MIB || offset.checked_add(needed).is_none_or(|end| end > file_size) {
            let what = format!(
                "expected the {name} between 1 MiB and the file's end at {file_size}, \
                 found {length} bytes at {offset}"
            );
            return Err(Error::corrupt(field, what));
        }
        if let Some(region) = self.regions.overlapped_by(Region { offset, length: needed }) {
            let what = format!("the {name} at {offset} lies over the {region}");
            return Err(Error::corrupt(field, what));
        }
        Ok(())
    }

    fn raw(&self, pages: &mut Pages, index: u64) -> Result<u64> {
        let bytes = pages.bytes(self.entry_offset(index), ENTRY_SIZE, "BAT")?;
        Ok(bytes.try_into().map_or(0, u64::from_le_bytes))
    }

    fn set_raw(&self, pages: &mut Pages, index: u64, raw: u64) -> Result<()> {
        pages.change(self.entry_offset(index), &raw.to_le_bytes(), Kind::Logged)
    }
}

fn reserved(raw: u64, field: u64) -> Error {
    Error::corrupt(field, format!("expected zeroes in bits 3 to 19 of the entry, found {raw:#x}"))
}
