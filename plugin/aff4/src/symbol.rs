//! Streams without an end that hold the same bytes over and over, known by name alone.
//!
//! Source: AFF4 Standard v1.0a, section 4.4; the older names as in the pre-standard
//! reference images.

use crate::names::hex_byte;

/// Namespaces of the standard, and of before.
const STANDARD: &str = "http://aff4.org/Schema#";
const OLD: &str = "http://afflib.org/2009/aff4#";
const OLD_SYMBOLS: &str = "http://afflib.org/2012/SymbolicStream#";

/// The text begins anew after so many bytes.
const TILE: u64 = 1 << 20;

/// A symbolic stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    /// One byte over and over.
    Byte(u8),
    /// Bytes that were not read at acquisition.
    Unknown,
    /// Bytes that could not be read at acquisition.
    Unreadable,
}

/// The name of a term of AFF4's vocabulary, without its namespace.
pub fn term(iri: &str) -> Option<&str> {
    iri.strip_prefix(STANDARD).or_else(|| iri.strip_prefix(OLD))
}

impl Symbol {
    /// Nothing but zeroes.
    pub const ZERO: Self = Self::Byte(0);

    /// The stream of that name, if it is symbolic.
    pub fn of(iri: &str) -> Option<Self> {
        if let Some(digits) = iri.strip_prefix(OLD_SYMBOLS) {
            return byte(digits);
        }
        match term(iri)? {
            "Zero" => Some(Self::ZERO),
            "UnknownData" => Some(Self::Unknown),
            "UnreadableData" => Some(Self::Unreadable),
            other => byte(other.strip_prefix("SymbolicStream").unwrap_or(other)),
        }
    }

    /// Writes what stands at `position` of the stream.
    pub fn fill(self, position: u64, out: &mut [u8]) {
        let text: &[u8] = match self {
            Self::Byte(byte) => return out.fill(byte),
            Self::Unknown => b"UNKNOWN",
            Self::Unreadable => b"UNREADABLEDATA",
        };
        let mut left = out;
        let mut position = position % TILE;
        while !left.is_empty() {
            let count = left.len().min((TILE - position) as usize);
            let (tile, rest) = left.split_at_mut(count);
            let from = (position % text.len() as u64) as usize;
            for (out, byte) in tile.iter_mut().zip(text.iter().cycle().skip(from)) {
                *out = *byte;
            }
            (left, position) = (rest, 0);
        }
    }
}

fn byte(digits: &str) -> Option<Symbol> {
    hex_byte(digits.as_bytes().try_into().ok()?).map(Symbol::Byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_times_are_known() {
        let find = |name: &str| Symbol::of(name);
        assert_eq!(find("http://aff4.org/Schema#Zero"), Some(Symbol::ZERO));
        assert_eq!(find("http://aff4.org/Schema#SymbolicStreamfF"), Some(Symbol::Byte(0xff)));
        assert_eq!(find("http://aff4.org/Schema#UnknownData"), Some(Symbol::Unknown));
        assert_eq!(find("http://afflib.org/2009/aff4#FF"), Some(Symbol::Byte(0xff)));
        assert_eq!(find("http://afflib.org/2012/SymbolicStream#61"), Some(Symbol::Byte(0x61)));
        for other in ["http://aff4.org/Schema#Map", "http://aff4.org/Schema#SymbolicStream1", "a"] {
            assert_eq!(find(other), None, "{other}");
        }
    }

    #[test]
    fn the_text_is_cut_at_the_end_of_a_tile() {
        let mut out = [0; 20];
        Symbol::Unknown.fill(3, &mut out);
        assert_eq!(&out, b"NOWNUNKNOWNUNKNOWNUN");
        Symbol::Unreadable.fill(TILE * 5 - 3, &mut out);
        // 2^20 - 3 is 14 * 74898 + 1.
        assert_eq!(&out, b"NREUNREADABLEDATAUNR");
    }
}
