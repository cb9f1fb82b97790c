//! Sector bitmaps (specification, "Data Blocks"): a bit for each sector of a block,
//! the first sector in the highest bit of the first byte. Read through a bounded cache.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Result, Source};

/// Bytes of bitmaps kept.
const CAPACITY: usize = 2 << 20;

/// One block's bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap(Vec<u8>);

impl Bitmap {
    /// All bits of `length` bytes set or clear.
    pub fn filled(length: u64, set: bool) -> Self {
        Self(alloc::vec![if set { 0xff } else { 0 }; length as usize])
    }

    /// The bytes as they lie on disk.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the bit of `sector` is set.
    pub fn has(&self, sector: u64) -> bool {
        let byte = self.0.get((sector / 8) as usize).copied().unwrap_or(0);
        byte & 0x80 >> (sector % 8) != 0
    }

    /// Sets the bits of `first..end`.
    pub fn set(&mut self, first: u64, end: u64) {
        let mut sector = first;
        while sector < end {
            let Some(byte) = self.0.get_mut((sector / 8) as usize) else { return };
            if sector.is_multiple_of(8) && sector + 8 <= end {
                *byte = 0xff;
                sector += 8;
            } else {
                *byte |= 0x80 >> (sector % 8);
                sector += 1;
            }
        }
    }

    /// The first sector from `first` on, before `end`, whose bit differs from that of
    /// `first`; or else `end`.
    pub fn run_end(&self, first: u64, end: u64) -> u64 {
        let set = self.has(first);
        let whole = if set { 0xff } else { 0 };
        let mut sector = first + 1;
        while sector < end {
            if sector.is_multiple_of(8) && self.0.get((sector / 8) as usize) == Some(&whole) {
                sector += 8;
            } else if self.has(sector) == set {
                sector += 1;
            } else {
                return sector;
            }
        }
        end
    }
}

/// The bitmaps of an image, by their places in the file.
#[derive(Debug)]
pub struct Bitmaps {
    length: u64,
    cache: BTreeMap<u64, Bitmap>,
}

impl Bitmaps {
    /// Bitmaps of `length` bytes each.
    pub fn new(length: u64) -> Self {
        Self { length, cache: BTreeMap::new() }
    }

    /// The bitmap at `place`.
    ///
    /// # Errors
    /// As [`read_bytes`].
    pub fn get(&mut self, main: &dyn Source, place: u64) -> Result<Bitmap> {
        if let Some(bitmap) = self.cache.get(&place) {
            return Ok(bitmap.clone());
        }
        let bitmap = Bitmap(read_bytes(main, place, self.length, "sector bitmap")?);
        self.keep(place, bitmap.clone());
        Ok(bitmap)
    }

    /// Writes the bitmap at `place`.
    ///
    /// # Errors
    /// What the source answers.
    pub fn put(&mut self, main: &dyn Source, place: u64, bitmap: Bitmap) -> Result<()> {
        // What a failed write leaves is not known.
        self.cache.remove(&place);
        main.write(place, bitmap.bytes())?;
        self.keep(place, bitmap);
        Ok(())
    }

    /// A full cache is emptied: to look for the oldest would cost more than it saves.
    fn keep(&mut self, place: u64, bitmap: Bitmap) {
        if self.cache.len() >= (CAPACITY / self.length.max(1) as usize).max(1) {
            self.cache.clear();
        }
        self.cache.insert(place, bitmap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_a_bit_differs() {
        let mut bitmap = Bitmap::filled(512, false);
        bitmap.set(3, 21);
        assert_eq!(bitmap.bytes()[..4], [0x1f, 0xff, 0xf8, 0]);
        assert_eq!(bitmap.run_end(0, 4096), 3);
        assert_eq!(bitmap.run_end(3, 4096), 21);
        assert_eq!(bitmap.run_end(21, 4096), 4096);
        assert_eq!(bitmap.run_end(4, 17), 17);
    }
}
