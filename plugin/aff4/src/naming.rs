//! Names of the files of a striped set: `disk_1.aff4`, `disk_2.aff4`, and so on. Nothing
//! here opens files.
//!
//! Source: AFF4 Standard v1.0a, section 7.1, which leaves names open; these are those of
//! its reference images.

use alloc::format;
use alloc::string::{String, ToString};

/// Longer numbers are dates or the like.
const MOST_DIGITS: usize = 4;

/// The series of names to which a file's own name belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    before: String,
    digits: usize,
    /// The file's own number.
    pub number: u32,
    behind: String,
}

impl Series {
    /// The series that holds `name`; `None` where no number stands before its ending.
    pub fn of(name: &str) -> Option<Self> {
        let (stem, _) = name.rsplit_once('.')?;
        let before = stem.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let digits = stem.strip_prefix(before)?;
        if digits.is_empty() || digits.len() > MOST_DIGITS {
            return None;
        }
        Some(Self {
            before: before.to_string(),
            digits: digits.len(),
            number: digits.parse().ok()?,
            behind: name.strip_prefix(stem)?.to_string(),
        })
    }

    /// The name of the file `number`.
    pub fn name(&self, number: u32) -> String {
        let (before, behind, digits) = (&self.before, &self.behind, self.digits);
        format!("{before}{number:0digits$}{behind}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_leads_to_its_series() {
        let series = Series::of("Base-Linear_1.aff4").unwrap();
        assert_eq!((series.number, series.name(2).as_str()), (1, "Base-Linear_2.aff4"));
        assert_eq!(Series::of("a.09.aff4").unwrap().name(10), "a.10.aff4");
        for other in ["disk.aff4", "disk20261121.aff4", "1", ""] {
            assert_eq!(Series::of(other), None, "{other}");
        }
    }
}
