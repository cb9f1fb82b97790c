//! Text out of an image: character sets, dates, and making it fit to show.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The most characters of one value that a detail shows.
const SHOWN: usize = 256;

/// UTF-16 with a byte order mark, little-endian without one.
pub fn utf16(bytes: &[u8]) -> String {
    let (bytes, big) = match bytes {
        [0xff, 0xfe, rest @ ..] => (rest, false),
        [0xfe, 0xff, rest @ ..] => (rest, true),
        _ => (bytes, false),
    };
    let (pairs, _) = bytes.as_chunks::<2>();
    let read = |pair: &[u8; 2]| {
        if big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) }
    };
    let units = pairs.iter().map(read);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// One byte a character: UTF-8 where it is that, else Latin-1, for the code page
/// is not recorded.
pub fn narrow(bytes: &[u8]) -> String {
    match core::str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// `text` without what could disturb a terminal or a reader: control characters,
/// and marks that reorder the line.
pub fn harmless(text: &str) -> String {
    let replace = |character: char| match character {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        control if control.is_control() => ' ',
        other => other,
    };
    text.chars().map(replace).collect()
}

/// The same, cut to the length of a detail.
pub fn brief(text: &str) -> String {
    let text = harmless(text);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A date of the case notes: seconds since 1970, or six numbers of local time.
/// Anything else stays as it is.
pub fn date(text: &str) -> String {
    if let Ok(seconds) = text.parse::<u64>() {
        return since_1970(seconds).unwrap_or_else(|| harmless(text));
    }
    let numbers: Option<Vec<u32>> =
        text.split_ascii_whitespace().map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[year, month, day, hour, minute, second]) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} (local time)")
        }
        _ => harmless(text),
    }
}

/// Years that still make a readable date.
const LAST_SECOND: u64 = 253_402_300_799;

fn since_1970(seconds: u64) -> Option<String> {
    if seconds > LAST_SECOND {
        return None;
    }
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC", days + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_readable() {
        assert_eq!(date("0"), "1970-01-01 00:00:00 UTC");
        assert_eq!(date("1142163845"), "2006-03-12 11:44:05 UTC");
        assert_eq!(date("951782400"), "2000-02-29 00:00:00 UTC");
        assert_eq!(date("4102444799"), "2099-12-31 23:59:59 UTC");
        assert_eq!(date("2002 3 4 10 19 59"), "2002-03-04 10:19:59 (local time)");
        assert_eq!(date("18446744073709551615"), "18446744073709551615");
        assert_eq!(date("some\x1bday"), "some day");
    }

    #[test]
    fn text_is_decoded_and_made_harmless() {
        assert_eq!(utf16(b"\xff\xfea\0\xe4\0"), "aä");
        assert_eq!(utf16(b"\xfe\xff\0a\xd8\0"), "a\u{fffd}");
        assert_eq!(narrow(b"a\xe4"), "aä");
        assert_eq!(harmless("a\u{1b}[31m\u{202e}b\n\u{9b}"), "a [31m b  ");
        assert_eq!(brief(&"ä".repeat(300)).chars().count(), SHOWN + 1);
    }
}
