//! LZFSE, with the three kinds of blocks that its encoder writes: entropy coded ones,
//! those of LZVN, and stored ones.

use std::io::Read;

use lzfse_rust::LzfseRingDecoder;

use crate::Failure;
use crate::bytes::{Input, fill};

/// A decoder with its window and its tables; made when it is first needed.
#[derive(Default)]
pub(crate) struct Rings(Option<Box<LzfseRingDecoder>>);

impl Rings {
    /// Decodes up to the end mark.
    pub(crate) fn decode(&mut self, stored: &[u8], output: &mut [u8]) -> Result<usize, Failure> {
        let outline = outline(stored)?;
        if outline.decoded > output.len() {
            return Err(Failure::TooLong);
        }
        // What lies behind the mark would be an error.
        let stored = stored.get(..outline.stored).ok_or(Failure::Corrupt)?;
        let mut reader = self.0.get_or_insert_default().reader_bytes(stored);
        let length = fill(output, |room| reader.read(room).map_err(|_| Failure::Corrupt))?;
        if length == outline.decoded { Ok(length) } else { Err(Failure::Corrupt) }
    }
}

/// What the headers of the blocks say.
struct Outline {
    /// Bytes up to the end mark, with it.
    stored: usize,
    /// Bytes that they decode to.
    decoded: usize,
}

/// Walks the headers up to the end mark.
fn outline(stored: &[u8]) -> Result<Outline, Failure> {
    let mut input = Input(stored);
    let mut decoded: usize = 0;
    loop {
        let magic: [u8; 4] = input.array()?;
        if &magic == b"bvx$" {
            return Ok(Outline { stored: stored.len() - input.0.len(), decoded });
        }
        let length = number(input.array()?)?;
        let payload = match &magic {
            b"bvx-" => length,
            b"bvxn" => number(input.array()?)?,
            b"bvx1" => long_header(&mut input)?,
            b"bvx2" => packed_header(&mut input)?,
            _ => return Err(Failure::Corrupt),
        };
        input.take(payload)?;
        decoded = decoded.checked_add(length).ok_or(Failure::TooLong)?;
    }
}

fn number(bytes: [u8; 4]) -> Result<usize, Failure> {
    usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| Failure::TooLong)
}

/// What follows the lengths of a block whose tables are not packed: the payload's
/// length, then the rest of a header of 772 bytes.
fn long_header(input: &mut Input<'_>) -> Result<usize, Failure> {
    number(input.array()?)?.checked_add(772 - 12).ok_or(Failure::Corrupt)
}

/// What follows the magic and the length of a block whose tables are packed. Three
/// words hold, among others, the lengths of the literals' and the instructions' payload
/// and, the tables included, of the header.
fn packed_header(input: &mut Input<'_>) -> Result<usize, Failure> {
    let mut words = [0; 3];
    for word in &mut words {
        *word = u64::from_le_bytes(input.array()?);
    }
    let literals = words[0] >> 20 & 0xf_ffff;
    let instructions = words[1] >> 40 & 0xf_ffff;
    let header = words[2] & 0xffff_ffff;
    // The fixed part of 32 bytes was taken.
    let tables = header.checked_sub(32).ok_or(Failure::Corrupt)?;
    usize::try_from(literals + instructions + tables).map_err(|_| Failure::Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, decoded};

    fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
        decoded(Decoder::lzfse, stored, most)
    }

    const STORED: &[u8] = b"bvx-\x08\x00\x00\x00fumehoodbvx$";

    #[test]
    fn blocks_are_decoded_up_to_the_mark_and_the_rest_ignored() {
        assert_eq!(decode(STORED, 8).as_deref(), Ok(&b"fumehood"[..]));
        assert_eq!(decode(STORED, 9).as_deref(), Ok(&b"fumehood"[..]));
        let padded = [STORED, b"behind"].concat();
        assert_eq!(decode(&padded, 8).as_deref(), Ok(&b"fumehood"[..]));
        let twice = [&STORED[..16], STORED].concat();
        assert_eq!(decode(&twice, 16).as_deref(), Ok(&b"fumehoodfumehood"[..]));
        assert_eq!(decode(b"bvx$", 8).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn damage_is_found() {
        assert_eq!(decode(STORED, 7), Err(Failure::TooLong));
        for cut in 1..=STORED.len() {
            let cut = &STORED[..STORED.len() - cut];
            assert_eq!(decode(cut, 8), Err(Failure::Corrupt), "{cut:?}");
        }
        assert_eq!(decode(b"bvx?\x08\x00\x00\x00fumehoodbvx$", 8), Err(Failure::Corrupt));
        // The second block would be the one too many, whatever it holds.
        let bomb = [&STORED[..16], b"bvxn\xff\xff\xff\xff\x00\x00\x00\x00bvx$"].concat();
        assert_eq!(decode(&bomb, 8), Err(Failure::TooLong));
    }
}
