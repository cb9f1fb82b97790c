//! No answer is trusted: the rules that every answer of `extents` must keep.

use alloc::format;
use alloc::string::String;

use crate::contract::format::{Cipher, Codec, Content, DigestKind, DigestValue, Encoded, Extent};
use crate::imports::SourceTable;

/// The most extents of one answer.
pub(crate) const ANSWER_LIMIT: usize = 65536;
/// The most bytes of one encoded block, stored or decoded.
pub(crate) const BLOCK_LIMIT: u32 = 64 << 20;
/// The most bytes of what was decoded before a block; deflate refers no further back.
const WINDOW_LIMIT: u32 = 32 << 10;

/// Checks an answer about `offset` of a disk of `size` bytes.
///
/// # Errors
/// The first rule broken, in words.
pub(crate) fn check_answer(
    answer: &[Extent],
    offset: u64,
    size: u64,
    sources: &SourceTable,
) -> Result<(), String> {
    let Some(first) = answer.first() else {
        return Err(format!("an answer about offset {offset} without extents"));
    };
    if answer.len() > ANSWER_LIMIT {
        return Err(format!("{} extents in an answer; {ANSWER_LIMIT} are allowed", answer.len()));
    }
    if first.offset > offset || first.offset.saturating_add(first.length) <= offset {
        let (start, length) = (first.offset, first.length);
        return Err(format!("asked about offset {offset}, it answers {length} bytes at {start}"));
    }
    let mut at = first.offset;
    for extent in answer {
        if extent.offset != at {
            return Err(format!("an extent begins at {}, not at {at}", extent.offset));
        }
        at = match at.checked_add(extent.length) {
            Some(end) if extent.length > 0 && end <= size => end,
            _ => {
                let length = extent.length;
                return Err(format!("{length} bytes at {at} of a disk of {size} bytes"));
            }
        };
        check_content(extent, sources)?;
    }
    Ok(())
}

fn check_content(extent: &Extent, sources: &SourceTable) -> Result<(), String> {
    match &extent.content {
        Content::Stored(stored) => within(sources, stored.source, stored.offset, extent.length),
        Content::Encoded(encoded) => {
            let last = u64::from(encoded.skip).saturating_add(extent.length);
            if last > u64::from(encoded.decoded_length) {
                return Err(format!(
                    "an extent of {} bytes after {} in a block of {}",
                    extent.length, encoded.skip, encoded.decoded_length
                ));
            }
            if encoded.stored_length.max(encoded.decoded_length) > BLOCK_LIMIT {
                return Err(format!(
                    "a block of {} bytes, {} decoded; {BLOCK_LIMIT} are allowed",
                    encoded.stored_length, encoded.decoded_length
                ));
            }
            check_needs(encoded, sources)?;
            let behind = digest_behind(encoded)?;
            within(
                sources,
                encoded.source,
                encoded.offset,
                u64::from(encoded.stored_length) + behind,
            )
        }
        Content::Absent | Content::Zero | Content::Computed | Content::Damaged(_) => Ok(()),
    }
}

/// A key that was kept, a vector and a tag of the cipher's lengths, a window that is
/// there.
fn check_needs(encoded: &Encoded, sources: &SourceTable) -> Result<(), String> {
    if let Some(encryption) = &encoded.encryption {
        let (vector, tag) = (encryption.vector.len(), encryption.tag.len());
        let fits = match encryption.cipher {
            Cipher::AesCbc => vector == 16 && tag == 0,
            Cipher::AesGcm => matches!(vector, 12 | 16) && tag == 16,
        };
        if !fits {
            let cipher = encryption.cipher;
            return Err(format!("{cipher:?} with {vector} bytes of vector and {tag} of tag"));
        }
        if sources.secret(encryption.key).is_none() {
            return Err(format!("it names key {}, which it never kept", encryption.key));
        }
    }
    if let Some(window) = &encoded.window {
        if window.bits > 7
            || window.length > WINDOW_LIMIT
            || !matches!(encoded.codec, Codec::Deflate)
        {
            let (bits, length, codec) = (window.bits, window.length, encoded.codec);
            return Err(format!("a window of {length} bytes and {bits} bits for {codec:?}"));
        }
        within(sources, window.source, window.offset, window.length.into())?;
    }
    Ok(())
}

/// Bytes of the digest that stands behind the stored ones.
fn digest_behind(encoded: &Encoded) -> Result<u64, String> {
    let Some(digest) = &encoded.digest else { return Ok(0) };
    let expected = digest_length(digest.kind);
    match &digest.value {
        DigestValue::Follows => Ok(expected as u64),
        DigestValue::Given(value) if value.len() == expected => Ok(0),
        DigestValue::Given(value) => {
            Err(format!("a {:?} digest of {} bytes", digest.kind, value.len()))
        }
    }
}

/// Length of a digest in bytes.
pub fn digest_length(kind: DigestKind) -> usize {
    match kind {
        DigestKind::Adler32 | DigestKind::Crc32 | DigestKind::Crc32Plain | DigestKind::Crc32c => 4,
        DigestKind::Crc64 | DigestKind::Xxh64 => 8,
        DigestKind::Xxh128 | DigestKind::Md5 => 16,
        DigestKind::Sha1 => 20,
        DigestKind::Sha256 => 32,
    }
}

/// The range must lie in a granted source. One that is only declared is checked
/// when it is opened for use: its reads fail past its end.
fn within(sources: &SourceTable, id: u32, offset: u64, length: u64) -> Result<(), String> {
    let Some(source) = sources.get(id) else {
        if sources.is_declared(id) {
            let sane = offset.checked_add(length).is_some_and(|end| end <= i64::MAX as u64);
            let name = sources.name(id);
            return sane
                .then_some(())
                .ok_or_else(|| format!("{length} bytes at {offset} of {name}"));
        }
        return Err(format!("an extent in source {id}, which was never granted"));
    };
    let size = source.size();
    if offset.checked_add(length).is_none_or(|end| end > size) {
        let name = source.name();
        return Err(format!("{length} bytes at {offset} of {name}, which has {size}"));
    }
    Ok(())
}
