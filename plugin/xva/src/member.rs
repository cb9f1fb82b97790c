//! What a member's name says: `Ref:1/00000007` is a chunk of the disk `Ref:1`, and
//! `Ref:1/00000007.xxhash` its checksum.
//!
//! Source: xen-api, `stream_vdi.ml`.

use fumehood_plugin::{Digest, DigestKind, DigestValue, Error, Result};

/// Numbers of chunks end here.
const MOST: u64 = 1 << 31;

/// What a member is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role<'a> {
    /// A chunk: the disk, its number.
    Chunk(&'a str, u64),
    /// The checksum of a chunk.
    Checksum(&'a str, u64, DigestKind),
    /// Something else.
    Other,
}

impl<'a> Role<'a> {
    /// The role of the member `name`, whose header lies at `offset`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a number that is too large.
    pub fn of(name: &'a str, offset: u64) -> Result<Self> {
        let Some((disk, file)) = name.rsplit_once('/') else { return Ok(Self::Other) };
        let (digits, kind) = match file.split_once('.') {
            None => (file, None),
            Some((digits, "checksum")) => (digits, Some(DigestKind::Sha1)),
            Some((digits, "xxhash")) => (digits, Some(DigestKind::Xxh64)),
            Some(_) => return Ok(Self::Other),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Other);
        }
        let number = digits.parse().ok().filter(|number| *number <= MOST);
        let number = number.ok_or_else(|| {
            let digits = digits.get(..digits.len().min(40)).unwrap_or_default();
            Error::corrupt(offset, alloc::format!("chunk {digits} has too large a number"))
        })?;
        Ok(kind.map_or(Self::Chunk(disk, number), |kind| Self::Checksum(disk, number, kind)))
    }
}

/// The digest that a checksum's text says; the text lies at `offset`.
///
/// # Errors
/// [`Error::Corrupt`] for a text of another length, or that is not hexadecimal.
pub fn digest(kind: DigestKind, text: &[u8], offset: u64) -> Result<Digest> {
    let text = text.trim_ascii();
    let pairs = text.as_chunks::<2>().0.iter();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = pairs.map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect();
    let expected = if kind == DigestKind::Sha1 { 40 } else { 16 };
    let value: Option<alloc::vec::Vec<u8>> = value;
    let Some(mut value) = value.filter(|_| text.len() == expected) else {
        let what = "a checksum that is no hexadecimal number of the right length";
        return Err(Error::corrupt(offset, what));
    };
    // Written as a number, the highest digit first.
    if kind == DigestKind::Xxh64 {
        value.reverse();
    }
    Ok(Digest { kind, value: DigestValue::Given(value), over_decoded: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_roles() {
        let of = |name| Role::of(name, 9);
        assert_eq!(of("Ref:1/00000007"), Ok(Role::Chunk("Ref:1", 7)));
        assert_eq!(of("Ref:12/2147483648"), Ok(Role::Chunk("Ref:12", MOST)));
        assert_eq!(of("a/b/1.xxhash"), Ok(Role::Checksum("a/b", 1, DigestKind::Xxh64)));
        assert_eq!(of("a/1.checksum"), Ok(Role::Checksum("a", 1, DigestKind::Sha1)));
        for name in ["ova.xml", "1", "a/", "a/x1", "a/1.gz", "a/.xxhash", "a/1.xxhash.x", ""] {
            assert_eq!(of(name), Ok(Role::Other), "{name}");
        }
        for name in ["a/2147483649", "a/99999999999999999999999", "a/2147483649.xxhash"] {
            assert!(matches!(of(name), Err(Error::Corrupt { offset: 9, .. })), "{name}");
        }
    }

    #[test]
    fn checksums_are_numbers() {
        let value = |kind, text: &[u8]| digest(kind, text, 3).map(|digest| digest.value);
        let number = value(DigestKind::Xxh64, b"0102030405060708\n").unwrap();
        assert_eq!(number, DigestValue::Given(alloc::vec![8, 7, 6, 5, 4, 3, 2, 1]));
        let bytes = value(DigestKind::Sha1, &[b'a'; 40]).unwrap();
        assert_eq!(bytes, DigestValue::Given(alloc::vec![0xaa; 20]));
        for bad in [&b""[..], b"0102", b"010203040506070x", b"01020304050607080", &[b'a'; 40]] {
            assert!(value(DigestKind::Xxh64, bad).is_err(), "{bad:?}");
        }
    }
}
