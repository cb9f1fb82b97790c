//! Making what the archive records fit to show: names, identifiers, dates.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::text;

/// The most characters of a name that are shown.
const SHOWN: usize = 256;
/// `bytes` as text without what could disturb a terminal or a reader: control
/// characters, and marks that reorder the line.
pub fn harmless(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text::harmless(&text).chars().take(SHOWN).collect()
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
    text::date(seconds).unwrap_or_else(|| format!("{seconds} s since 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_readable_and_harmless() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(u64::MAX), "18446744073709551615 s since 1970");
        assert_eq!(uuid(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
        assert_eq!(harmless(b"a\x1b[31m\xe2\x80\xaeb\xff"), "a [31m b\u{fffd}");
        assert_eq!(harmless(&[b'x'; 1000]).len(), SHOWN);
    }
}
