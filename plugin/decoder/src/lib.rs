//! Decodes Zstandard for the host, inside the sandbox.
//!
//! The decoder underneath is as fast as the C library because it does as the C library
//! does: raw pointers, in unsafe code. Frames come from whoever wrote the image, so it
//! runs where a mistake in it costs one block and nothing else. This is no plugin: it is
//! a core module that imports nothing, and the host calls it for one block at a time.
//!
//! ```text
//!   host                                      this module
//!   input(n)          ───────────────────▶    room for n bytes
//!   output(m)         ───────────────────▶    room for m bytes
//!   writes the frame into the one
//!   zstd(n, m)        ───────────────────▶    decodes; how many bytes, or why not
//!   reads the other   ◀───────────────────
//! ```
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(target_family = "wasm")]
mod exports;

use structured_zstd::decoding::errors::FrameDecoderError;
use structured_zstd::decoding::{ContentChecksum, FrameDecoder, find_frame_compressed_size};

/// Why a frame was not decoded. The numbers are what the host is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Failure {
    /// It is not a sound frame, or passes the room there is before it says how long it is.
    Corrupt = -1,
    /// It says that it decodes to more than there is room for.
    TooLong = -2,
    /// It decodes to other bytes than those that were encoded.
    Checksum = -3,
}

/// The state of decoding, and a buffer at either end, kept from block to block.
pub struct Decoder {
    frames: FrameDecoder,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        let mut frames = FrameDecoder::new();
        frames.set_content_checksum(ContentChecksum::Verify);
        Self { frames, input: Vec::new(), output: Vec::new() }
    }
}

impl Decoder {
    /// Room for a frame of `length` bytes.
    pub fn input(&mut self, length: usize) -> &mut [u8] {
        room(&mut self.input, length)
    }

    /// Room for `length` decoded bytes.
    pub fn output(&mut self, length: usize) -> &mut [u8] {
        room(&mut self.output, length)
    }

    /// Decodes the first frame of the `stored` bytes in the input to at most `most`
    /// bytes in the output, and says how many they are. What follows the frame is not
    /// looked at.
    ///
    /// # Errors
    /// [`Failure`]; the output's contents are then undefined.
    pub fn zstd(&mut self, stored: usize, most: usize) -> Result<usize, Failure> {
        let stored = self.input.get(..stored).ok_or(Failure::Corrupt)?;
        let output = self.output.get_mut(..most).ok_or(Failure::TooLong)?;
        let length = find_frame_compressed_size(stored).map_err(|_| Failure::Corrupt)?;
        let frame = stored.get(..length).ok_or(Failure::Corrupt)?;
        self.frames.decode_all(frame, output).map_err(|error| match error {
            FrameDecoderError::TargetTooSmall => Failure::TooLong,
            FrameDecoderError::ChecksumMismatch { .. } => Failure::Checksum,
            _ => Failure::Corrupt,
        })
    }
}

/// A buffer never shrinks, and grows by no more than it must.
fn room(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if let Some(more) = length.checked_sub(buffer.len()) {
        buffer.reserve_exact(more);
        buffer.resize(length, 0);
    }
    buffer.get_mut(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "fumehood" as one stored block, with its length in the header.
    const FRAME: &[u8] = b"\x28\xb5\x2f\xfd\x20\x08\x41\x00\x00fumehood";

    fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
        let mut decoder = Decoder::default();
        decoder.input(stored.len()).copy_from_slice(stored);
        decoder.output(most);
        let length = decoder.zstd(stored.len(), most)?;
        Ok(decoder.output(length).to_vec())
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
