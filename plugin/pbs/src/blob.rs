//! Data blobs: what chunks and small files are wrapped in (`file-formats.rst`, "Data
//! Blob Format"). Chunks are described to the host; small files are decoded here.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use aes_gcm::AesGcm;
use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::Aes256;
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use fumehood_plugin::read::{parse_struct, read_bytes};
use fumehood_plugin::{Error, Result, Source};
use structured_zstd::decoding::errors::FrameDecoderError;
use structured_zstd::decoding::{ContentChecksum, FrameDecoder};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// The most that a small file may decode to, in bytes.
pub const SMALL: usize = 16 << 20;
/// The most a decoder of such files may look back.
const WINDOW: u64 = 8 << 20;

/// The header of a blob that is not encrypted.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Plain {
    magic: [u8; 8],
    checksum: U32,
}

/// The header of an encrypted blob.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Encrypted {
    plain: Plain,
    vector: [u8; 16],
    tag: [u8; 16],
}

const PLAIN: u64 = size_of::<Plain>() as u64;
const ENCRYPTED: u64 = size_of::<Encrypted>() as u64;

/// The kinds of blob: magic, whether compressed, whether encrypted.
const KINDS: [([u8; 8], bool, bool); 4] = [
    ([0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1], false, false),
    ([0x31, 0xb9, 0x58, 0x42, 0x6f, 0xb6, 0xa3, 0x7f], true, false),
    ([0x7b, 0x67, 0x85, 0xbe, 0x22, 0x2d, 0x4c, 0xf0], false, true),
    ([0xe6, 0x59, 0x1b, 0xbf, 0x0b, 0xbf, 0xd8, 0x0b], true, true),
];

/// Whether a file that begins like this is a blob.
pub fn is_blob(head: &[u8]) -> bool {
    KINDS.iter().any(|(magic, ..)| head.starts_with(magic))
}

/// Where and how a blob's data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Whether it is a Zstandard frame, once decrypted.
    pub compressed: bool,
    /// Vector and tag, if it is encrypted.
    pub sealed: Option<Seal>,
    /// Offset of the data.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    checksum: u32,
}

/// What AES-GCM needs beside the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The initialisation vector.
    pub vector: [u8; 16],
    /// The tag.
    pub tag: [u8; 16],
}

impl Blob {
    /// Reads the header of the blob in `source`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it is none, or shorter than its header.
    pub fn read(source: &dyn Source) -> Result<Self> {
        let length = source.size().min(ENCRYPTED);
        let head = read_bytes(source, 0, length, "header of a blob")?;
        let plain: Plain = parse_struct(&head, source.id(), 0, "header of a blob")?;
        let kind = KINDS.iter().find(|(magic, ..)| *magic == plain.magic);
        let Some((_, compressed, encrypted)) = kind.copied() else {
            let what = format!("expected a blob, found {}", plain.magic.escape_ascii());
            return Err(Error::corrupt_in(source.id(), 0, what));
        };
        let sealed = match encrypted {
            true => {
                let what = "header of an encrypted blob";
                let header: Encrypted = parse_struct(&head, source.id(), 0, what)?;
                Some(Seal { vector: header.vector, tag: header.tag })
            }
            false => None,
        };
        let offset = if encrypted { ENCRYPTED } else { PLAIN };
        let length = source.size().saturating_sub(offset);
        Ok(Self { compressed, sealed, offset, length, checksum: plain.checksum.get() })
    }

    /// The data of a small file, decrypted with `key` and decoded.
    ///
    /// # Errors
    /// [`Error::NeedsKey`] without the key, [`Error::Corrupt`] where a checksum or the
    /// coding is wrong or it decodes to more than [`SMALL`].
    pub fn contents(&self, source: &dyn Source, key: Option<&[u8; 32]>) -> Result<Vec<u8>> {
        let corrupt = |what: &str| {
            Error::corrupt_in(source.id(), self.offset, format!("{}: {what}", source.name()))
        };
        let mut bytes = read_bytes(source, self.offset, self.length, "data of a blob")?;
        if CRC.checksum(&bytes) != self.checksum {
            return Err(corrupt("its checksum is another"));
        }
        if let Some(seal) = &self.sealed {
            let Some(key) = key else {
                let what = format!("{} is encrypted", source.name());
                return Err(Error::NeedsKey(what));
            };
            if !open_sealed(key, seal, &mut bytes) {
                return Err(corrupt("it does not decrypt with this key"));
            }
        }
        if !self.compressed {
            return Ok(bytes);
        }
        decode(&bytes).map_err(corrupt)
    }
}

/// Decrypts in place; whether key and tag fit. Otherwise the bytes are undefined.
#[must_use]
pub fn open_sealed(key: &[u8; 32], seal: &Seal, bytes: &mut [u8]) -> bool {
    let cipher = AesGcm::<Aes256, U16>::new(key.into());
    cipher
        .decrypt_inout_detached((&seal.vector).into(), &[], bytes.into(), (&seal.tag).into())
        .is_ok()
}

/// Decodes Zstandard, into as much room as turns out to be needed.
fn decode(frame: &[u8]) -> core::result::Result<Vec<u8>, &'static str> {
    for room in [64 << 10, 1 << 20, SMALL] {
        let mut decoder = FrameDecoder::new();
        decoder.set_content_checksum(ContentChecksum::Verify);
        if decoder.set_max_window_size(WINDOW).is_err() {
            break;
        }
        let mut output = vec![0; room];
        match decoder.decode_all(frame, &mut output) {
            Ok(length) => {
                output.truncate(length);
                return Ok(output);
            }
            Err(FrameDecoderError::TargetTooSmall) => (),
            Err(_) => return Err("it is no sound Zstandard frame"),
        }
    }
    Err("it decodes to more than such files hold")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fumehood_plugin::memory::MemorySource;

    /// "fumehood" as one stored block.
    const FRAME: &[u8] = b"\x28\xb5\x2f\xfd\x20\x08\x41\x00\x00fumehood";

    fn blob(kind: usize, checksum: u32, data: &[u8]) -> MemorySource {
        let (magic, ..) = KINDS[kind];
        let bytes = [&magic[..], &checksum.to_le_bytes(), data].concat();
        MemorySource::new(3, "x.blob", bytes)
    }

    #[test]
    fn plain_and_compressed_files_are_decoded() {
        for (kind, data) in [(0, &b"fumehood"[..]), (1, FRAME)] {
            let source = blob(kind, CRC.checksum(data), data);
            let contents = Blob::read(&source).unwrap().contents(&source, None).unwrap();
            assert_eq!(contents, b"fumehood");
            let wrong = blob(kind, 1, data);
            let refused = Blob::read(&wrong).unwrap().contents(&wrong, None);
            assert!(matches!(refused, Err(Error::Corrupt { source_id: 3, .. })));
        }
        let source = blob(1, CRC.checksum(b"no frame"), b"no frame");
        assert!(Blob::read(&source).unwrap().contents(&source, None).is_err());
    }

    #[test]
    fn short_ones_are_refused() {
        let whole = blob(2, 0, &[0; 32]);
        assert_eq!(Blob::read(&whole).unwrap().length, 0);
        for length in [0, 7, 11, 43] {
            let short = MemorySource::new(3, "x", whole.bytes()[..length].to_vec());
            assert!(matches!(Blob::read(&short), Err(Error::Corrupt { .. })), "{length}");
        }
    }
}
