//! One block of Snappy: its decoded length, then literals and three kinds of copies.
//!
//! ```text
//!   llllll00                          l + 1 literals follow; 60 to 63: l + 1 is in the one
//!                                     to four bytes that come first
//!   ooolll01 oooooooo                 l + 4 bytes from o before
//!   llllll10 oooooooo oooooooo        l + 1 bytes from o before
//!   llllll11 oooooooo (four times)    l + 1 bytes from o before
//! ```
//!
//! Source: google/snappy, `format_description.txt`.

use crate::Failure;
use crate::bytes::{Input, Output};

/// The longest decoded length is 2^32 - 1: five bytes of seven bits.
const LENGTH_BYTES: u32 = 5;
/// Lengths of literals from here on stand in bytes of their own.
const LONG: usize = 60;

/// Decodes as many bytes as the block says it has.
pub(crate) fn decode(stored: &[u8], output: &mut [u8]) -> Result<usize, Failure> {
    let mut input = Input(stored);
    let length = length(&mut input)?;
    // A copy that passes the stated length is the block's fault, not that of the room.
    let mut output = Output::new(output.get_mut(..length).ok_or(Failure::TooLong)?);
    while output.filled() < length {
        let tag = usize::from(input.byte()?);
        let high = tag >> 2;
        let done = match tag & 3 {
            0 => {
                let count = literals(&mut input, high)?;
                output.append(input.take(count)?)
            }
            1 => {
                let distance = (tag & 0xe0) << 3 | usize::from(input.byte()?);
                output.repeat(distance, (high & 7) + 4)
            }
            2 => {
                let distance = u16::from_le_bytes(input.array()?);
                output.repeat(usize::from(distance), high + 1)
            }
            _ => {
                let distance = u32::from_le_bytes(input.array()?);
                output.repeat(distance as usize, high + 1)
            }
        };
        done.map_err(|_| Failure::Corrupt)?;
    }
    Ok(length)
}

/// The decoded length: seven bits a byte, the lowest first; the last has no high bit.
fn length(input: &mut Input<'_>) -> Result<usize, Failure> {
    let mut length = 0_u64;
    for place in 0..LENGTH_BYTES {
        let byte = input.byte()?;
        length |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let length = u32::try_from(length).map_err(|_| Failure::Corrupt)?;
            return Ok(length as usize);
        }
    }
    Err(Failure::Corrupt)
}

/// How many literals a tag announces.
#[inline]
fn literals(input: &mut Input<'_>, high: usize) -> Result<usize, Failure> {
    let Some(bytes) = high.checked_sub(LONG - 1).filter(|bytes| *bytes > 0) else {
        return Ok(high + 1);
    };
    let mut count = 0_u64;
    for (place, byte) in input.take(bytes)?.iter().enumerate() {
        count |= u64::from(*byte) << (8 * place);
    }
    usize::try_from(count + 1).map_err(|_| Failure::Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, decoded};

    fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
        decoded(Decoder::snappy, stored, most)
    }

    /// Eight literals, four bytes from eight before, two from twelve, two from fourteen.
    const STORED: &[u8] = b"\x10\x1cfumehood\x01\x08\x06\x0c\x00\x07\x0e\x00\x00\x00";

    #[test]
    fn every_kind_is_decoded() {
        assert_eq!(decode(STORED, 16).as_deref(), Ok(&b"fumehoodfumefufu"[..]));
        assert_eq!(decode(STORED, 30).as_deref(), Ok(&b"fumehoodfumefufu"[..]));
        let padded = [STORED, b"behind"].concat();
        assert_eq!(decode(&padded, 16).as_deref(), Ok(&b"fumehoodfumefufu"[..]));
        assert_eq!(decode(b"\x00", 0).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn lengths_have_up_to_four_bytes_of_their_own() {
        for (tag, bytes) in [(0xf0, 1), (0xf4, 2), (0xf8, 3), (0xfc, 4)] {
            let mut stored = vec![100, tag, 99];
            stored.resize(2 + bytes, 0);
            stored.extend([7; 100]);
            assert_eq!(decode(&stored, 100).as_deref(), Ok(&[7; 100][..]), "{bytes}");
        }
    }

    #[test]
    fn damage_is_found() {
        assert_eq!(decode(STORED, 15), Err(Failure::TooLong));
        for cut in 1..=STORED.len() {
            let cut = &STORED[..STORED.len() - cut];
            assert_eq!(decode(cut, 16), Err(Failure::Corrupt), "{cut:?}");
        }
        // A length of more than 32 bits, and of more than five bytes.
        assert_eq!(decode(b"\xff\xff\xff\xff\x10", 16), Err(Failure::Corrupt));
        assert_eq!(decode(b"\xff\xff\xff\xff\xff\x00", 16), Err(Failure::Corrupt));
        // From before the beginning, from nothing before, and past the stated length.
        assert_eq!(decode(b"\x05\x00a\x01\x02", 16), Err(Failure::Corrupt));
        assert_eq!(decode(b"\x05\x00a\x01\x00", 16), Err(Failure::Corrupt));
        assert_eq!(decode(b"\x04\x00a\x01\x01", 16), Err(Failure::Corrupt));
        assert_eq!(decode(b"\x03\x0cabcd", 16), Err(Failure::Corrupt));
    }
}
