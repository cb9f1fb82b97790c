//! Digests as text.

use alloc::string::String;
use core::fmt::Write;

/// A digest.
pub type Hash = [u8; 32];

/// Lower-case digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The digest that a text of 64 digits says; colons between them mean nothing.
pub fn parse(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    let mut digits = text.chars().filter(|letter| *letter != ':');
    for byte in &mut hash {
        let (high, low) = (digits.next()?.to_digit(16)?, digits.next()?.to_digit(16)?);
        *byte = (high << 4 | low) as u8;
    }
    digits.next().is_none().then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn text_and_back() {
        let hash: Hash = core::array::from_fn(|at| at as u8 * 7);
        assert_eq!(parse(&hex(&hash)), Some(hash));
        assert_eq!(parse(&format!("0:{}", &hex(&hash)[1..])), Some(hash));
        assert_eq!(parse(&hex(&hash)[1..]), None);
        assert_eq!(parse(&format!("{}0", hex(&hash))), None);
        assert_eq!(parse(&hex(&hash).replace('7', "x")), None);
    }
}
