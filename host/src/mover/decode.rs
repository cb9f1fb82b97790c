//! Codecs and digests: one block in, one block out, in memory-safe code or in the
//! sandbox.
//!
//! A decoder writes exactly the block's decoded length or fails, whatever the
//! stored bytes say; nothing here allocates by what they say.

use fumehood_core::{Codec, DigestKind};

use super::inflate::inflate;
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
        Codec::Lz4 => match lz4_flex::block::decompress_into(stored, out) {
            Ok(length) if length == out.len() => Ok(()),
            Ok(length) => Err(format!("it decodes to {length} bytes, not {}", out.len())),
            Err(error) => Err(format!("its LZ4 block is corrupt: {error}")),
        },
        Codec::Zstd
        | Codec::Lzo
        | Codec::Bzip2
        | Codec::Xz
        | Codec::Lzma2
        | Codec::Lzfse
        | Codec::Adc
        | Codec::Snappy => sandbox.decode(codec, stored, out),
    }
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
            (DigestKind::Crc32Plain, (!0x414f_a339_u32).to_le_bytes().to_vec()),
            (DigestKind::Crc32c, 0x2262_0404_u32.to_le_bytes().to_vec()),
            (DigestKind::Crc64, 0x5b5e_b8c2_e54a_a1c4_u64.to_le_bytes().to_vec()),
            (DigestKind::Xxh64, 0x0b24_2d36_1fda_71bc_u64.to_le_bytes().to_vec()),
            (
                DigestKind::Xxh128,
                0xddd6_5020_5ca3_e7fa_24a1_cc2e_3a8a_7651_u128.to_le_bytes().to_vec(),
            ),
            (DigestKind::Md5, md5.to_vec()),
        ] {
            let text = b"The quick brown fox jumps over the lazy dog";
            assert_eq!(check_digest(kind, text, &expected), Ok(()));
            assert!(check_digest(kind, b"another", &expected).is_err());
        }
    }
}
