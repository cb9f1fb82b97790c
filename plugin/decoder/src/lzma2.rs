//! The chunks of LZMA2, as they stand in a block of the .xz format, without anything
//! around them.

use lzma_rust2::{Lzma2Reader, Read};

use crate::Failure;
use crate::bytes::fill;
use crate::xz::failure;

/// The smallest dictionary that the format knows.
const LEAST: u32 = 4096;

/// Decodes up to the end mark. No distance in a sound block is larger than the block,
/// so the output's length is all that the dictionary needs.
pub(crate) fn decode(stored: &[u8], output: &mut [u8]) -> Result<usize, Failure> {
    let dictionary = u32::try_from(output.len()).map_err(|_| Failure::TooLong)?;
    let mut reader = Lzma2Reader::new(stored, dictionary.max(LEAST), None);
    fill(output, |room| reader.read(room).map_err(|error| failure(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, decoded};

    /// "fumehood" as the tool encodes it, and the same twice.
    const STORED: &[u8] = b"\x01\x00\x07fumehood\x00";
    const TWICE: &[u8] =
        b"\xe0\x00\x0f\x00\x0d\x5d\x00\x33\x1d\x49\xdd\xcf\x3a\x9d\xe9\x6c\x50\x7f\x30\x00\x00";

    fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
        decoded(Decoder::lzma2, stored, most)
    }

    #[test]
    fn chunks_are_decoded_up_to_the_mark_and_the_rest_ignored() {
        assert_eq!(decode(STORED, 8).as_deref(), Ok(&b"fumehood"[..]));
        assert_eq!(decode(TWICE, 16).as_deref(), Ok(&b"fumehoodfumehood"[..]));
        let padded = [TWICE, b"behind"].concat();
        assert_eq!(decode(&padded, 20).as_deref(), Ok(&b"fumehoodfumehood"[..]));
        assert_eq!(decode(b"\0", 20).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn damage_is_found() {
        assert_eq!(decode(STORED, 7), Err(Failure::TooLong));
        assert_eq!(decode(TWICE, 15), Err(Failure::TooLong));
        for stored in [STORED, TWICE] {
            for cut in 1..=stored.len() {
                let cut = &stored[..stored.len() - cut];
                assert_eq!(decode(cut, 16), Err(Failure::Corrupt), "{cut:?}");
            }
        }
        // Chunks that build on a dictionary, or on properties, that were never set.
        assert_eq!(decode(b"\x02\x00\x07fumehood\x00", 8), Err(Failure::Corrupt));
        assert_eq!(decode(b"\x03\x00\x07fumehood\x00", 8), Err(Failure::Corrupt));
        let mut other = TWICE.to_vec();
        other[0] = 0x80;
        assert_eq!(decode(&other, 16), Err(Failure::Corrupt));
    }
}
