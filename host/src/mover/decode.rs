//! Codecs and digests: one block in, one block out, in memory-safe code or in the
//! sandbox.
//!
//! A decoder writes exactly the block's decoded length or fails, whatever the
//! stored bytes say; nothing here allocates by what they say.

use fumehood_core::{Codec, DigestKind};
use zune_inflate::{DeflateDecoder, DeflateOptions};

use super::sandbox::Sandbox;
use crate::digest::{Hasher, digest_name, hex};

/// Fills `out` with what `stored` decodes to.
///
/// # Errors
/// What is wrong with the stored bytes, in words.
pub(super) fn decode(
    sandbox: &Sandbox,
    codec: Codec,
    stored: &[u8],
    out: &mut [u8],
) -> Result<(), String> {
    match codec {
        Codec::Identity if stored.len() == out.len() => {
            out.copy_from_slice(stored);
            Ok(())
        }
        Codec::Identity => Err(format!("{} bytes stored for {}", stored.len(), out.len())),
        Codec::Deflate => inflate(false, stored, out),
        Codec::Zlib => inflate(true, stored, out),
        Codec::Zstd => sandbox.zstd(stored, out),
    }
}

/// Inflates with the checksum compared where there is one. Bytes behind the stream
/// are not looked at.
fn inflate(header: bool, stored: &[u8], out: &mut [u8]) -> Result<(), String> {
    let options = DeflateOptions::default().set_limit(out.len()).set_size_hint(out.len());
    let mut decoder = DeflateDecoder::new_with_options(stored, options);
    let inflated = if header { decoder.decode_zlib() } else { decoder.decode_deflate() };
    let inflated = match inflated {
        Ok(bytes) => bytes,
        Err(error) => {
            return Err(format!(
                "its deflate stream is corrupt: {}",
                format!("{:?}", error.error).trim()
            ));
        }
    };
    if inflated.len() != out.len() {
        return Err(format!("it inflates to {} bytes, not {}", inflated.len(), out.len()));
    }
    out.copy_from_slice(&inflated);
    Ok(())
}

/// Compares the digest of `bytes`; checksums are little-endian.
///
/// # Errors
/// Both values, in words.
pub(super) fn check_digest(kind: DigestKind, bytes: &[u8], expected: &[u8]) -> Result<(), String> {
    let mut hasher = Hasher::new(kind);
    hasher.update(bytes);
    let found = hasher.finish();
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (hex(&found), hex(expected));
    let name = digest_name(kind);
    Err(format!("its {name} is {found}, not {expected} as stored"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mover::sandbox::tests::sandboxed;
    use std::io::Write;

    fn sample() -> Vec<u8> {
        (0..65536u32).map(|at| ((at * at) >> 9) as u8).collect()
    }

    fn decode(codec: Codec, stored: &[u8], out: &mut [u8]) -> Result<(), String> {
        super::decode(&sandboxed(), codec, stored, out)
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_zlib_block_decodes_to_its_length_and_nothing_else() {
        let (plain, stored) = (sample(), zlib(&sample()));
        let mut out = vec![0; plain.len()];
        decode(Codec::Zlib, &stored, &mut out).unwrap();
        assert_eq!(out, plain);
        let mut padded = stored.clone();
        padded.extend([0xaa; 300]);
        decode(Codec::Zlib, &padded, &mut out).unwrap();
        assert_eq!(out, plain, "bytes behind the stream are ignored");

        assert!(decode(Codec::Zlib, &stored, &mut vec![0; plain.len() - 1]).is_err());
        assert!(decode(Codec::Zlib, &stored, &mut vec![0; plain.len() + 1]).is_err());
        let mut wrong_sum = stored.clone();
        *wrong_sum.last_mut().unwrap() ^= 1;
        assert!(decode(Codec::Zlib, &wrong_sum, &mut out).is_err());
        for cut in 0..64 {
            assert!(decode(Codec::Zlib, &stored[..stored.len() - 1 - cut], &mut out).is_err());
        }
    }

    #[test]
    fn a_raw_deflate_block_may_go_on() {
        let (plain, stored) = (sample(), zlib(&sample()));
        let raw = &stored[2..];
        let mut out = vec![0; plain.len()];
        decode(Codec::Deflate, raw, &mut out).unwrap();
        assert_eq!(out, plain);
        assert!(decode(Codec::Deflate, &raw[..raw.len() / 2], &mut out).is_err());
    }

    #[test]
    fn digests_are_the_published_ones() {
        let md5 = [
            0x9e, 0x10, 0x7d, 0x9d, 0x37, 0x2b, 0xb6, 0x82, 0x6b, 0xd8, 0x1d, 0x35, 0x42, 0xa4,
            0x19, 0xd6,
        ];
        for (kind, expected) in [
            (DigestKind::Adler32, 0x5bdc_0fda_u32.to_le_bytes().to_vec()),
            (DigestKind::Crc32, 0x414f_a339_u32.to_le_bytes().to_vec()),
            (DigestKind::Md5, md5.to_vec()),
        ] {
            let text = b"The quick brown fox jumps over the lazy dog";
            assert_eq!(check_digest(kind, text, &expected), Ok(()));
            assert!(check_digest(kind, b"another", &expected).is_err());
        }
    }
}
