//! Names of the files of a split set: `.E01` … `.E99`, `.EAA` … `.ZZZ`, likewise from
//! `.s01`, and `.Ex01` … `.Ex99`, `.ExAA` … `.EzZZ`. Nothing here opens files.
//!
//! Source: libewf, "Expert Witness Compression Format", Segment file extensions; the
//! same, "Version 2", Segment file extensions.

use alloc::format;
use alloc::string::{String, ToString};

/// Segments numbered with digits; from the next on, letters.
const LAST_IN_DIGITS: u32 = 99;
const LETTERS: u32 = 26;

/// The series of names to which a file's own name belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    stem: String,
    /// What stands before the letter that counts on: an `E` in version 2.
    lead: Option<char>,
    /// The letter that counts on past 99 and 26 × 26: `E` or `S`, or `x`.
    first: char,
    /// The last that it becomes.
    last: char,
    /// Digits or letters behind it are lower case.
    lower: bool,
}

impl Series {
    /// The series that holds `name`, whichever of its segments that is; `None`
    /// where its ending is of no series.
    pub fn of(name: &str) -> Option<Self> {
        let (stem, ending) = name.rsplit_once('.')?;
        let (lead, counting, second, third) = match *ending.as_bytes() {
            [counting, second, third] => (None, counting, second, third),
            [lead @ (b'E' | b'e'), counting, second, third] => {
                (Some(lead), counting, second, third)
            }
            _ => return None,
        };
        let digits = second.is_ascii_digit() && third.is_ascii_digit();
        let letters = second.is_ascii_alphabetic() && third.is_ascii_alphabetic();
        let upper = counting.to_ascii_uppercase();
        let first = match (lead, upper) {
            (Some(_), b'X') => b'X',
            (Some(_), b'Y' | b'Z') if letters => b'X',
            (None, b'E' | b'S') => upper,
            // The E series reaches the letter S only with its 9564th file.
            (None, b'F'..=b'R') if letters => b'E',
            (None, b'T'..=b'Z') if letters => b'S',
            _ => return None,
        };
        let as_given = |letter: u8| match counting.is_ascii_lowercase() {
            true => char::from(letter.to_ascii_lowercase()),
            false => char::from(letter),
        };
        (digits || letters).then(|| Self {
            stem: stem.to_string(),
            lead: lead.map(char::from),
            first: as_given(first),
            last: as_given(b'Z'),
            lower: lead.unwrap_or(counting).is_ascii_lowercase(),
        })
    }

    /// The name of segment `number`, counted from 1; `None` past `.ZZZ`.
    pub fn name(&self, number: u32) -> Option<String> {
        if number <= LAST_IN_DIGITS {
            return Some(self.join(self.first, &format!("{number:02}")));
        }
        let letters = number - LAST_IN_DIGITS - 1;
        let counting = u32::from(self.first).checked_add(letters / (LETTERS * LETTERS))?;
        let counting = char::from_u32(counting).filter(|letter| *letter <= self.last)?;
        let start = u32::from(if self.lower { b'a' } else { b'A' });
        let letter = |place: u32| char::from_u32(start + place % LETTERS);
        let tail: Option<String> =
            [letter(letters / LETTERS), letter(letters)].into_iter().collect();
        Some(self.join(counting, &tail?))
    }

    fn join(&self, counting: char, tail: &str) -> String {
        let lead = self.lead.map(String::from).unwrap_or_default();
        format!("{}.{lead}{counting}{tail}", self.stem)
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
    fn the_second_version_has_a_series_of_its_own() {
        let series = Series::of("d.Ex01").unwrap();
        for (number, name) in [(2, "Ex02"), (99, "Ex99"), (100, "ExAA"), (775, "ExZZ")] {
            assert_eq!(series.name(number).unwrap(), format!("d.{name}"));
        }
        assert_eq!(series.name(776).unwrap(), "d.EyAA");
        assert_eq!(series.name(99 + 3 * 676).unwrap(), "d.EzZZ");
        assert_eq!(series.name(99 + 3 * 676 + 1), None);
        assert_eq!(series.name(u32::MAX), None);
        assert_eq!(Series::of("d.ex07").unwrap().name(100).unwrap(), "d.exaa");
        assert_eq!(Series::of("d.EX07").unwrap().name(776).unwrap(), "d.EYAA");
        assert_eq!(Series::of("d.EyAB").unwrap().name(1).unwrap(), "d.Ex01");
        for name in ["a.Ey01", "a.Lx01", "a.Ex1", "a.Ex001", "a.Ex0A", "a.EwAA"] {
            assert_eq!(Series::of(name), None, "{name}");
        }
    }

    #[test]
    fn any_member_leads_to_its_series() {
        for name in ["a.E01", "a.E37", "a.EAB", "a.QZZ"] {
            assert_eq!(Series::of(name).unwrap().name(1).unwrap(), "a.E01");
        }
        for name in ["a", "a.dd", "a.d01", "a.E1", "a.E0x", "a.F01", "a.A01", "a.Eß"] {
            assert_eq!(Series::of(name), None, "{name}");
        }
    }
}
