//! Unpacking, by whichever method a set names, of what the plugin itself must read.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};

use crate::bunzip2;
use crate::inflate::{inflate_all, inflated_length};
use crate::media::Method;

/// What is ever unpacked into memory, and what of, in bytes. Of case notes, EnCase stops
/// at 1 MiB.
pub const MOST: u64 = 16 << 20;

/// What the `length` bytes at `offset`, or the first of them, unpack to: at most `limit`.
///
/// # Errors
/// [`Error::Corrupt`] for what is broken or too long, or what the source answers.
pub fn unpack(
    source: &dyn Source,
    offset: u64,
    length: u64,
    method: Method,
    limit: u64,
) -> Result<Vec<u8>> {
    let most = if method == Method::None { limit } else { MOST };
    if length > most {
        let what = format!("text of {length} bytes is longer than {most} bytes");
        return Err(Error::corrupt_in(source.id(), offset, what));
    }
    match method {
        Method::None => read_bytes(source, offset, length, "text"),
        Method::Zlib => inflate_all(source, offset, length, limit),
        Method::Bzip2 => {
            let bytes = read_bytes(source, offset, length, "bzip2 stream")?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            bunzip2::decode(bytes, limit).map_err(|error| {
                Error::corrupt_in(source.id(), offset, format!("bzip2 stream: {error}"))
            })
        }
    }
}

/// How many bytes that is.
///
/// # Errors
/// As [`unpack`].
pub fn unpacked_length(
    source: &dyn Source,
    offset: u64,
    length: u64,
    method: Method,
    limit: u64,
) -> Result<u64> {
    match method {
        Method::Zlib => inflated_length(source, offset, length, limit),
        _ => {
            let bytes = unpack(source, offset, length, method, limit.min(MOST))?;
            Ok(bytes.len() as u64)
        }
    }
}
