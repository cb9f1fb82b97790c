//! The names of a split set's parts: `super.img_sparsechunk.0` and so on.

use alloc::format;
use alloc::string::String;

const MARK: &str = "sparsechunk.";

/// Which part of a set a name belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartName {
    stem: String,
    /// Its number.
    pub number: u32,
}

impl PartName {
    /// Reads a name; `None` where it is no part's. Numbers alone (`disk.img.0`) are no
    /// sign: they count backups too.
    pub fn parse(name: &str) -> Option<Self> {
        let digits = name.len().checked_sub(name.rfind('.')? + 1)?;
        let (stem, number) = name.split_at_checked(name.len() - digits)?;
        let plain = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
        let marked = stem.to_ascii_lowercase().ends_with(MARK);
        let number = number.parse().ok().filter(|_| plain && marked)?;
        Some(Self { stem: stem.into(), number })
    }

    /// The name of another part.
    pub fn of(&self, number: u32) -> String {
        format!("{}{number}", self.stem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_mark() {
        let part = PartName::parse("super.img_sparsechunk.0").unwrap();
        assert_eq!((part.number, &*part.of(12)), (0, "super.img_sparsechunk.12"));
        assert_eq!(PartName::parse("a_sparsechunk.7").unwrap().number, 7);
        for other in ["disk.img.0", "sparsechunk.", "sparsechunk.+1", "sparsechunk", "x", "", "é.é"]
        {
            assert_eq!(PartName::parse(other), None, "{other}");
        }
    }
}
