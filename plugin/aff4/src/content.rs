//! What a chunk is to the host: stored bytes, or a block to decode.
//!
//! Source: AFF4 Standard v1.0a, sections 3.2 and 6.2.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Codec, Content, Digest, DigestValue, Encoded, Result, Source, Stored};
use miniz_oxide::inflate::{decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit};

use crate::chunks::Chunk;
use crate::stream::Stream;

/// What a compressed chunk may need beyond its length.
const SLACK: u32 = 64 << 10;
/// Some writers put the decoded length before an LZ4 block.
const LENGTH: u32 = 4;
/// Bytes that tell how far back an LZ4 copy begins, and its shortest length.
const LZ4_DISTANCE: usize = 2;
const LZ4_LEAST_COPY: u32 = 4;

/// What is known of how a stream's chunks are encoded, beyond what its turtle says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// Whether the LZ4 blocks of whole chunks have their decoded length before them.
    prefixed: Option<bool>,
    /// Decoded length of the last chunk, which some writers do not pad.
    tail: Option<u32>,
}

/// The content of chunk `number` from its byte `skip` on.
///
/// # Errors
/// What the source answers.
pub fn content(
    source: &dyn Source,
    stream: &Stream,
    habits: &mut Habits,
    (number, chunk, skip): (u64, Chunk, u32),
) -> Result<Content> {
    let begin = number * u64::from(stream.chunk);
    let wanted = (stream.size - begin).min(stream.chunk.into()) as u32;
    let verbatim = chunk.length == stream.chunk && !stream.compression.always;
    let codec = stream.compression.codec.filter(|_| !verbatim);
    let encoded = match codec {
        Some(codec) => packed(source, stream, habits, &chunk, codec, wanted)?,
        None if ![stream.chunk, wanted].contains(&chunk.length) => {
            Err(format!("has {} bytes, expected {wanted}", chunk.length))
        }
        None => Ok(Encoded::new(source.id(), chunk.offset, wanted, Codec::Identity, wanted)),
    };
    let encoded = match encoded {
        Ok(encoded) => encoded,
        Err(what) => return Ok(Content::Damaged(format!("chunk {number} {what}"))),
    };
    // Over a chunk that is cut it is not said what the digest covers.
    let digest = chunk.digest.filter(|_| wanted == stream.chunk);
    if codec.is_none() && digest.is_none() {
        let offset = chunk.offset + u64::from(skip);
        return Ok(Content::Stored(Stored { source: source.id(), offset, writable: false }));
    }
    let digest = digest.map(|(kind, value)| Digest {
        kind,
        value: DigestValue::Given(value),
        over_decoded: true,
    });
    Ok(Content::Encoded(Encoded { digest, skip, ..encoded }))
}

/// A compressed chunk of which the disk shows `wanted` bytes, or what is wrong with it.
fn packed(
    source: &dyn Source,
    stream: &Stream,
    habits: &mut Habits,
    chunk: &Chunk,
    codec: Codec,
    wanted: u32,
) -> Result<core::result::Result<Encoded, String>> {
    let (mut offset, mut stored) = (chunk.offset, chunk.length);
    if stored > stream.chunk.saturating_add(SLACK) {
        return Ok(Err(format!("has {stored} stored bytes for {}", stream.chunk)));
    }
    let stated = match codec {
        Codec::Lz4 => stated_length(source, stream, habits, chunk, wanted)?,
        _ => None,
    };
    if stated.is_some() {
        (offset, stored) = (offset + u64::from(LENGTH), stored - LENGTH);
    }
    let decoded = match stated.or(habits.tail) {
        _ if wanted == stream.chunk => stream.chunk,
        Some(length) => length,
        None => tail_length(source, codec, offset, stored, stream.chunk)?,
    };
    if wanted < stream.chunk {
        habits.tail = Some(decoded);
    }
    if decoded < wanted {
        return Ok(Err(format!("decodes to {decoded} bytes, expected {wanted}")));
    }
    Ok(Ok(Encoded::new(source.id(), offset, stored, codec, decoded)))
}

/// The decoded length that stands before an LZ4 block of a stream, if one does. The first
/// whole chunk tells for all of them, the last chunk for itself. A first byte of 0 begins
/// no block, as it would be a copy of nothing: it is a damaged length, which tells nothing.
fn stated_length(
    source: &dyn Source,
    stream: &Stream,
    habits: &mut Habits,
    chunk: &Chunk,
    wanted: u32,
) -> Result<Option<u32>> {
    if chunk.length <= LENGTH {
        return Ok(None);
    }
    let whole = wanted == stream.chunk;
    if let Some(prefixed) = habits.prefixed.filter(|_| whole) {
        return Ok(prefixed.then_some(wanted));
    }
    let bytes = read_bytes(source, chunk.offset, LENGTH.into(), "chunk")?;
    let length = bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let length = length.filter(|length| [stream.chunk, wanted].contains(length));
    if whole && (length.is_some() || bytes.first() != Some(&0)) {
        habits.prefixed = Some(length.is_some());
    }
    Ok(length)
}

/// What the last chunk of a stream decodes to, of at most `most` bytes. The standard pads
/// it, some writers do not. Where that cannot be told, whoever reads it will see.
fn tail_length(
    source: &dyn Source,
    codec: Codec,
    offset: u64,
    stored: u32,
    most: u32,
) -> Result<u32> {
    let bytes = read_bytes(source, offset, stored.into(), "last chunk")?;
    let inflated = |bytes: Vec<u8>| bytes.len() as u32;
    let length = match codec {
        Codec::Snappy => snappy_length(&bytes),
        Codec::Lz4 => lz4_length(&bytes),
        Codec::Deflate => decompress_to_vec_with_limit(&bytes, most as usize).ok().map(inflated),
        Codec::Zlib => decompress_to_vec_zlib_with_limit(&bytes, most as usize).ok().map(inflated),
        _ => None,
    };
    Ok(length.filter(|length| *length <= most).unwrap_or(most))
}

/// What the sequences of an LZ4 block add up to: each has literals and, but for the last
/// one, a copy.
///
/// Source: LZ4 Block Format Description, Blocks.
fn lz4_length(mut block: &[u8]) -> Option<u32> {
    let mut length = 0_u32;
    loop {
        let (token, rest) = block.split_first()?;
        block = rest;
        let literals = lz4_count(token >> 4, &mut block)?;
        length = length.checked_add(literals)?;
        block = block.get(literals as usize..)?;
        if block.is_empty() {
            return Some(length);
        }
        block = block.get(LZ4_DISTANCE..)?;
        let copy = lz4_count(token & 0xf, &mut block)?.checked_add(LZ4_LEAST_COPY)?;
        length = length.checked_add(copy)?;
    }
}

/// A count of four bits, which goes on in `block` where they are all set.
fn lz4_count(bits: u8, block: &mut &[u8]) -> Option<u32> {
    let mut count = u32::from(bits);
    let mut more = bits == 0xf;
    while more {
        let (byte, rest) = block.split_first()?;
        *block = rest;
        count = count.checked_add((*byte).into())?;
        more = *byte == u8::MAX;
    }
    Some(count)
}

/// The decoded length that a block of Snappy states: seven bits a byte, the lowest first.
fn snappy_length(bytes: &[u8]) -> Option<u32> {
    let mut length = 0_u64;
    for (place, byte) in bytes.iter().take(5).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return u32::try_from(length).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lz4_sequences_add_up() {
        let all: Vec<u8> = (0..70_000_u32).map(|byte| (byte / 700 * byte) as u8).collect();
        for length in [0, 1, 14, 15, 16, 269, 270, 271, 5000, 70_000] {
            for bytes in [&all[..length], &[7; 70_000][..length]] {
                let block = lz4_flex::block::compress(bytes);
                assert_eq!(lz4_length(&block), Some(length as u32));
                assert_eq!(lz4_length(block.get(..block.len() - 1).unwrap()), None);
            }
        }
        assert_eq!(lz4_length(&[0xff; 99]), None);
    }

    #[test]
    fn snappy_states_its_length() {
        assert_eq!(snappy_length(&[0x80, 0x80, 2, 9]), Some(32768));
        assert_eq!(snappy_length(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some(u32::MAX));
        assert_eq!(snappy_length(&[0xff; 9]), None);
        assert_eq!(snappy_length(&[]), None);
    }
}
