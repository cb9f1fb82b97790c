//! Apple Data Compression: literals, and two kinds of copies.
//!
//! ```text
//!   1lllllll                         l + 1 literals follow
//!   00llllnn nnnnnnnn                l + 3 bytes from n + 1 before
//!   01llllll nnnnnnnn nnnnnnnn       l + 4 bytes from n + 1 before
//! ```

use crate::Failure;
use crate::bytes::{Input, Output};

/// Decodes to the last stored byte: the format has no end mark.
pub(crate) fn decode(stored: &[u8], output: &mut [u8]) -> Result<usize, Failure> {
    let (mut input, mut output) = (Input(stored), Output::new(output));
    while !input.0.is_empty() {
        let byte = usize::from(input.byte()?);
        if byte & 0x80 != 0 {
            output.append(input.take((byte & 0x7f) + 1)?)?;
        } else if byte & 0x40 != 0 {
            let distance = usize::from(u16::from_be_bytes(input.array()?));
            output.repeat(distance + 1, (byte & 0x3f) + 4)?;
        } else {
            let distance = (byte & 3) << 8 | usize::from(input.byte()?);
            output.repeat(distance + 1, (byte >> 2) + 3)?;
        }
    }
    Ok(output.filled())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, decoded};

    fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
        decoded(Decoder::adc, stored, most)
    }

    /// Eight literals, a short copy of eight, a long one of four from one before.
    const STORED: &[u8] = b"\x87fumehood\x14\x07\x40\x00\x00";

    #[test]
    fn every_kind_is_decoded() {
        assert_eq!(decode(STORED, 20).as_deref(), Ok(&b"fumehoodfumehooddddd"[..]));
        assert_eq!(decode(STORED, 30).as_deref(), Ok(&b"fumehoodfumehooddddd"[..]));
        assert_eq!(decode(b"", 8).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn damage_is_found() {
        assert_eq!(decode(STORED, 19), Err(Failure::TooLong));
        assert_eq!(decode(STORED, 7), Err(Failure::TooLong));
        for cut in [1, 2, 4, 6, 12] {
            let cut = &STORED[..STORED.len() - cut];
            assert_eq!(decode(cut, 20), Err(Failure::Corrupt), "{cut:?}");
        }
        assert_eq!(decode(b"\x87fumehood\x14\x08", 20), Err(Failure::Corrupt));
        assert_eq!(decode(b"\x00\x00", 20), Err(Failure::Corrupt));
    }
}
