//! The header of a tar member: ustar, with what GNU tar and star add to its numbers.

use alloc::string::String;
use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Headers and contents are padded to this.
pub const BLOCK: u64 = 512;

/// A header, as it lies in the archive.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    name: [u8; 100],
    mode: [u8; 8],
    owner: [u8; 8],
    group: [u8; 8],
    size: [u8; 12],
    modified: [u8; 12],
    checksum: [u8; 8],
    kind: u8,
    link: [u8; 100],
    magic: [u8; 6],
    version: [u8; 2],
    names: [u8; 64],
    device: [u8; 16],
    prefix: [u8; 155],
    rest: [u8; 12],
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link,
    /// GNU tar's file with holes.
    Sparse,
    /// A pax header for the next member.
    Pax,
    /// A pax header for all members.
    PaxGlobal,
    /// GNU tar's long name of the next member.
    LongName,
    /// GNU tar's long target of the next link.
    LongLink,
    /// A device or anything else.
    Other,
}

impl Header {
    /// Whether it is the end of the archive.
    pub fn is_end(&self) -> bool {
        self.as_bytes().iter().all(|byte| *byte == 0)
    }

    /// Whether it has the checksum that it says.
    pub fn is_sound(&self) -> bool {
        let bytes = self.as_bytes();
        let blank = self.checksum.len() as u64 * u64::from(b' ');
        let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
        let own: u64 = self.checksum.iter().map(|byte| u64::from(*byte)).sum();
        // Old writers added signed bytes.
        let high = |bytes: &[u8]| bytes.iter().filter(|byte| **byte >= 128).count() as u64;
        let signed = (sum - own + blank).checked_sub(256 * (high(bytes) - high(&self.checksum)));
        let stored = octal(&self.checksum);
        stored == Some(sum - own + blank) || (stored.is_some() && stored == signed)
    }

    /// Length of its contents; none where it is no number.
    pub fn size(&self) -> Option<u64> {
        let [first, rest @ ..] = &self.size;
        if first & 0x80 == 0 {
            return octal(&self.size);
        }
        // Base 256: the sign is clear, and all but the last eight bytes must be.
        let (high, low) = rest.split_last_chunk::<8>()?;
        let small = first & 0x7f == 0 && high.iter().all(|byte| *byte == 0);
        small.then(|| u64::from_be_bytes(*low))
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.kind {
            b'0' | 0 | b'7' if self.text(&self.name).ends_with(b"/") => Kind::Folder,
            b'0' | 0 | b'7' => Kind::File,
            b'1' | b'2' => Kind::Link,
            b'5' => Kind::Folder,
            b'S' => Kind::Sparse,
            b'x' | b'X' => Kind::Pax,
            b'g' => Kind::PaxGlobal,
            b'L' => Kind::LongName,
            b'K' => Kind::LongLink,
            _ => Kind::Other,
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        let name = self.text(&self.name);
        // GNU tar keeps times where ustar keeps a prefix.
        let posix = &self.magic == b"ustar\0";
        let prefix = if posix { self.text(&self.prefix) } else { &[] };
        let whole: Vec<u8> = match prefix {
            [] => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        };
        text(&whole)
    }

    fn text<'a>(&self, field: &'a [u8]) -> &'a [u8] {
        field.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// A name without `./` before it.
pub fn text(bytes: &[u8]) -> String {
    let name = String::from_utf8_lossy(bytes);
    let mut short = &*name;
    while let Some(rest) = short.strip_prefix("./") {
        short = rest;
    }
    short.into()
}

/// Octal digits, with blanks and NULs around them.
fn octal(field: &[u8]) -> Option<u64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = field.get(start..)?;
    let length = digits.iter().position(blank).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(length)?;
    if !rest.iter().all(blank) {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: &[u8; 12]) -> Header {
        let mut bytes = [0; 512];
        bytes[124..136].copy_from_slice(size);
        Header::read_from_bytes(&bytes).unwrap()
    }

    #[test]
    fn sizes_are_octal_or_binary() {
        assert_eq!(header(b"00000001000\0").size(), Some(512));
        assert_eq!(header(b"       1000 ").size(), Some(512));
        assert_eq!(header(b"777777777777").size(), Some((1 << 36) - 1));
        assert_eq!(header(b"\x80\0\0\0\0\0\0\x03\0\0\0\0").size(), Some(3 << 32));
        assert_eq!(header(b"\x80\0\0\x01\0\0\0\0\0\0\0\0").size(), None);
        assert_eq!(header(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").size(), None);
        assert_eq!(header(b"12x4\0\0\0\0\0\0\0\0").size(), None);
        assert_eq!(header(b"12 4\0\0\0\0\0\0\0\0").size(), None);
    }
}
