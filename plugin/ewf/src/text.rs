//! Text out of an image: character sets, and the dates of case notes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::text::{self, harmless};

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

/// A date of the case notes: seconds since 1970, or six numbers of local time.
/// Anything else stays as it is.
pub fn date(recorded: &str) -> String {
    if let Ok(seconds) = recorded.parse::<u64>() {
        return text::date(seconds).unwrap_or_else(|| harmless(recorded));
    }
    let numbers: Option<Vec<u32>> =
        recorded.split_ascii_whitespace().map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[year, month, day, hour, minute, second]) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} (local time)")
        }
        _ => harmless(recorded),
    }
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
    fn text_is_decoded() {
        assert_eq!(utf16(b"\xff\xfea\0\xe4\0"), "aä");
        assert_eq!(utf16(b"\xfe\xff\0a\xd8\0"), "a\u{fffd}");
        assert_eq!(narrow(b"a\xe4"), "aä");
    }
}
