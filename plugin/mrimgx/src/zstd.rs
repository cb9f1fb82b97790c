//! Zstandard, bounded: frames that describe the image, and the length that a frame
//! says it has.
//!
//! Source: RFC 8878.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

/// The largest window that a frame may ask memory for.
const MOST_WINDOW: u64 = 8 << 20;
/// Bytes decoded at once.
const STEP: usize = 64 << 10;

/// What the frame that `stored` begins with decodes to, at most `most` bytes. What is
/// behind it is not looked at.
///
/// # Errors
/// What is wrong with it, in words.
pub fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MOST_WINDOW);
    let mut input = stored;
    decoder.reset(&mut input).map_err(|error| format!("no zstd frame: {error}"))?;
    let expected = content_size(stored).and_then(|size| usize::try_from(size).ok());
    let mut out = Vec::with_capacity(expected.filter(|size| *size <= most).unwrap_or(0));
    let mut buffer = vec![0; STEP];
    loop {
        let finished = decoder.is_finished();
        let length = decoder.read(&mut buffer).map_err(|_| "broken zstd frame".to_string())?;
        if out.len() + length > most {
            return Err(format!("a zstd frame of more than {most} bytes"));
        }
        out.extend_from_slice(buffer.get(..length).unwrap_or_default());
        if length > 0 {
            continue;
        }
        if finished {
            return Ok(out);
        }
        decoder
            .decode_blocks(&mut input, BlockDecodingStrategy::UptoBytes(STEP))
            .map_err(|error| format!("broken zstd frame: {error}"))?;
    }
}

/// The decoded length that the header of a frame tells, if `head` begins with one that
/// does.
pub fn content_size(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let (descriptor, rest) = rest.split_first()?;
    let single = descriptor & 0x20 != 0;
    let window = usize::from(!single);
    let dictionary = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied()?;
    let rest = rest.get(window + dictionary..)?;
    match descriptor >> 6 {
        0 if single => rest.first().map(|byte| u64::from(*byte)),
        0 => None,
        1 => rest.first_chunk().map(|bytes| u64::from(u16::from_le_bytes(*bytes)) + 256),
        2 => rest.first_chunk().map(|bytes| u32::from_le_bytes(*bytes).into()),
        _ => rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "fumehood" as one stored block, with its length in the header.
    const FRAME: &[u8] = b"\x28\xb5\x2f\xfd\x20\x08\x41\x00\x00fumehood";

    #[test]
    fn frames_are_decoded_within_bounds() {
        assert_eq!(decode(FRAME, 8).as_deref(), Ok(&b"fumehood"[..]));
        assert_eq!(decode(&[FRAME, &[1; 99]].concat(), 8).as_deref(), Ok(&b"fumehood"[..]));
        assert!(decode(FRAME, 7).is_err());
        assert!(decode(&FRAME[..12], 8).is_err());
        assert!(decode(b"not a frame", 8).is_err());
        // A window of 4 GiB.
        assert!(decode(b"\x28\xb5\x2f\xfd\x00\xb0\x01\x00\x00", 8).is_err());
    }

    #[test]
    fn a_bomb_stops_at_its_bound() {
        // Blocks of one repeated byte, 128 KiB each.
        let mut frame = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
        for number in 0..512u32 {
            let head = 131_072 << 3 | 1 << 1 | u32::from(number == 511);
            frame.extend(&head.to_le_bytes()[..3]);
            frame.push(0);
        }
        assert!(decode(&frame, 1 << 20).is_err());
        assert_eq!(decode(&frame, 64 << 20).map(|bytes| bytes.len()), Ok(64 << 20));
    }

    #[test]
    fn lengths_are_told_by_headers() {
        assert_eq!(content_size(FRAME), Some(8));
        assert_eq!(content_size(b"\x28\xb5\x2f\xfd\x60\x00\xff"), Some(0xff00 + 256));
        assert_eq!(content_size(b"\x28\xb5\x2f\xfd\x80\x58\x00\x00\x01\x00"), Some(65536));
        assert_eq!(content_size(b"\x28\xb5\x2f\xfd\x00\x58"), None);
        assert_eq!(content_size(b"\x28\xb5\x2f"), None);
    }
}
