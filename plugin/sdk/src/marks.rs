//! A bit for each thing of a kind, the clusters of a file for instance, to see which of
//! them are used, and used twice.

use alloc::vec;
use alloc::vec::Vec;

/// The marks, all clear at first.
#[derive(Debug)]
pub struct Marks(Vec<u8>);

impl Marks {
    /// Room for `count` marks or a few more, eight a byte: the caller sees to a limit.
    pub fn new(count: u64) -> Self {
        Self(vec![0; count.div_ceil(8) as usize])
    }

    /// Sets a mark and answers whether it was set before. One that there is no room for
    /// is never set.
    pub fn mark(&mut self, number: u64) -> bool {
        let byte = usize::try_from(number / 8).ok().and_then(|at| self.0.get_mut(at));
        let Some(byte) = byte else { return false };
        let bit = 1 << (number % 8);
        let marked = *byte & bit != 0;
        *byte |= bit;
        marked
    }

    /// How many marks are set.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_set_once() {
        let mut marks = Marks::new(9);
        assert_eq!([8, 0, 8].map(|number| marks.mark(number)), [false, false, true]);
        assert_eq!([u64::MAX, u64::MAX].map(|number| marks.mark(number)), [false, false]);
        assert_eq!(marks.count(), 2);
    }
}
