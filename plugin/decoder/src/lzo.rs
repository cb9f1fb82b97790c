//! One block of LZO1X, the format that every LZO1X compressor of the library writes.
//!
//! An instruction copies bytes that were decoded before, then up to three literals that
//! follow it. Its first byte tells which one it is, and for the smallest bytes, how many
//! literals the instruction before it left.
//!
//! Source: The Linux kernel documentation, "LZO stream format as understood by Linux's
//! LZO decompressor". Its later variant with runs of zeroes is another format.

use crate::Failure;
use crate::bytes::{Input, Output};

/// The first byte of a block that begins with literals is above this, by their number.
const FIRST: usize = 17;
/// The distance at which the last instruction pretends to copy from.
const END: usize = 16384;
/// The length it pretends to copy.
const END_LENGTH: usize = 3;

/// The literals before an instruction: none, one to three, or a longer run.
const RUN: usize = 4;

/// Decodes up to the end mark.
pub(crate) fn decode(stored: &[u8], output: &mut [u8]) -> Result<usize, Failure> {
    let (mut input, mut output) = (Input(stored), Output::new(output));
    let mut literals = 0;
    let first = stored.first().copied().map_or(0, usize::from);
    if first > FIRST {
        input.byte()?;
        output.append(input.take(first - FIRST)?)?;
        literals = (first - FIRST).min(RUN);
    }
    loop {
        let byte = usize::from(input.byte()?);
        if byte < 16 && literals == 0 {
            let count = 3 + extended(&mut input, byte, 15)?;
            output.append(input.take(count)?)?;
            literals = RUN;
            continue;
        }
        let (distance, length, next) = match byte {
            0..16 => {
                let distance = usize::from(input.byte()?) << 2 | byte >> 2;
                let (base, length) = if literals == RUN { (2049, 3) } else { (1, 2) };
                (distance + base, length, byte)
            }
            16..32 => {
                let length = 2 + extended(&mut input, byte & 7, 7)?;
                let word = usize::from(u16::from_le_bytes(input.array()?));
                let distance = END + ((byte & 8) << 11) + (word >> 2);
                if distance == END {
                    let sound = length == END_LENGTH;
                    return if sound { Ok(output.filled()) } else { Err(Failure::Corrupt) };
                }
                (distance, length, word)
            }
            32..64 => {
                let length = 2 + extended(&mut input, byte & 31, 31)?;
                let word = usize::from(u16::from_le_bytes(input.array()?));
                ((word >> 2) + 1, length, word)
            }
            _ => {
                let distance = (usize::from(input.byte()?) << 3 | (byte >> 2) & 7) + 1;
                (distance, (byte >> 5) + 1, byte)
            }
        };
        output.repeat(distance, length)?;
        literals = next & 3;
        output.append(input.take(literals)?)?;
    }
}

/// A length that does not fit its bits: they are zero, and the bytes that follow are
/// added to what the bits can hold.
#[inline]
fn extended(input: &mut Input<'_>, bits: usize, most: usize) -> Result<usize, Failure> {
    if bits != 0 {
        return Ok(bits);
    }
    let mut length = most;
    loop {
        let byte = usize::from(input.byte()?);
        // As many turns as there are stored bytes: no more than 2^31 in all.
        let add = if byte == 0 { 255 } else { byte };
        length = length.checked_add(add).ok_or(Failure::TooLong)?;
        if byte != 0 {
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, decoded};

    fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
        decoded(Decoder::lzo, stored, most)
    }

    /// Eight literals, the same again by a copy of eight from eight before, the end.
    const STORED: &[u8] = b"\x19fumehood\xfc\x00\x11\x00\x00";

    #[test]
    fn a_block_is_decoded_up_to_the_mark_and_the_rest_ignored() {
        assert_eq!(decode(STORED, 16).as_deref(), Ok(&b"fumehoodfumehood"[..]));
        let padded = [STORED, b"behind"].concat();
        assert_eq!(decode(&padded, 20).as_deref(), Ok(&b"fumehoodfumehood"[..]));
        assert_eq!(decode(b"\x11\x00\x00", 0).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn each_instruction_copies_what_it_should() {
        // A run of 18 + 3 literals, with its length in two bytes.
        let run = [&b"\x00\x03"[..], b"abcdefghijklmnopqrstu", b"\x11\x00\x00"].concat();
        assert_eq!(decode(&run, 21).as_deref(), Ok(&b"abcdefghijklmnopqrstu"[..]));
        // One literal, then two bytes from one before with two literals behind.
        let short = b"\x12a\x02\x00xy\x11\x00\x00";
        assert_eq!(decode(short, 5).as_deref(), Ok(&b"aaaxy"[..]));
        // A length beyond its five bits, over the byte before.
        let long = b"\x12a\x20\x00\x07\x00\x00\x11\x00\x00";
        assert_eq!(decode(long, 296).as_deref(), Ok(&[b'a'; 296][..]));
        assert_eq!(decode(long, 295), Err(Failure::TooLong));
    }

    #[test]
    fn damage_is_found() {
        assert_eq!(decode(STORED, 7), Err(Failure::TooLong));
        assert_eq!(decode(STORED, 15), Err(Failure::TooLong));
        for cut in 1..=STORED.len() {
            let cut = &STORED[..STORED.len() - cut];
            assert_eq!(decode(cut, 16), Err(Failure::Corrupt), "{cut:?}");
        }
        // From before the beginning, and an end of another length.
        assert_eq!(decode(b"\x19fumehood\xfc\x01\x11\x00\x00", 16), Err(Failure::Corrupt));
        assert_eq!(decode(b"\x19fumehood\x12\x00\x00", 16), Err(Failure::Corrupt));
    }
}
