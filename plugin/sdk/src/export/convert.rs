//! What the contract's generated types are in the SDK, and the other way round.

use super::bindings::exports::fumehood::disk::format as wit;
use super::bindings::fumehood::disk::types;
use crate::error::Error;
use crate::extent::{
    Cipher, Codec, Content, Digest, DigestKind, DigestValue, Encoded, Encryption, Extent,
    Placement, Stored, Window,
};
use crate::format::{Contents, DiskInfo, Encoding, Parent, SnapshotInfo};

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unrecognised => Self::Unrecognised,
            Error::Unsupported(what) => Self::Unsupported(what),
            Error::Corrupt { source_id: source, offset, what } => {
                Self::Corrupt(types::Corruption { source, offset, what })
            }
            Error::Missing(what) => Self::Missing(what),
            Error::NotGranted(what) => Self::NotGranted(what),
            Error::WrongParent(what) => Self::WrongParent(what),
            Error::NeedsKey(what) => Self::NeedsKey(what),
            Error::OutOfRange => Self::OutOfRange,
            Error::ReadOnly => Self::ReadOnly,
            Error::NoSpace => Self::NoSpace,
            Error::Io(what) => Self::Io(what),
        }
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::Unrecognised => Self::Unrecognised,
            types::Error::Unsupported(what) => Self::Unsupported(what),
            types::Error::Corrupt(types::Corruption { source, offset, what }) => {
                Self::Corrupt { source_id: source, offset, what }
            }
            types::Error::Missing(what) => Self::Missing(what),
            types::Error::NotGranted(what) => Self::NotGranted(what),
            types::Error::WrongParent(what) => Self::WrongParent(what),
            types::Error::NeedsKey(what) => Self::NeedsKey(what),
            types::Error::OutOfRange => Self::OutOfRange,
            types::Error::ReadOnly => Self::ReadOnly,
            types::Error::NoSpace => Self::NoSpace,
            types::Error::Io(what) => Self::Io(what),
        }
    }
}

impl From<DigestKind> for wit::DigestKind {
    fn from(kind: DigestKind) -> Self {
        match kind {
            DigestKind::Adler32 => Self::Adler32,
            DigestKind::Crc32 => Self::Crc32,
            DigestKind::Crc32Plain => Self::Crc32Plain,
            DigestKind::Crc32c => Self::Crc32c,
            DigestKind::Crc64 => Self::Crc64,
            DigestKind::Xxh64 => Self::Xxh64,
            DigestKind::Xxh128 => Self::Xxh128,
            DigestKind::Md5 => Self::Md5,
            DigestKind::Sha1 => Self::Sha1,
            DigestKind::Sha256 => Self::Sha256,
        }
    }
}

impl From<Codec> for wit::Codec {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Identity => Self::Identity,
            Codec::Deflate => Self::Deflate,
            Codec::Zlib => Self::Zlib,
            Codec::Zstd => Self::Zstd,
            Codec::Lz4 => Self::Lz4,
            Codec::Lzo => Self::Lzo,
            Codec::Bzip2 => Self::Bzip2,
            Codec::Xz => Self::Xz,
            Codec::Lzma2 => Self::Lzma2,
            Codec::Lzfse => Self::Lzfse,
            Codec::Adc => Self::Adc,
            Codec::Snappy => Self::Snappy,
        }
    }
}

impl From<Stored> for wit::Stored {
    fn from(stored: Stored) -> Self {
        let Stored { source, offset, writable } = stored;
        Self { source, offset, writable }
    }
}

impl From<Encoded> for wit::Encoded {
    fn from(encoded: Encoded) -> Self {
        let digest = encoded.digest.map(|Digest { kind, value, over_decoded }| wit::Digest {
            kind: kind.into(),
            value: match value {
                DigestValue::Given(bytes) => wit::DigestValue::Given(bytes),
                DigestValue::Follows => wit::DigestValue::Follows,
            },
            over_decoded,
        });
        Self {
            source: encoded.source,
            offset: encoded.offset,
            stored_length: encoded.stored_length,
            codec: encoded.codec.into(),
            decoded_length: encoded.decoded_length,
            skip: encoded.skip,
            digest,
            encryption: encoded.encryption.map(Into::into),
            window: encoded.window.map(Into::into),
        }
    }
}

impl From<Encryption> for wit::Encryption {
    fn from(encryption: Encryption) -> Self {
        let Encryption { cipher, key, vector, tag } = encryption;
        let cipher = match cipher {
            Cipher::AesCbc => wit::Cipher::AesCbc,
            Cipher::AesGcm => wit::Cipher::AesGcm,
        };
        Self { cipher, key, vector, tag }
    }
}

impl From<Window> for wit::Window {
    fn from(window: Window) -> Self {
        let Window { bits, source, offset, length } = window;
        Self { bits, source, offset, length }
    }
}

impl From<Extent> for wit::Extent {
    fn from(extent: Extent) -> Self {
        let content = match extent.content {
            Content::Absent => wit::Content::Absent,
            Content::Zero => wit::Content::Zero,
            Content::Stored(stored) => wit::Content::Stored(stored.into()),
            Content::Encoded(encoded) => wit::Content::Encoded(encoded.into()),
            Content::Computed => wit::Content::Computed,
            Content::Damaged(what) => wit::Content::Damaged(what),
        };
        Self { offset: extent.offset, length: extent.length, content }
    }
}

impl From<Placement> for wit::Placement {
    fn from(placement: Placement) -> Self {
        let Placement { offset, length, stored, fresh, zeroed } = placement;
        Self { offset, length, stored: stored.into(), fresh, zeroed }
    }
}

impl From<wit::Parent> for Parent {
    fn from(parent: wit::Parent) -> Self {
        let wit::Parent { references, identities, format } = parent;
        Self { references, identities, format }
    }
}

impl From<Parent> for wit::Parent {
    fn from(parent: Parent) -> Self {
        let Parent { references, identities, format } = parent;
        Self { references, identities, format }
    }
}

impl From<SnapshotInfo> for wit::SnapshotInfo {
    fn from(snapshot: SnapshotInfo) -> Self {
        let SnapshotInfo { id, name, created, disk_size, vm_state_size } = snapshot;
        Self { id, name, created, disk_size, vm_state_size }
    }
}

impl From<DiskInfo> for wit::DiskInfo {
    fn from(info: DiskInfo) -> Self {
        Self {
            name: info.name,
            size: info.size,
            logical_sector: info.logical_sector,
            physical_sector: info.physical_sector,
            granularity: info.granularity,
            contents: match info.contents {
                Contents::Disk => wit::Contents::Disk,
                Contents::Volume => wit::Contents::Volume,
                Contents::File => wit::Contents::File,
            },
            parent: info.parent.map(Into::into),
            identity: info.identity,
            encoding: info
                .encoding
                .map(|Encoding { codec, unit }| wit::Encoding { codec: codec.into(), unit }),
            digests: info
                .digests
                .into_iter()
                .map(|digest| wit::DiskDigest { kind: digest.kind.into(), value: digest.value })
                .collect(),
            start_on_disk: info.start_on_disk,
            disk_signature: info.disk_signature,
            details: info.details,
        }
    }
}
