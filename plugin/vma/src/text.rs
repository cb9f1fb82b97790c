//! Making what the archive records fit to show: names, identifiers, dates.

use alloc::format;
use alloc::string::String;

/// The most characters of a name that are shown.
const SHOWN: usize = 256;
/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// `bytes` as text without what could disturb a terminal or a reader: control
/// characters, and marks that reorder the line.
pub fn harmless(bytes: &[u8]) -> String {
    let replace = |character: char| match character {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        control if control.is_control() => ' ',
        other => other,
    };
    String::from_utf8_lossy(bytes).chars().take(SHOWN).map(replace).collect()
}

/// A UUID, in the byte order of the file.
pub fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::new();
    for (number, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&number) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A date from seconds since 1970.
pub fn date(seconds: u64) -> String {
    if seconds > LAST_SECOND {
        return format!("{seconds} s since 1970");
    }
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_readable_and_harmless() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(u64::MAX), "18446744073709551615 s since 1970");
        assert_eq!(uuid(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
        assert_eq!(harmless(b"a\x1b[31m\xe2\x80\xaeb\xff"), "a [31m b\u{fffd}");
        assert_eq!(harmless(&[b'x'; 1000]).len(), SHOWN);
    }
}
