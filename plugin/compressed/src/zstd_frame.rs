//! Headers of Zstandard frames, blocks and skippable frames (RFC 8878, 3.1).

use fumehood_plugin::{Error, Result};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::feed::Feed;

/// First bytes of a frame.
pub const MAGIC: u32 = 0xfd2f_b528;
/// First bytes of a skippable frame, whose last four bits are anything.
const SKIPPABLE: u32 = 0x184d_2a50;

const RESERVED: u8 = 0x08;
const CHECKSUM: u8 = 0x04;
const SINGLE_SEGMENT: u8 = 0x20;

/// The longest header of a frame.
const LONGEST: usize = 18;

/// The header of a frame that decoders skip.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Skippable {
    magic: U32,
    length: U32,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Length of the header.
    pub header: u64,
    /// Bytes that a decoder must remember.
    pub window: u64,
    /// What it decodes to, where it says so.
    pub content: Option<u64>,
    pub dictionary: u32,
    pub checksum: bool,
}

/// What a file goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Frame(Frame),
    /// A frame to skip, of this length in all.
    Skip(u64),
    /// Neither.
    Other,
}

/// What lies behind skippable frames at the beginning.
pub fn behind_skippable(head: &[u8]) -> &[u8] {
    let mut rest = head;
    while let Some(length) = skippable(rest) {
        let behind = usize::try_from(length).ok().and_then(|length| rest.get(length..));
        let Some(behind) = behind else { return &[] };
        rest = behind;
    }
    rest
}

/// Whether a frame begins here.
pub fn is_frame(head: &[u8]) -> bool {
    parse(head).is_some()
}

/// The length of the skippable frame that begins here, if one does.
pub fn skippable(bytes: &[u8]) -> Option<u64> {
    let (header, _) = Skippable::read_from_prefix(bytes).ok()?;
    let here = header.magic.get() & !0xf == SKIPPABLE;
    here.then_some(u64::from(header.length.get()) + size_of::<Skippable>() as u64)
}

/// What stands at the feed's position, where it stays.
///
/// # Errors
/// What the source answers.
pub fn next(feed: &mut Feed) -> Result<Next> {
    let bytes = feed.at_least(LONGEST)?;
    let next = skippable(bytes).map(Next::Skip).or_else(|| parse(bytes).map(Next::Frame));
    Ok(next.unwrap_or(Next::Other))
}

/// A frame's header; none where it is none, cut, or has its reserved bit set.
fn parse(bytes: &[u8]) -> Option<Frame> {
    let (magic, rest) = U32::read_from_prefix(bytes).ok()?;
    let (descriptor, mut rest) = u8::read_from_prefix(rest).ok()?;
    if magic.get() != MAGIC || descriptor & RESERVED != 0 {
        return None;
    }
    let single = descriptor & SINGLE_SEGMENT != 0;
    let window = match single {
        true => None,
        false => Some(number(&mut rest, 1)? as u8),
    };
    let dictionary = number(&mut rest, [0, 1, 2, 4][usize::from(descriptor & 3)])?;
    let content = match descriptor >> 6 {
        0 if single => Some(number(&mut rest, 1)?),
        0 => None,
        1 => Some(number(&mut rest, 2)? + 256),
        2 => Some(number(&mut rest, 4)?),
        _ => Some(number(&mut rest, 8)?),
    };
    Some(Frame {
        header: (bytes.len() - rest.len()) as u64,
        window: window.map(window_size).or(content).unwrap_or_default(),
        content,
        dictionary: dictionary as u32,
        checksum: descriptor & CHECKSUM != 0,
    })
}

/// A number of 0, 1, 2, 4 or 8 bytes, which are passed.
fn number(rest: &mut &[u8], length: usize) -> Option<u64> {
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(match length {
        1 => u64::from(*bytes.first()?),
        2 => U16::read_from_bytes(bytes).ok()?.get().into(),
        4 => U32::read_from_bytes(bytes).ok()?.get().into(),
        8 => U64::read_from_bytes(bytes).ok()?.get(),
        _ => 0,
    })
}

fn window_size(descriptor: u8) -> u64 {
    let base = 1u64 << (10 + (descriptor >> 3));
    base + base / 8 * u64::from(descriptor & 7)
}

/// The header of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Bytes behind the header.
    pub stored: u64,
    pub last: bool,
}

/// A block's header has three bytes.
pub const BLOCK_HEADER: u64 = 3;
/// The most that a block stores.
const BLOCK_LIMIT: u64 = 128 << 10;

impl Block {
    /// The block whose header stands at `position`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a reserved kind or a length past the limit.
    pub fn parse(bytes: [u8; 3], position: u64) -> Result<Self> {
        let [low, middle, high] = bytes;
        let word = u32::from_le_bytes([low, middle, high, 0]);
        let size = u64::from(word >> 3);
        let (stored, sound) = match word >> 1 & 3 {
            // One byte, repeated.
            1 => (1, size <= BLOCK_LIMIT),
            3 => (0, false),
            _ => (size, size <= BLOCK_LIMIT),
        };
        if !sound {
            let what = alloc::format!("expected the header of a block, found {word:#08x}");
            return Err(Error::corrupt(position, what));
        }
        Ok(Self { stored, last: word & 1 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_shapes() {
        let frame = parse(b"\x28\xb5\x2f\xfd\x20\x08\x41").unwrap();
        assert_eq!((frame.header, frame.window, frame.content), (6, 8, Some(8)));
        let frame = parse(b"\x28\xb5\x2f\xfd\x04\x58").unwrap();
        assert_eq!((frame.window, frame.content, frame.checksum), (2 << 20, None, true));
        let frame = parse(b"\x28\xb5\x2f\xfd\x63\x01\x02\x03\x04\x00\x01").unwrap();
        assert_eq!((frame.dictionary, frame.content), (0x0403_0201, Some(512)));
        let frame = parse(b"\x28\xb5\x2f\xfd\xc0\xff\0\0\0\0\0\0\0\x80").unwrap();
        assert_eq!((frame.header, frame.content), (14, Some(1 << 63)));
        assert_eq!(frame.window, (1 << 41) + 7 * (1 << 38));
        assert_eq!(parse(b"\x28\xb5\x2f\xfd\xc0\xff\0\0\0"), None);
        assert_eq!(parse(b"\x28\xb5\x2f\xfd\x28\x08\x41"), None);
    }

    #[test]
    fn blocks_of_all_kinds() {
        let block = |word: u32| {
            let [a, b, c, _] = word.to_le_bytes();
            Block::parse([a, b, c], 0)
        };
        assert_eq!(block(8 << 3 | 1).unwrap(), Block { stored: 8, last: true });
        assert_eq!(block(70_000 << 3 | 2).unwrap(), Block { stored: 1, last: false });
        assert_eq!(block(131_072 << 3 | 4).unwrap().stored, 131_072);
        assert!(block(131_073 << 3 | 4).is_err() && block(6).is_err());
    }
}
