//! What a chunk is to the host: stored bytes, or a block to decode.
//!
//! Source: AFF4 Standard v1.0a, sections 3.2 and 6.2.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Codec, Content, Digest, DigestValue, Encoded, Result, Source, Stored};
use miniz_oxide::inflate::{decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit};

use crate::chunks::Chunk;
use crate::stream::Stream;

/// What a compressed chunk may need beyond its length.
const SLACK: u32 = 64 << 10;
/// Some writers put the decoded length before an LZ4 block.
const LENGTH: u32 = 4;

/// What is known of how a stream's chunks are encoded, beyond what its turtle says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// Whether LZ4 blocks have their decoded length before them.
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
        None if chunk.length < wanted => {
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
    if codec == Codec::Lz4 && is_prefixed(source, stream, habits, offset, stored)? {
        (offset, stored) = (offset + u64::from(LENGTH), stored - LENGTH);
    }
    let decoded = match habits.tail {
        _ if wanted == stream.chunk => stream.chunk,
        Some(tail) => tail,
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

/// Whether the LZ4 blocks of a stream have their length before them: the first one that is
/// seen tells. A block cannot begin with a copy, and so not with a byte of zero; the length
/// of a chunk does, in all that writers use.
fn is_prefixed(
    source: &dyn Source,
    stream: &Stream,
    habits: &mut Habits,
    offset: u64,
    stored: u32,
) -> Result<bool> {
    if stored <= LENGTH {
        return Ok(false);
    }
    if let Some(prefixed) = habits.prefixed {
        return Ok(prefixed);
    }
    let bytes = read_bytes(source, offset, LENGTH.into(), "chunk")?;
    let length = bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let prefixed = length & 0xff == 0 && length == stream.chunk;
    habits.prefixed = Some(prefixed);
    Ok(prefixed)
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
    let inflated = match codec {
        Codec::Snappy => {
            return Ok(snappy_length(&bytes).filter(|length| *length <= most).unwrap_or(most));
        }
        Codec::Deflate => decompress_to_vec_with_limit(&bytes, most as usize),
        Codec::Zlib => decompress_to_vec_zlib_with_limit(&bytes, most as usize),
        _ => return Ok(most),
    };
    Ok(inflated.map_or(most, |bytes| bytes.len() as u32))
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
    fn snappy_states_its_length() {
        assert_eq!(snappy_length(&[0x80, 0x80, 2, 9]), Some(32768));
        assert_eq!(snappy_length(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some(u32::MAX));
        assert_eq!(snappy_length(&[0xff; 9]), None);
        assert_eq!(snappy_length(&[]), None);
    }
}
