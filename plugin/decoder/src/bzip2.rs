//! bzip2 streams: the library in Rust that keeps the structure of the one in C.

use bzip2::{Decompress, Status};

use crate::Failure;

/// Begins a stream.
const MAGIC: &[u8] = b"BZh";

/// Decodes streams that follow each other directly, as writers that work in parallel
/// leave them. What follows the last, or the one that fills the output, is not looked at.
pub(crate) fn decode(mut stored: &[u8], output: &mut [u8]) -> Result<usize, Failure> {
    let mut filled = 0;
    loop {
        let room = output.get_mut(filled..).unwrap_or_default();
        let (taken, written) = stream(stored, room)?;
        filled += written;
        stored = stored.get(taken..).unwrap_or_default();
        if filled == output.len() || !stored.starts_with(MAGIC) {
            return Ok(filled);
        }
    }
}

/// Decodes one stream: how many bytes were taken, and how many written.
fn stream(stored: &[u8], output: &mut [u8]) -> Result<(usize, usize), Failure> {
    let mut decoder = Decompress::new(false);
    loop {
        let (taken, written) = progress(&decoder);
        let stored = stored.get(taken..).ok_or(Failure::Corrupt)?;
        let room = output.get_mut(written..).ok_or(Failure::Corrupt)?;
        // Asked for one byte more, a stream that is over compares its checksum.
        let full = room.is_empty();
        let room = if full { &mut [0][..] } else { room };
        let status = decoder.decompress(stored, room).map_err(|_| Failure::Corrupt)?;
        let now = progress(&decoder);
        if full && now.1 > written {
            return Err(Failure::TooLong);
        }
        match status {
            Status::StreamEnd => return Ok(now),
            Status::Ok if now != (taken, written) => {}
            _ => return Err(Failure::Corrupt),
        }
    }
}

fn progress(decoder: &Decompress) -> (usize, usize) {
    (decoder.total_in() as usize, decoder.total_out() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, decoded};

    /// "fumehood" as the tool encodes it.
    const STREAM: &[u8] =
        b"\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\xfb\x01\x68\xc0\x00\x00\x01\x01\x80\x07\x42\x82\
        \x00\x20\x00\x31\x0c\x01\x06\x99\xa4\x8b\xc6\x14\x5d\xc9\x14\xe1\x42\x43\xec\x05\xa3\x00";

    fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
        decoded(Decoder::bzip2, stored, most)
    }

    #[test]
    fn streams_in_a_row_are_one() {
        assert_eq!(decode(STREAM, 8).as_deref(), Ok(&b"fumehood"[..]));
        assert_eq!(decode(STREAM, 30).as_deref(), Ok(&b"fumehood"[..]));
        let twice = [STREAM, STREAM].concat();
        assert_eq!(decode(&twice, 16).as_deref(), Ok(&b"fumehoodfumehood"[..]));
        assert_eq!(decode(&twice, 12), Err(Failure::TooLong));
    }

    #[test]
    fn what_lies_behind_is_ignored() {
        let padded = [STREAM, &[0xaa; 300]].concat();
        assert_eq!(decode(&padded, 8).as_deref(), Ok(&b"fumehood"[..]));
        assert_eq!(decode(&padded, 9).as_deref(), Ok(&b"fumehood"[..]));
        // Behind a full output, a stream too, whatever is in it.
        let more = [STREAM, b"BZh nothing"].concat();
        assert_eq!(decode(&more, 8).as_deref(), Ok(&b"fumehood"[..]));
        assert_eq!(decode(&more, 9), Err(Failure::Corrupt));
    }

    #[test]
    fn damage_is_found() {
        assert_eq!(decode(STREAM, 7), Err(Failure::TooLong));
        for cut in 1..STREAM.len() {
            assert_eq!(decode(&STREAM[..STREAM.len() - cut], 8), Err(Failure::Corrupt), "{cut}");
        }
        assert_eq!(decode(b"", 8), Err(Failure::Corrupt));
        let mut other = STREAM.to_vec();
        other[12] ^= 1;
        assert_eq!(decode(&other, 8), Err(Failure::Corrupt), "the checksum is compared");
    }
}
