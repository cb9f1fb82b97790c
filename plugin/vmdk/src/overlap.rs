//! Which bytes of a file grains take, to find two that take the same.
//!
//! Writers place grains at multiples of the grain's size from the first one on. Those
//! take a bit each; the few that lie otherwise, if any, are listed and compared at the
//! end.

use alloc::vec;
use alloc::vec::Vec;

/// Bytes of bits: for 8 TiB of file in grains of 64 KiB. What lies behind is not
/// compared.
const BITS_LIMIT: u64 = 16 << 20;
/// The most grains listed that lie between the slots.
const ASTRAY_LIMIT: usize = 1 << 16;

/// What is taken of one file.
pub struct Taken {
    grain: u64,
    /// Where the first grain lies, beyond a multiple of the grain.
    skew: Option<u64>,
    bits: Vec<u8>,
    /// Places between the slots, and what they hold of the disk.
    astray: Vec<(u64, u64)>,
}

impl Taken {
    /// Nothing yet of a file of `size` bytes, in grains of `grain` bytes.
    pub fn new(size: u64, grain: u64) -> Self {
        let bytes = (size / grain / 8 + 1).min(BITS_LIMIT);
        Self { grain, skew: None, bits: vec![0; bytes as usize], astray: Vec::new() }
    }

    /// Takes the grain at a byte of the file, which is at `offset` of the disk; whether
    /// it was free, as far as can be said yet.
    pub fn take(&mut self, place: u64, offset: u64) -> bool {
        let skew = *self.skew.get_or_insert(place % self.grain);
        if place % self.grain != skew {
            if self.astray.len() < ASTRAY_LIMIT {
                self.astray.push((place, offset));
            }
            return true;
        }
        let (byte, bit) = slot(place / self.grain);
        let Some(byte) = self.bits.get_mut(byte) else { return true };
        let free = *byte & bit == 0;
        *byte |= bit;
        free
    }

    /// Places between the slots that overlap others, and what they hold of the disk.
    pub fn clashes(&mut self) -> Vec<(u64, u64)> {
        self.astray.sort_unstable();
        let skew = self.skew.unwrap_or(0);
        let is_taken = |number: u64| {
            let (byte, bit) = slot(number);
            self.bits.get(byte).is_some_and(|byte| byte & bit != 0)
        };
        let mut before: Option<u64> = None;
        let mut clashes = Vec::new();
        for (place, offset) in &self.astray {
            // It reaches from one slot into the next; before the first is none.
            let first = place.checked_sub(skew).map(|behind| behind / self.grain);
            let next = first.map_or(0, |first| first + 1);
            let close = before.is_some_and(|before| place - before < self.grain);
            if close || first.is_some_and(is_taken) || is_taken(next) {
                clashes.push((*place, *offset));
            }
            before = Some(*place);
        }
        clashes
    }
}

/// The byte and the bit of a slot.
fn slot(number: u64) -> (usize, u8) {
    (usize::try_from(number / 8).unwrap_or(usize::MAX), 1 << (number % 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_the_same_is_found() {
        let mut taken = Taken::new(1 << 20, 4096);
        assert!(taken.take(8192 + 512, 0));
        assert!(taken.take(12288 + 512, 1));
        assert!(!taken.take(8192 + 512, 2));
        assert_eq!(taken.clashes(), []);
        // Before the first slot, behind and over taken ones, and over each other.
        for (place, offset) in
            [(0, 3), (8192, 4), (16384, 5), (40960, 6), (41984, 7), (60000, 8), (4096, 9)]
        {
            assert!(taken.take(place, offset));
        }
        let clashes = taken.clashes();
        let clashes: Vec<u64> = clashes.iter().map(|(_, offset)| *offset).collect();
        // 4096 ends where 8192 begins, and 8192 reaches into a slot that is taken.
        assert_eq!(clashes, [4, 5, 7]);
        // What lies behind the bits is not compared.
        let mut taken = Taken::new(4096, 4096);
        assert!(taken.take(1 << 40, 0) && taken.take(1 << 40, 1));
    }

    #[test]
    fn slots_count_from_the_first_grain() {
        let mut taken = Taken::new(1 << 20, 4096);
        assert!(taken.take(512, 0) && taken.take(4608, 1));
        assert!(taken.take(8192, 2));
        assert_eq!(taken.clashes(), [(8192, 2)]);
    }
}
