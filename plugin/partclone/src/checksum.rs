//! Checksums: the one over headers and bitmaps, which is computed here, and those over
//! groups of blocks, which are the host's to compare.

use alloc::format;

use crc::{CRC_32_JAMCRC, Crc, Digest, Table};
use fumehood_plugin::{DigestKind, Error, Result};

/// A CRC-32 that is being computed.
pub type Sum = Digest<'static, u32, Table<16>>;

/// CRC-32 as usual but for the inversion at the end, which is left out.
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_JAMCRC);

/// The checksum over no bytes yet.
pub fn begin() -> Sum {
    CRC.digest()
}

/// The checksum over `bytes`.
pub fn of(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// The checksums behind groups of stored blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksums {
    /// Blocks a group, never 0.
    pub blocks: u64,
    /// Bytes of the checksum behind each group.
    pub length: u64,
    /// The function, where each group can be compared alone.
    pub kind: Option<DigestKind>,
    /// Their name, for people.
    pub name: &'static str,
}

/// The kinds that format 0002 knows: code, bytes, function, name.
const KINDS: [(u16, u16, DigestKind, &str); 3] = [
    (0x20, 4, DigestKind::Crc32Plain, "CRC-32"),
    (0x30, 8, DigestKind::Xxh64, "XXH64"),
    (0x31, 16, DigestKind::Xxh128, "XXH128"),
];

/// What the fields of a header of format 0002 say of checksums.
///
/// # Errors
/// [`Error::Unsupported`] for a kind that is not known, [`Error::Corrupt`] where the
/// fields contradict each other.
pub fn declared(mode: u16, length: u16, blocks: u32, reseeded: bool) -> Result<Option<Checksums>> {
    if mode == 0 {
        return match length {
            0 => Ok(None),
            _ => Err(Error::corrupt(98, format!("no checksums, and {length} bytes for each"))),
        };
    }
    let Some((_, expected, kind, name)) = KINDS.iter().find(|(code, ..)| *code == mode) else {
        return Err(Error::Unsupported(format!("checksums of kind {mode:#x}")));
    };
    if *expected != length {
        let what = format!("expected {expected} bytes for each {name}, found {length}");
        return Err(Error::corrupt(98, what));
    }
    if blocks == 0 {
        return Err(Error::corrupt(100, format!("a {name} over every 0 blocks")));
    }
    Ok(Some(Checksums {
        blocks: blocks.into(),
        length: length.into(),
        kind: reseeded.then_some(*kind),
        name,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_not_inverted() {
        assert_eq!(of(b"123456789"), !0xcbf4_3926);
        let mut sum = begin();
        sum.update(b"1234");
        sum.update(b"56789");
        assert_eq!(sum.finalize(), of(b"123456789"));
    }

    #[test]
    fn fields_must_agree() {
        assert_eq!(declared(0, 0, 0, false), Ok(None));
        assert_eq!(declared(0x31, 16, 8, true).unwrap().unwrap().kind, Some(DigestKind::Xxh128));
        assert_eq!(declared(0x20, 4, 8, false).unwrap().unwrap().kind, None);
        for (mode, length, blocks) in [(0, 4, 256), (0x20, 8, 256), (0x30, 8, 0)] {
            let refused = declared(mode, length, blocks, true);
            assert!(matches!(refused, Err(Error::Corrupt { .. })), "{mode:#x}");
        }
        for mode in [1, 2, 0xff] {
            let refused = declared(mode, 4, 256, true);
            assert!(matches!(refused, Err(Error::Unsupported(_))), "{mode:#x}");
        }
    }
}
