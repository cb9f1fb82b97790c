//! Pax headers: records `length key=value\n` that replace fields of the next member.

use alloc::string::String;

use crate::tar::text;

/// What a pax header says of the next member.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pax {
    pub name: Option<String>,
    pub size: Option<u64>,
    /// GNU tar's file with holes.
    pub sparse: bool,
}

impl Pax {
    /// The header with these records; none where they are no records.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let digits = bytes.iter().position(|byte| *byte == b' ')?;
            let length = number(bytes.get(..digits)?)?;
            let (record, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
            bytes = rest;
            let field = record.get(digits + 1..)?.strip_suffix(b"\n")?;
            let split = field.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (field.get(..split)?, field.get(split + 1..)?);
            match key {
                b"path" => pax.name = Some(text(value)),
                b"size" => pax.size = Some(number(value)?),
                _ => pax.sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Some(pax)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_to_their_lengths() {
        let pax = Pax::parse(b"17 path=./a\nb.ovf\n23 size=10000000000000\n12 junk=abc\n");
        assert_eq!(pax, None, "a length that does not end its record");
        let pax = Pax::parse(b"18 path=./a\nb.ovf\n23 size=10000000000000\n11 junk=ab\n").unwrap();
        assert_eq!((pax.name.as_deref(), pax.size), (Some("a\nb.ovf"), Some(10_000_000_000_000)));
        assert!(Pax::parse(b"22 GNU.sparse.major=1\n").unwrap().sparse);
        for bad in [&b"99 path=a\n"[..], b"x path=a\n", b"0 =\n", b"8 path=a\n", b"4 \n"] {
            assert_eq!(Pax::parse(bad), None);
        }
    }
}
