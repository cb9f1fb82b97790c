//! The header of a gzip member (RFC 1952, 2.3), and the extra field of BGZF.

use alloc::string::String;

use fumehood_plugin::{Error, Result};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::feed::Feed;

const HEADER_CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// The most of a header: fields of 64 KiB and two texts.
const LIMIT: usize = 256 << 10;

/// The fixed part.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Fixed {
    magic: [u8; 2],
    method: u8,
    flags: u8,
    modified: U32,
    level: u8,
    system: u8,
}

/// What stands behind the compressed bytes.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Trailer {
    pub crc: U32,
    /// Length of what was compressed, modulo 2^32.
    pub size: U32,
}

/// Length of a trailer.
pub const TRAILER: u64 = size_of::<Trailer>() as u64;

/// A header that was read.
pub struct GzipHeader {
    /// Its length.
    pub length: u64,
    /// Seconds since 1970, or 0.
    pub modified: u32,
    /// The name of what was compressed.
    pub name: Option<String>,
    /// Length of the whole member, where it says so (BGZF).
    pub member: Option<u64>,
}

/// Whether a member begins here.
pub fn is_gzip(head: &[u8]) -> bool {
    let Ok((fixed, _)) = Fixed::read_from_prefix(head) else { return false };
    fixed.magic == [0x1f, 0x8b] && fixed.method == 8 && fixed.flags & RESERVED == 0
}

impl GzipHeader {
    /// The header at the feed's position, which stays there; none where no member
    /// begins.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for one that is cut or too long, or what the source answers.
    pub fn read(feed: &mut Feed) -> Result<Option<Self>> {
        let position = feed.position();
        // What nearly all headers fit, then what none passes.
        for length in [512, LIMIT] {
            let bytes = feed.at_least(length)?;
            if !is_gzip(bytes) {
                return Ok(None);
            }
            if let Some(header) = Self::parse(bytes) {
                return Ok(Some(header));
            }
        }
        let what =
            alloc::format!("expected the header of a member, found no end of it in {LIMIT} bytes");
        Err(Error::corrupt(position, what))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (fixed, mut rest) = Fixed::read_from_prefix(bytes).ok()?;
        let mut header =
            Self { length: 0, modified: fixed.modified.get(), name: None, member: None };
        if fixed.flags & EXTRA != 0 {
            let (length, behind) = U16::read_from_prefix(rest).ok()?;
            let (extra, behind) = behind.split_at_checked(length.get().into())?;
            header.member = block_size(extra);
            rest = behind;
        }
        if fixed.flags & NAME != 0 {
            let name = text(&mut rest)?;
            header.name = Some(name.iter().map(|byte| char::from(*byte)).collect());
        }
        if fixed.flags & COMMENT != 0 {
            text(&mut rest)?;
        }
        if fixed.flags & HEADER_CHECKSUM != 0 {
            rest = rest.get(2..)?;
        }
        header.length = (bytes.len() - rest.len()) as u64;
        Some(header)
    }
}

/// A text up to its NUL, which is passed.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let text = rest.get(..end)?;
    *rest = rest.get(end + 1..)?;
    Some(text)
}

/// The length of a BGZF block, from the subfield `BC` (SAM specification, 4.1).
fn block_size(mut extra: &[u8]) -> Option<u64> {
    while let Ok((head, rest)) = <[u8; 4]>::read_from_prefix(extra) {
        let [first, second, low, high] = head;
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (field, rest) = rest.split_at_checked(length)?;
        if [first, second] == *b"BC" && length == 2 {
            let less_one = U16::read_from_bytes(field).ok()?.get();
            return Some(u64::from(less_one) + 1);
        }
        extra = rest;
    }
    None
}
