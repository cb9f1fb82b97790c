//! The length of a zlib stream, for the one grain of a disk that may be cut. All else is
//! the host's to decode.

use alloc::boxed::Box;
use alloc::vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

/// Bytes of a stream read at once.
const STEP: u64 = 64 << 10;
/// Bytes decoded at once: a window of deflate.
const WINDOW: usize = 32 << 10;

/// How many bytes the zlib stream of `stored` bytes at `offset` decodes to, in a small,
/// fixed amount of memory.
///
/// # Errors
/// [`Error::Corrupt`] for a stream that is broken, cut, or longer than `limit` once
/// decoded; or what the source answers.
pub fn inflated_length(source: &dyn Source, offset: u64, stored: u64, limit: u64) -> Result<u32> {
    let corrupt = |what: &str| Error::corrupt_in(source.id(), offset, what);
    let mut state: Box<InflateState> = InflateState::new_boxed(DataFormat::Zlib);
    let mut window = vec![0; WINDOW];
    let (mut read, mut length) = (0, 0);
    while read < stored {
        let step = STEP.min(stored - read);
        let bytes = read_bytes(source, offset.saturating_add(read), step, "grain")?;
        read += step;
        let mut input = bytes.as_slice();
        loop {
            let result = inflate(&mut state, input, &mut window, MZFlush::None);
            input = input.get(result.bytes_consumed..).unwrap_or_default();
            length += result.bytes_written as u64;
            if length > limit {
                return Err(corrupt("a grain that decodes to more than a grain"));
            }
            match result.status {
                Ok(MZStatus::StreamEnd) => {
                    return u32::try_from(length).map_err(|_| corrupt("a grain of 4 GiB"));
                }
                // Without progress it wants more input.
                Ok(_) if result.bytes_consumed == 0 && result.bytes_written == 0 => break,
                Ok(_) => (),
                Err(miniz_oxide::MZError::Buf) => break,
                Err(_) => return Err(corrupt("a broken zlib stream")),
            }
        }
    }
    Err(corrupt("a zlib stream that does not end"))
}

#[cfg(test)]
mod tests {
    use fumehood_plugin::memory::MemorySource;
    use miniz_oxide::deflate::compress_to_vec_zlib;

    use super::*;

    #[test]
    fn streams_are_measured_and_bounded() {
        let plain: vec::Vec<u8> =
            (0..100_000u32).flat_map(|n| (n.wrapping_mul(n) >> 3).to_le_bytes()).collect();
        let packed = compress_to_vec_zlib(&plain, 6);
        let (size, length) = (packed.len() as u64, plain.len() as u64);
        assert!(size > 2 * STEP);
        let source = MemorySource::new(0, "z", packed);
        assert_eq!(inflated_length(&source, 0, size, length), Ok(400_000));
        assert!(inflated_length(&source, 0, size, length - 1).is_err());
        assert!(inflated_length(&source, 0, size - 1, length).is_err());
        assert!(inflated_length(&source, 1, size - 1, length).is_err());
        assert!(inflated_length(&source, 0, size + 1, length).is_err());
    }
}
