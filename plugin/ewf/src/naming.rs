//! Names of the files of a split set: `.E01` … `.E99`, `.EAA` … `.ZZZ`, and
//! likewise from `.s01`. Nothing here opens files.
//!
//! Source: libewf, "Expert Witness Compression Format", Segment file extensions.

use alloc::format;
use alloc::string::{String, ToString};

/// Segments numbered with digits; from the next on, letters.
const LAST_IN_DIGITS: u32 = 99;
const LETTERS: u32 = 26;

/// The series of names to which a file's own name belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    stem: String,
    /// `E` or `S`, always upper case.
    family: u8,
    lower: bool,
}

impl Series {
    /// The series that holds `name`, whichever of its segments that is; `None`
    /// where its ending is of no series.
    pub fn of(name: &str) -> Option<Self> {
        let (stem, ending) = name.rsplit_once('.')?;
        let &[first, second, third] = ending.as_bytes() else { return None };
        let family = match first.to_ascii_uppercase() {
            letter @ (b'E' | b'S') => letter,
            // The E series reaches the letter S only with its 9564th file.
            letter if second.is_ascii_alphabetic() => match letter {
                b'F'..=b'R' => b'E',
                b'T'..=b'Z' => b'S',
                _ => return None,
            },
            _ => return None,
        };
        let digits = second.is_ascii_digit() && third.is_ascii_digit();
        let letters = second.is_ascii_alphabetic() && third.is_ascii_alphabetic();
        let lower = first.is_ascii_lowercase();
        (digits || letters).then(|| Self { stem: stem.to_string(), family, lower })
    }

    /// The name of segment `number`, counted from 1; `None` past `.ZZZ`.
    pub fn name(&self, number: u16) -> Option<String> {
        let number = u32::from(number);
        if number <= LAST_IN_DIGITS {
            let ending = format!("{}{number:02}", char::from(self.family));
            return Some(self.join(&ending));
        }
        let letters = number - LAST_IN_DIGITS - 1;
        let first = u32::from(self.family) + letters / (LETTERS * LETTERS);
        if first > u32::from(b'Z') {
            return None;
        }
        let letter = |place: u32| u32::from(b'A') + place % LETTERS;
        let ending = [first, letter(letters / LETTERS), letter(letters)];
        let ending: Option<String> = ending.into_iter().map(char::from_u32).collect();
        Some(self.join(&ending?))
    }

    fn join(&self, ending: &str) -> String {
        let ending = if self.lower { ending.to_ascii_lowercase() } else { ending.to_string() };
        format!("{}.{ending}", self.stem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_runs_through_digits_and_letters() {
        let upper = Series::of("disk.v1.E01").unwrap();
        for (number, name) in
            [(1, "E01"), (99, "E99"), (100, "EAA"), (125, "EAZ"), (126, "EBA"), (775, "EZZ")]
        {
            assert_eq!(upper.name(number).unwrap(), format!("disk.v1.{name}"));
        }
        assert_eq!(upper.name(776).unwrap(), "disk.v1.FAA");
        assert_eq!(upper.name(99 + 22 * 676).unwrap(), "disk.v1.ZZZ");
        assert_eq!(upper.name(99 + 22 * 676 + 1), None);
        let smart = Series::of("d.s01").unwrap();
        assert_eq!(smart.name(2).unwrap(), "d.s02");
        assert_eq!(smart.name(100).unwrap(), "d.saa");
        assert_eq!(smart.name(776).unwrap(), "d.taa");
    }

    #[test]
    fn any_member_leads_to_its_series() {
        for name in ["a.E01", "a.E37", "a.EAB", "a.QZZ"] {
            assert_eq!(Series::of(name).unwrap().name(1).unwrap(), "a.E01");
        }
        for name in ["a", "a.dd", "a.d01", "a.E1", "a.E0x", "a.Ex01", "a.F01", "a.A01", "a.Eß"] {
            assert_eq!(Series::of(name), None, "{name}");
        }
    }
}
