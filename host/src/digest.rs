//! Digests: computing them, and how users read them.

use fumehood_core::DigestKind;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A digest function's name as users know it.
pub fn digest_name(kind: DigestKind) -> &'static str {
    match kind {
        DigestKind::Adler32 => "adler32",
        DigestKind::Crc32 => "crc32",
        DigestKind::Md5 => "md5",
        DigestKind::Sha1 => "sha1",
        DigestKind::Sha256 => "sha256",
    }
}

/// Bytes in hexadecimal, as digests are shown.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A digest under way.
pub(crate) enum Hasher {
    Adler32(simd_adler32::Adler32),
    Crc32(crc32fast::Hasher),
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub(crate) fn new(kind: DigestKind) -> Self {
        match kind {
            DigestKind::Adler32 => Self::Adler32(simd_adler32::Adler32::new()),
            DigestKind::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
            DigestKind::Md5 => Self::Md5(Md5::new()),
            DigestKind::Sha1 => Self::Sha1(Sha1::new()),
            DigestKind::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Adler32(state) => state.write(bytes),
            Self::Crc32(state) => state.update(bytes),
            Self::Md5(state) => state.update(bytes),
            Self::Sha1(state) => state.update(bytes),
            Self::Sha256(state) => state.update(bytes),
        }
    }

    /// Its value; checksums are little-endian.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Adler32(state) => state.finish().to_le_bytes().into(),
            Self::Crc32(state) => state.finalize().to_le_bytes().into(),
            Self::Md5(state) => state.finalize().to_vec(),
            Self::Sha1(state) => state.finalize().to_vec(),
            Self::Sha256(state) => state.finalize().to_vec(),
        }
    }
}
