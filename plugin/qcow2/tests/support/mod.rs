//! What the integration tests share: small images made by hand, opening them over
//! memory, and decoding compressed clusters as the host would.
#![allow(dead_code)]

pub mod bench;
pub mod writer;

use std::io::Read;
use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, read_disk};
use fumehood_plugin::{
    Codec, Encoded, Error, Format, Host, Image, OpenOptions, Result, SourceHandle,
};
use fumehood_qcow2::Qcow2;

/// Cluster size of [`small_image`].
pub const CLUSTER: usize = 512;

/// Puts `value` at `offset` of `bytes`, big-endian.
pub fn put64(bytes: &mut [u8], offset: usize, value: u64) {
    bytes[offset..offset + 8].copy_from_slice(&value.to_be_bytes());
}

/// As [`put64`], 32 bits.
pub fn put32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
}

/// Offset of the active L1 table of [`small_image`].
pub const L1: usize = 3 * CLUSTER;
/// Offset of its first L2 table.
pub const L2: usize = 4 * CLUSTER;
/// Offset of its snapshot table.
pub const SNAPSHOTS: usize = 9 * CLUSTER;
/// Size of its disk: 64 entries' worth in the first L2 table, none in the second.
pub const DISK_SIZE: u64 = 80 * CLUSTER as u64;

/// A version 3 image with clusters of 512 bytes:
///
/// ```text
///  0 header  1 refcount table  2 refcount block  3 L1  4 L2  5–7 data
///  8 compressed  9 snapshot table  10 snapshot's L1
///
///  guest 0,1 data (joined)  2 zero  3 absent  4 data  5 compressed  6… absent
/// ```
pub fn small_image() -> Vec<u8> {
    let mut image = vec![0; 11 * CLUSTER];
    image[..4].copy_from_slice(b"QFI\xfb");
    put32(&mut image, 4, 3);
    put64(&mut image, 8, 400);
    put32(&mut image, 16, 8);
    image[400..408].copy_from_slice(b"base.raw");
    put32(&mut image, 20, 9);
    put64(&mut image, 24, DISK_SIZE);
    put32(&mut image, 36, 2);
    put64(&mut image, 40, L1 as u64);
    put64(&mut image, 48, CLUSTER as u64);
    put32(&mut image, 56, 1);
    put32(&mut image, 60, 1);
    put64(&mut image, 64, SNAPSHOTS as u64);
    put32(&mut image, 96, 4);
    put32(&mut image, 100, 112);
    put32(&mut image, 112, 0xe279_2aca);
    put32(&mut image, 116, 3);
    image[120..123].copy_from_slice(b"raw");

    put64(&mut image, CLUSTER, 2 * CLUSTER as u64);
    for cluster in 0..11 {
        let shared = [4, 5, 6, 7, 8].contains(&cluster);
        image[2 * CLUSTER + cluster * 2 + 1] = if shared { 2 } else { 1 };
    }
    put64(&mut image, L1, L2 as u64);
    put64(&mut image, L2, 5 * CLUSTER as u64);
    put64(&mut image, L2 + 8, 6 * CLUSTER as u64);
    put64(&mut image, L2 + 16, 1);
    put64(&mut image, L2 + 32, 7 * CLUSTER as u64);
    put64(&mut image, L2 + 40, 1 << 62 | (8 * CLUSTER as u64 + 16));
    for (cluster, fill) in [(5, 0xa5), (6, 0xa6), (7, 0xa7)] {
        image[cluster * CLUSTER..(cluster + 1) * CLUSTER].fill(fill);
    }
    let packed = miniz_oxide::deflate::compress_to_vec(&[0xc0; CLUSTER], 6);
    let start = 8 * CLUSTER + 16;
    image[start..start + packed.len()].copy_from_slice(&packed);

    put64(&mut image, SNAPSHOTS, 10 * CLUSTER as u64);
    put32(&mut image, SNAPSHOTS + 8, 1);
    image[SNAPSHOTS + 13] = 1;
    image[SNAPSHOTS + 15] = 5;
    put32(&mut image, SNAPSHOTS + 36, 16);
    put64(&mut image, SNAPSHOTS + 48, 10 * CLUSTER as u64);
    image[SNAPSHOTS + 56..SNAPSHOTS + 62].copy_from_slice(b"7first");
    put64(&mut image, 10 * CLUSTER, L2 as u64);
    image
}

/// A version 3 image with subclusters, in clusters of 16 KiB: header, refcount
/// table, refcount block, L1, L2, data. The first subcluster is allocated, the
/// second one zero, the others are absent.
pub fn extended_image() -> Vec<u8> {
    let cluster = 16 << 10;
    let mut image = vec![0; 6 * cluster];
    image[..4].copy_from_slice(b"QFI\xfb");
    put32(&mut image, 4, 3);
    put32(&mut image, 20, 14);
    put64(&mut image, 24, 20 * cluster as u64);
    put32(&mut image, 36, 1);
    put64(&mut image, 40, 3 * cluster as u64);
    put64(&mut image, 48, cluster as u64);
    put32(&mut image, 56, 1);
    put64(&mut image, 72, 1 << 4);
    put32(&mut image, 96, 4);
    put32(&mut image, 100, 112);
    put64(&mut image, cluster, 2 * cluster as u64);
    (0..6).for_each(|number| image[2 * cluster + number * 2 + 1] = 1);
    put64(&mut image, 3 * cluster, (1 << 63) | (4 * cluster as u64));
    put64(&mut image, 4 * cluster, (1 << 63) | (5 * cluster as u64));
    put64(&mut image, 4 * cluster + 8, 1 | 2 << 32);
    image[5 * cluster..].fill(0xe5);
    image
}

/// The disk of [`small_image`].
pub fn small_disk() -> Vec<u8> {
    let mut disk = vec![0; DISK_SIZE as usize];
    for (cluster, fill) in [(0, 0xa5), (1, 0xa6), (4, 0xa7), (5, 0xc0)] {
        disk[cluster * CLUSTER..(cluster + 1) * CLUSTER].fill(fill);
    }
    disk
}

/// An image over memory, with what its host grants.
pub struct Opened {
    /// The image.
    pub image: Box<dyn Image>,
    main: SourceHandle,
    host: Rc<MemoryHost>,
}

/// Opens `bytes`; `granted` are the files beside it.
pub fn open(bytes: &[u8], snapshot: Option<&str>, granted: &[(&str, Vec<u8>)]) -> Result<Opened> {
    let main: SourceHandle = Rc::new(MemorySource::new(0, "disk.qcow2", bytes.to_vec()));
    let host = Rc::new(MemoryHost::new());
    for (name, bytes) in granted {
        host.grant(name, bytes.clone());
    }
    let options = OpenOptions { snapshot: snapshot.map(Into::into), ..OpenOptions::read_only() };
    let image = Qcow2::open(main.clone(), host.clone() as Rc<dyn Host>, options)?;
    Ok(Opened { image, main, host })
}

impl Opened {
    /// All of the disk, by its extents in windows of `window` bytes.
    pub fn read_all(&self, window: u64) -> Result<Vec<u8>> {
        let size = self.image.disks()[0].size;
        let mut disk = self.image.disk(0)?;
        let find = |id| match id {
            0 => Some(self.main.clone()),
            id => self.host.source(id).map(|source| Rc::new(source) as SourceHandle),
        };
        let mut bytes = Vec::new();
        let mut at = 0;
        while at < size {
            let length = window.min(size - at);
            bytes.extend(read_disk(&mut *disk, size, at, length, &find, &decode)?);
            at += length;
        }
        Ok(bytes)
    }
}

/// Decodes one compressed cluster.
pub fn decode(encoded: &Encoded, stored: &[u8]) -> Result<Vec<u8>> {
    let failed = |what: &str| Error::Io(format!("{what} at {}", encoded.offset));
    let length = encoded.decoded_length as usize;
    match encoded.codec {
        Codec::Deflate => {
            let mut out = vec![0; length];
            miniz_oxide::inflate::decompress_slice_iter_to_slice(
                &mut out,
                [stored].into_iter(),
                false,
                true,
            )
            .map_err(|_| failed("bad deflate stream"))?;
            Ok(out)
        }
        Codec::Zstd => {
            let mut decoder = ruzstd::decoding::StreamingDecoder::new(stored)
                .map_err(|_| failed("bad zstd frame"))?;
            let mut out = vec![0; length];
            decoder.read_exact(&mut out).map_err(|_| failed("short zstd frame"))?;
            Ok(out)
        }
        other => Err(failed(&format!("unexpected codec {other:?}"))),
    }
}
