//! GUIDs: how they are stored, written and made.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A GUID as it is stored: its first three fields are little-endian.
#[derive(
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
)]
#[repr(transparent)]
pub struct Guid([u8; 16]);

/// Where the bytes stand in the text: the text is big-endian throughout.
const TEXT_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl Guid {
    /// All zero: none.
    pub const NIL: Guid = Guid([0; 16]);

    /// From the digits of its text, read as one number.
    pub const fn from_number(number: u128) -> Self {
        let text = number.to_be_bytes();
        let mut bytes = [0; 16];
        let mut place = 0;
        while place < 16 {
            bytes[TEXT_ORDER[place]] = text[place];
            place += 1;
        }
        Self(bytes)
    }

    /// From its text, in either case, with or without braces.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let dashes = [8, 13, 18, 23];
        let mut number = 0u128;
        for (place, character) in text.bytes().enumerate() {
            if dashes.contains(&place) {
                if character != b'-' {
                    return None;
                }
            } else {
                number = number << 4 | u128::from(char::from(character).to_digit(16)?);
            }
        }
        (text.len() == 36).then(|| Self::from_number(number))
    }
}

impl fmt::Display for Guid {
    /// Lower case, without braces.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, index) in TEXT_ORDER.into_iter().enumerate() {
            if [4, 6, 8, 10].contains(&place) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{:02x}", self.0[index])?;
        }
        Ok(())
    }
}

/// Makes GUIDs from a seed.
pub struct Guids {
    words: [u64; 4],
    count: u64,
}

impl Guids {
    /// From 32 random bytes. What already distinguishes the image goes in as `salt`,
    /// so that a seed used twice does not make the same GUIDs twice.
    pub fn new(seed: &[u8; 32], salt: &[u8]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(seed.as_chunks::<8>().0) {
            let folded = salt.iter().fold(u64::from_le_bytes(*bytes), |sum, byte| {
                mix(sum.wrapping_add(u64::from(*byte)))
            });
            *word = folded;
        }
        Self { words, count: 0 }
    }

    /// The next one: version 4, variant 1 (RFC 9562).
    pub fn next(&mut self) -> Guid {
        self.count += 1;
        let [a, b, c, d] = self.words;
        let high = mix(a ^ mix(b.wrapping_add(self.count)));
        let low = mix(c ^ mix(d.wrapping_sub(self.count)));
        let number = u128::from(high) << 64 | u128::from(low);
        let number = number & !(0xf << 76) | 4 << 76;
        Guid::from_number(number & !(3 << 62) | 2 << 62)
    }
}

/// The finisher of SplitMix64: every bit of the input changes about half the output.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn text_and_bytes() {
        let guid = Guid::parse("{2DC27766-F623-4200-9D64-115E9BFD4A08}").unwrap();
        assert_eq!(guid.0[..8], [0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42]);
        assert_eq!(guid.to_string(), "2dc27766-f623-4200-9d64-115e9bfd4a08");
        assert_eq!(Guid::parse(&guid.to_string()), Some(guid));
        for wrong in ["", "2dc27766", "{2dc27766-f623-4200-9d64-115e9bfd4a08", "é"] {
            assert_eq!(Guid::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Guid::parse("2dc27766+f623-4200-9d64-115e9bfd4a08"), None);
    }

    #[test]
    fn made_ones_differ_and_are_version_four() {
        let mut guids = Guids::new(&[0; 32], b"");
        let (first, second) = (guids.next(), guids.next());
        let salted = Guids::new(&[0; 32], b"x").next();
        assert!(first != second && first != salted);
        let text = first.to_string();
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&text.as_bytes()[19]));
    }
}
