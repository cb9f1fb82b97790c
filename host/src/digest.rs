//! Digests: computing them, and how users read them.

use std::hash::Hasher as _;

use crc::{CRC_32_ISCSI, CRC_64_XZ, Crc, Table};
use fumehood_core::DigestKind;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use twox_hash::{XxHash3_128, XxHash64};

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// A digest function's name as users know it.
pub fn digest_name(kind: DigestKind) -> &'static str {
    match kind {
        DigestKind::Adler32 => "adler32",
        DigestKind::Crc32 => "crc32",
        DigestKind::Crc32Plain => "crc32 (not inverted)",
        DigestKind::Crc32c => "crc32c",
        DigestKind::Crc64 => "crc64",
        DigestKind::Xxh64 => "xxh64",
        DigestKind::Xxh128 => "xxh128",
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
    Crc32Plain(crc32fast::Hasher),
    Crc32c(crc::Digest<'static, u32, Table<16>>),
    Crc64(crc::Digest<'static, u64, Table<16>>),
    Xxh64(XxHash64),
    Xxh128(Box<XxHash3_128>),
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub(crate) fn new(kind: DigestKind) -> Self {
        match kind {
            DigestKind::Adler32 => Self::Adler32(simd_adler32::Adler32::new()),
            DigestKind::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
            DigestKind::Crc32Plain => Self::Crc32Plain(crc32fast::Hasher::new()),
            DigestKind::Crc32c => Self::Crc32c(CRC32C.digest()),
            DigestKind::Crc64 => Self::Crc64(CRC64.digest()),
            DigestKind::Xxh64 => Self::Xxh64(XxHash64::with_seed(0)),
            DigestKind::Xxh128 => Self::Xxh128(Box::new(XxHash3_128::new())),
            DigestKind::Md5 => Self::Md5(Md5::new()),
            DigestKind::Sha1 => Self::Sha1(Sha1::new()),
            DigestKind::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Adler32(state) => state.write(bytes),
            Self::Crc32(state) | Self::Crc32Plain(state) => state.update(bytes),
            Self::Crc32c(state) => state.update(bytes),
            Self::Crc64(state) => state.update(bytes),
            Self::Xxh64(state) => state.write(bytes),
            Self::Xxh128(state) => state.write(bytes),
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
            Self::Crc32Plain(state) => (!state.finalize()).to_le_bytes().into(),
            Self::Crc32c(state) => state.finalize().to_le_bytes().into(),
            Self::Crc64(state) => state.finalize().to_le_bytes().into(),
            Self::Xxh64(state) => state.finish().to_le_bytes().into(),
            Self::Xxh128(state) => state.finish_128().to_le_bytes().into(),
            Self::Md5(state) => state.finalize().to_vec(),
            Self::Sha1(state) => state.finalize().to_vec(),
            Self::Sha256(state) => state.finalize().to_vec(),
        }
    }
}
