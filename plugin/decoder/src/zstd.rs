//! Zstandard frames.
//!
//! The decoder underneath is as fast as the C library because it does as the C library
//! does: raw pointers, in unsafe code.

use structured_zstd::decoding::errors::FrameDecoderError;
use structured_zstd::decoding::{ContentChecksum, FrameDecoder, find_frame_compressed_size};

use crate::Failure;

/// A decoder of frames, with its tables.
pub(crate) struct Frames(FrameDecoder);

impl Default for Frames {
    fn default() -> Self {
        let mut frames = FrameDecoder::new();
        frames.set_content_checksum(ContentChecksum::Verify);
        Self(frames)
    }
}

impl Frames {
    /// Decodes the first frame of `stored`, and says how many bytes it is.
    pub(crate) fn decode(&mut self, stored: &[u8], output: &mut [u8]) -> Result<usize, Failure> {
        let length = find_frame_compressed_size(stored).map_err(|_| Failure::Corrupt)?;
        let frame = stored.get(..length).ok_or(Failure::Corrupt)?;
        self.0.decode_all(frame, output).map_err(|error| match error {
            FrameDecoderError::TargetTooSmall => Failure::TooLong,
            FrameDecoderError::ChecksumMismatch { .. } => Failure::Checksum,
            _ => Failure::Corrupt,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, decoded};

    /// "fumehood" as one stored block, with its length in the header.
    const FRAME: &[u8] = b"\x28\xb5\x2f\xfd\x20\x08\x41\x00\x00fumehood";

    fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
        decoded(Decoder::zstd, stored, most)
    }

    #[test]
    fn the_first_frame_is_decoded_and_the_rest_ignored() {
        assert_eq!(decode(FRAME, 8).as_deref(), Ok(&b"fumehood"[..]));
        assert_eq!(decode(FRAME, 9).as_deref(), Ok(&b"fumehood"[..]));
        let padded = [FRAME, &[0xaa; 300]].concat();
        assert_eq!(decode(&padded, 8).as_deref(), Ok(&b"fumehood"[..]));
    }

    #[test]
    fn what_is_no_frame_or_too_long_is_refused() {
        assert_eq!(decode(FRAME, 7), Err(Failure::TooLong));
        assert_eq!(decode(&FRAME[..FRAME.len() - 1], 8), Err(Failure::Corrupt));
        assert_eq!(decode(b"not a frame", 8), Err(Failure::Corrupt));
        assert_eq!(decode(b"", 8), Err(Failure::Corrupt));
    }

    #[test]
    fn more_than_was_made_room_for_is_not_taken() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.zstd(1, 0), Err(Failure::Corrupt));
        decoder.input(FRAME.len()).copy_from_slice(FRAME);
        assert_eq!(decoder.zstd(FRAME.len(), 8), Err(Failure::TooLong));
    }
}
