//! The findings of a check, bounded.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::format::Finding;

/// Findings an answer has at most, so that a hostile image cannot exhaust memory.
const LIMIT: usize = 4096;

/// Findings in the order in which they were added; those past a limit are counted.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
    left_out: u64,
}

impl Findings {
    /// Adds one at an offset of the disk.
    pub fn add(&mut self, offset: u64, what: String) {
        if self.list.len() < LIMIT {
            self.list.push(Finding { offset, what, repaired: false });
        } else {
            self.left_out += 1;
        }
    }

    /// The answer.
    pub fn finish(mut self) -> Vec<Finding> {
        if self.left_out > 0 {
            let what = format!("{} further findings are left out", self.left_out);
            self.list.push(Finding { offset: 0, what, repaired: false });
        }
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_bounded() {
        let mut findings = Findings::default();
        (0..LIMIT as u64 + 3).for_each(|offset| findings.add(offset, "odd".into()));
        let list = findings.finish();
        assert_eq!(list.len(), LIMIT + 1);
        assert_eq!(list[LIMIT].what, "3 further findings are left out");
    }
}
