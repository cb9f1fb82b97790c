//! The header of a block of the .xz format: its filters (its sections 3.1 and 5).

use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};
use lzma_rust2::FilterConfig;
use lzma_rust2::FilterType;

use crate::checksum::CRC32;
use crate::feed::Feed;
use crate::varint::variable;

const LZMA2: u64 = 0x21;
const DELTA: u64 = 3;
const COMPRESSED: u8 = 0x40;
const UNCOMPRESSED: u8 = 0x80;
const RESERVED: u8 = 0x3c;

/// A header that was read.
#[derive(Debug, Clone)]
pub struct BlockHeader {
    /// Its length.
    pub length: u64,
    /// What LZMA2's decoder must remember, in bytes.
    pub dictionary: u64,
    /// What the bytes went through before LZMA2, first first.
    pub filters: Vec<FilterConfig>,
}

impl BlockHeader {
    /// The header at the feed's position, which it passes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a broken one, [`Error::Unsupported`] for a filter that is
    /// not decoded.
    pub fn read(feed: &mut Feed) -> Result<Self> {
        let position = feed.position();
        let [size] = *feed.peek(1, "a block's header")? else {
            return Err(broken(position));
        };
        let length = (usize::from(size) + 1) * 4;
        let bytes = feed.peek(length, "a block's header")?;
        let header = match bytes.split_last_chunk::<4>() {
            Some((body, stored))
                if size != 0 && CRC32.checksum(body) == u32::from_le_bytes(*stored) =>
            {
                parse(body, position)?
            }
            _ => return Err(broken(position)),
        };
        feed.consume(length);
        Ok(header)
    }
}

fn broken(position: u64) -> Error {
    Error::corrupt(position, "expected the header of a block, found none that is sound")
}

fn parse(body: &[u8], position: u64) -> Result<BlockHeader> {
    let flags = body.get(1).copied().unwrap_or(RESERVED);
    let mut rest = body.get(2..).unwrap_or_default();
    if flags & RESERVED != 0 {
        return Err(broken(position));
    }
    // The index says both lengths, too.
    for given in [COMPRESSED, UNCOMPRESSED] {
        if flags & given != 0 {
            number(&mut rest, position)?;
        }
    }
    let (mut filters, mut dictionary) = (Vec::new(), None);
    for _ in 0..=flags & 3 {
        let (kind, length) = (number(&mut rest, position)?, number(&mut rest, position)?);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (properties, behind) = rest.split_at_checked(length).ok_or_else(|| broken(position))?;
        rest = behind;
        if dictionary.is_some() {
            return Err(broken(position));
        }
        match kind {
            LZMA2 => {
                let size = properties.first().copied().and_then(dictionary_size);
                dictionary = Some(size.ok_or_else(|| broken(position))?);
            }
            _ => filters.push(filter(kind, properties, position)?),
        }
    }
    let length = body.len() as u64 + 4;
    let dictionary = dictionary.ok_or_else(|| {
        Error::Unsupported(alloc::format!("an .xz block at {position} without LZMA2"))
    })?;
    Ok(BlockHeader { length, dictionary, filters })
}

fn number(rest: &mut &[u8], position: u64) -> Result<u64> {
    let (value, length) = variable(rest).ok_or_else(|| broken(position))?;
    *rest = rest.get(length..).unwrap_or_default();
    Ok(value)
}

/// Two bits of mantissa and the rest exponent; 40 is the largest.
fn dictionary_size(property: u8) -> Option<u64> {
    match property {
        40 => Some(u64::from(u32::MAX)),
        0..40 => Some(u64::from(2 | property & 1) << (property / 2 + 11)),
        _ => None,
    }
}

fn filter(kind: u64, properties: &[u8], position: u64) -> Result<FilterConfig> {
    let filter_type = FilterType::try_from(kind).map_err(|()| {
        Error::Unsupported(alloc::format!("an .xz block at {position} with filter {kind:#x}"))
    })?;
    let property = match (kind, properties) {
        (DELTA, [less_one]) => u32::from(*less_one) + 1,
        (DELTA, _) => return Err(broken(position)),
        (_, []) => 0,
        (_, [a, b, c, d]) => u32::from_le_bytes([*a, *b, *c, *d]),
        _ => return Err(broken(position)),
    };
    Ok(FilterConfig { filter_type, property })
}
