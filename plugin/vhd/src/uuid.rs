//! UUIDs as text: lower case, in the byte order of the file.

use alloc::string::String;
use core::fmt::Write;

/// The text of `bytes`.
pub fn to_text(bytes: &[u8; 16]) -> String {
    let mut text = String::new();
    for (number, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&number) {
            text.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The bytes of a text of either case, with or without braces.
pub fn from_text(text: &str) -> Option<[u8; 16]> {
    let text = text.trim_start_matches('{').trim_end_matches('}');
    let groups = text.split('-').map(str::len);
    if !groups.eq([8, 4, 4, 4, 12]) {
        return None;
    }
    let mut digits = text.chars().filter(|character| *character != '-');
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        let (high, low) = (digits.next()?.to_digit(16)?, digits.next()?.to_digit(16)?);
        // Two digits of four bits.
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}

/// A random UUID (RFC 9562, version 4) from random bytes.
pub fn random(seed: &[u8; 32]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&seed[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_each_others_inverse() {
        let bytes = random(&[0xab; 32]);
        let text = to_text(&bytes);
        assert_eq!(text, "abababab-abab-4bab-abab-abababababab");
        assert_eq!(from_text(&text.to_uppercase()), Some(bytes));
        assert_eq!(from_text("abababab-abab-4bab-abab-ababababab"), None);
        assert_eq!(from_text("abababababab-4bab-abab-abab-abababab"), None);
        assert_eq!(from_text("é"), None);
    }
}
