//! Bounded zlib, for what the plugin itself must decode: case notes, and the
//! length of the last chunk. All other chunks are the host's to decode.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

/// Bytes of a stream read at once.
const STEP: u64 = 64 << 10;
/// Bytes decoded at once: a window of deflate.
const WINDOW: usize = 32 << 10;

/// All of the zlib stream at `offset`, of which at most `stored` bytes are read
/// and at most `limit` decoded.
///
/// # Errors
/// [`Error::Corrupt`] for a broken, cut or longer stream, or what the source answers.
pub fn inflate_all(source: &dyn Source, offset: u64, stored: u64, limit: u64) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    run(source, offset, stored, limit, |bytes| all.extend_from_slice(bytes))?;
    Ok(all)
}

/// How many bytes the zlib stream at `offset` decodes to, which is done in a
/// small, fixed amount of memory.
///
/// # Errors
/// As [`inflate_all`].
pub fn inflated_length(source: &dyn Source, offset: u64, stored: u64, limit: u64) -> Result<u64> {
    run(source, offset, stored, limit, |_| ())
}

fn run(
    source: &dyn Source,
    offset: u64,
    stored: u64,
    limit: u64,
    mut take: impl FnMut(&[u8]),
) -> Result<u64> {
    let corrupt = |what| Error::corrupt_in(source.id(), offset, what);
    let mut state: Box<InflateState> = InflateState::new_boxed(DataFormat::Zlib);
    let mut window = vec![0; WINDOW];
    let (mut read, mut length) = (0, 0u64);
    while read < stored {
        let step = STEP.min(stored - read);
        let bytes = read_bytes(source, offset.saturating_add(read), step, "zlib stream")?;
        read += step;
        let mut input = bytes.as_slice();
        loop {
            let result = inflate(&mut state, input, &mut window, MZFlush::None);
            input = input.get(result.bytes_consumed..).unwrap_or_default();
            let decoded = window.get(..result.bytes_written).unwrap_or_default();
            length += decoded.len() as u64;
            if length > limit {
                return Err(corrupt(format!("zlib stream is longer than {limit} bytes")));
            }
            take(decoded);
            match result.status {
                Ok(MZStatus::StreamEnd) => return Ok(length),
                // Without progress it wants more input.
                Ok(_) if result.bytes_consumed == 0 && result.bytes_written == 0 => break,
                Ok(_) => (),
                Err(miniz_oxide::MZError::Buf) => break,
                Err(error) => return Err(corrupt(format!("broken zlib stream: {error:?}"))),
            }
        }
    }
    Err(corrupt(format!("zlib stream does not end within {stored} bytes")))
}

#[cfg(test)]
mod tests {
    use fumehood_plugin::memory::MemorySource;
    use miniz_oxide::deflate::compress_to_vec_zlib;

    use super::*;

    #[test]
    fn streams_are_measured_and_bounded() {
        let plain: Vec<u8> =
            (0..300_000u32).flat_map(|n| (n.wrapping_mul(n) >> 3).to_le_bytes()).collect();
        let mut packed = compress_to_vec_zlib(&plain, 6);
        assert!(packed.len() as u64 > 2 * STEP);
        let size = packed.len() as u64;
        let length = plain.len() as u64;
        packed.push(0);
        let source = MemorySource::new(0, "z", packed);
        assert_eq!(inflated_length(&source, 0, size, length), Ok(length));
        assert_eq!(inflate_all(&source, 0, size, length), Ok(plain));
        assert!(inflated_length(&source, 0, size, length - 1).is_err());
        assert!(inflated_length(&source, 0, size - 1, length).is_err());
        assert!(inflated_length(&source, 1, size - 1, length).is_err());
        assert!(inflated_length(&source, 0, size + 1, length).is_ok_and(|found| found == length));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let packed = compress_to_vec_zlib(&vec![0; 4 << 20], 9);
        let size = packed.len() as u64;
        let source = MemorySource::new(0, "z", packed);
        assert!(inflate_all(&source, 0, size, 1 << 20).is_err());
    }
}
