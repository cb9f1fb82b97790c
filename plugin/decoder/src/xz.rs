//! Streams of the .xz format.

use lzma_rust2::{Error, Read, XzReader};

use crate::Failure;
use crate::bytes::fill;

/// Decodes the first stream, and compares the checksum of each of its blocks. The
/// window grows with what was decoded, whatever dictionary the stream asks for.
pub(crate) fn decode(stored: &[u8], output: &mut [u8]) -> Result<usize, Failure> {
    let mut reader = XzReader::new(stored, false);
    fill(output, |room| reader.read(room).map_err(|error| failure(&error)))
}

/// Why the library failed. Its error is another type where others want that, and has no
/// case of its own for a checksum: its words are the same in all of them.
pub(crate) fn failure(error: &Error) -> Failure {
    let words = format!("{error:?}");
    if words.contains("block checksum") {
        Failure::Checksum
    } else if words.contains("OutOfMemory") {
        Failure::Memory
    } else {
        Failure::Corrupt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, decoded};

    /// "fumehood" as the tool encodes it, with SHA-256.
    const STREAM: &[u8] =
        b"\xfd\x37\x7a\x58\x5a\x00\x00\x0a\xe1\xfb\x0c\xa1\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\
        \xe5\xa3\x01\x00\x07\x66\x75\x6d\x65\x68\x6f\x6f\x64\x00\x5a\x74\xb9\xe4\x0d\x7f\x8a\x0e\
        \xbf\x6f\x58\x95\xea\x38\x21\xc7\x18\xed\x09\xdb\x78\x44\xc1\xdb\xad\x60\x27\xf9\x9c\x11\
        \xc1\x86\x00\x01\x38\x08\xe2\x81\xc2\x39\x18\x9b\x4b\x9a\x01\x00\x00\x00\x00\x0a\x59\x5a";

    fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
        decoded(Decoder::xz, stored, most)
    }

    #[test]
    fn one_stream_is_decoded_and_the_rest_ignored() {
        assert_eq!(decode(STREAM, 8).as_deref(), Ok(&b"fumehood"[..]));
        assert_eq!(decode(STREAM, 9).as_deref(), Ok(&b"fumehood"[..]));
        let twice = [STREAM, STREAM, b"behind"].concat();
        assert_eq!(decode(&twice, 8).as_deref(), Ok(&b"fumehood"[..]));
        assert_eq!(decode(&twice, 16).as_deref(), Ok(&b"fumehood"[..]));
    }

    #[test]
    fn damage_is_found() {
        assert_eq!(decode(STREAM, 7), Err(Failure::TooLong));
        for cut in 1..=STREAM.len() {
            assert_eq!(decode(&STREAM[..STREAM.len() - cut], 8), Err(Failure::Corrupt), "{cut}");
        }
        for at in [28, 36, 67] {
            let mut other = STREAM.to_vec();
            other[at] ^= 1;
            assert_eq!(decode(&other, 8), Err(Failure::Checksum), "{at}");
        }
    }
}
