//! One header of a tar archive: POSIX (ustar), GNU, and the one of the seventh edition
//! of Unix, which older exports have.
//!
//! Source: POSIX.1-2017, pax, "ustar Interchange Format".

use alloc::format;
use alloc::string::String;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Error, Result};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes of a header, and of what members are padded to.
pub const BLOCK: u64 = size_of::<Head>() as u64;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    name: [u8; 100],
    mode: [u8; 8],
    user: [u8; 8],
    group: [u8; 8],
    size: [u8; 12],
    changed: [u8; 12],
    checksum: [u8; 8],
    kind: u8,
    link: [u8; 100],
    magic: [u8; 6],
    version: [u8; 2],
    user_name: [u8; 32],
    group_name: [u8; 32],
    major: [u8; 8],
    minor: [u8; 8],
    prefix: [u8; 155],
    padding: [u8; 12],
}

/// Where the checksum stands, which is computed with blanks in its place.
const CHECKSUM: core::ops::Range<usize> = 148..156;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// Its data is the next member's name (GNU).
    LongName,
    /// Its data are records about the next member (pax).
    Extended,
    /// A file with holes left out (GNU).
    Sparse,
    /// Anything else: folders, links, devices.
    Other,
}

/// A checked header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, with its path in the archive.
    pub name: String,
    /// Bytes of data behind the header.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
}

impl Member {
    /// Parses the header in `bytes`, which came from `offset`; `None` for the zeroes
    /// that end an archive.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a wrong checksum, or a size that is none.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Option<Self>> {
        let head: Head = parse_struct(bytes, 0, offset, "tar header")?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !checksum_holds(bytes, &head.checksum) {
            return Err(Error::corrupt(offset, "the checksum of a tar header is wrong"));
        }
        let size = number(&head.size).ok_or_else(|| {
            Error::corrupt(offset, format!("a tar header whose size is {:02x?}", head.size))
        })?;
        Ok(Some(Self { name: head.name(), size, kind: head.kind() }))
    }
}

impl Head {
    fn name(&self) -> String {
        let name = until_zero(&self.name);
        // GNU has other things in the prefix's place, and another magic.
        match until_zero(&self.prefix) {
            prefix if !prefix.is_empty() && self.magic == *b"ustar\0" => {
                format!("{}/{}", String::from_utf8_lossy(prefix), String::from_utf8_lossy(name))
            }
            _ => String::from_utf8_lossy(name).into_owned(),
        }
    }

    fn kind(&self) -> Kind {
        match self.kind {
            // A folder, where there was no other way to say so.
            0 if until_zero(&self.name).ends_with(b"/") => Kind::Other,
            0 | b'0' | b'7' => Kind::File,
            b'L' => Kind::LongName,
            b'x' => Kind::Extended,
            b'S' => Kind::Sparse,
            _ => Kind::Other,
        }
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Some old writers summed signed bytes.
fn checksum_holds(bytes: &[u8], stated: &[u8]) -> bool {
    let blank = |(at, byte): (usize, &u8)| if CHECKSUM.contains(&at) { b' ' } else { *byte };
    let bytes = bytes.iter().enumerate().map(blank);
    let unsigned: i64 = bytes.clone().map(i64::from).sum();
    let signed: i64 = bytes.map(|byte| i64::from(byte as i8)).sum();
    let stated = number(stated).and_then(|stated| i64::try_from(stated).ok());
    stated.is_some_and(|stated| stated == unsigned || stated == signed)
}

/// A number in octal digits, with blanks before and blanks or zeroes behind; or big-endian
/// in bytes after a first one of 0x80 (GNU).
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, bytes @ ..] = field {
        let add = |sum: u64, byte: &u8| Some(sum.checked_mul(256)? | u64::from(*byte));
        return bytes.iter().try_fold(0, add);
    }
    let text = core::str::from_utf8(field).ok()?;
    let text = text.trim_start_matches(' ').trim_end_matches([' ', '\0']);
    if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!(BLOCK, 512);
        assert_eq!(core::mem::offset_of!(Head, checksum), CHECKSUM.start);
        assert_eq!(core::mem::offset_of!(Head, magic), 257);
        assert_eq!(core::mem::offset_of!(Head, prefix), 345);
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"00004000000\0"), Some(1 << 20));
        assert_eq!(number(b"    4000000 "), Some(1 << 20));
        assert_eq!(number(b"0\0\0\0\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\x10\0\0"), Some(1 << 20));
        for bad in [
            &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\x80\0\0\x01\0\0\0\0\0\0\0\0",
            b"00000000008\0",
            b"-0000000001\0",
            b"+0000000001\0",
            b"0000 000000\0",
            b"\0\0\0\0\0\0\0\0\0\0\0\0",
            b"0x000000000\0",
        ] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }
}
