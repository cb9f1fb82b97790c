//! Encoding whole units of a disk, for formats that store them encoded.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};
use fumehood_core::Codec;

use crate::disk::Disk;
use crate::error::{Error, Result};

/// As qemu-img compresses: what is gained beyond it is small, and costs much time.
const LEVEL: u32 = 6;

/// Readers of qcow2 keep a window of 4 KiB.
const WINDOW_BITS: u8 = 12;

/// Encodes the units of one disk.
pub(crate) struct Encoder {
    codec: Codec,
    unit: u64,
}

thread_local! {
    static DEFLATE: RefCell<Compress> =
        RefCell::new(Compress::new_with_window_bits(Compression::new(LEVEL), false, WINDOW_BITS));
    /// A unit padded to its whole length, and its encoded bytes.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Encoder {
    /// An encoder of the kind that `disk` takes.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] where it takes none, or one that this host
    /// cannot make.
    pub(crate) fn new(disk: &Disk) -> Result<Self> {
        let Some(encoding) = disk.core().encoding() else {
            return Err(Error::Unsupported("the format stores nothing compressed".into()));
        };
        match encoding.codec {
            Codec::Deflate | Codec::Zstd => {
                Ok(Self { codec: encoding.codec, unit: encoding.unit.into() })
            }
            other => Err(Error::Unsupported(format!("compressing with {other:?}"))),
        }
    }

    /// Bytes of the disk in a unit.
    pub(crate) fn unit(&self) -> u64 {
        self.unit
    }

    /// Writes a unit (the disk's last may be short) encoded, and says whether it did:
    /// not where that would not be shorter.
    pub(crate) fn write(&self, disk: &Disk, offset: u64, bytes: &[u8]) -> Result<bool> {
        BUFFERS.with_borrow_mut(|(padded, encoded)| {
            let unit = self.unit as usize;
            let bytes = if bytes.len() == unit {
                bytes
            } else {
                padded.clear();
                padded.extend_from_slice(bytes);
                padded.resize(unit, 0);
                padded
            };
            encoded.clear();
            // What is not shorter by a sector saves nothing.
            encoded.reserve(unit.saturating_sub(512));
            let shorter = match self.codec {
                Codec::Deflate => deflate(bytes, encoded),
                _ => zstd(bytes, encoded),
            };
            if shorter {
                disk.write_encoded(encoded, offset)?;
            }
            Ok(shorter)
        })
    }
}

/// Appends the deflated bytes; `false` where they do not fit what is reserved.
fn deflate(bytes: &[u8], encoded: &mut Vec<u8>) -> bool {
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        let status = deflate.compress_vec(bytes, encoded, FlushCompress::Finish);
        matches!(status, Ok(Status::StreamEnd))
    })
}

fn zstd(bytes: &[u8], encoded: &mut Vec<u8>) -> bool {
    let limit = encoded.capacity();
    ZSTD.with_borrow_mut(|zstd| match zstd.compress_to_buffer(bytes, encoded) {
        Ok(length) => length <= limit,
        Err(_) => false,
    })
}

thread_local! {
    static ZSTD: RefCell<zstd::bulk::Compressor<'static>> =
        RefCell::new(zstd::bulk::Compressor::default());
}
