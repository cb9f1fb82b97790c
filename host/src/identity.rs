//! Which disk is meant: the identity that a child records of its parent.
//!
//! A format with an identity of its own (VHDX, VHD, VMDK) records that of a parent of
//! the same format. For every other parent it is a UUID made from the disk's size,
//! its number in its image, and its first and last bytes, so that every format can
//! carry it, and a parent that was exchanged is noticed.

use fumehood_core::Layer;
use sha2::{Digest, Sha256};

use crate::container;
use crate::disk::{Disk, Means};
use crate::engine::Engine;
use crate::error::Result;

/// Bytes at each end of a disk that make its identity.
const ENDS: u64 = 64 << 10;

/// The identity of the disk whose layers these are, by its contents.
///
/// # Errors
/// Where its first or last bytes cannot be read.
fn of_contents(engine: &Engine, layers: &[Layer]) -> Result<String> {
    let disk = Disk::new(layers.to_vec(), Vec::new(), Means::small(engine.decoder()))?;
    let size = disk.size();
    let mut digest = Sha256::new();
    digest.update(b"fumehood disk");
    digest.update(size.to_le_bytes());
    for number in layers.first().map(numbers).unwrap_or_default() {
        digest.update(number.to_le_bytes());
    }
    let mut buffer = vec![0; ENDS.min(size) as usize];
    disk.read_at(&mut buffer, 0)?;
    digest.update(&buffer);
    let tail = size - buffer.len() as u64;
    disk.read_at(&mut buffer, tail)?;
    digest.update(&buffer);
    Ok(uuid(digest.finalize().as_slice()))
}

/// The disk's number in its image, and in a container that image's own, and so on.
fn numbers(layer: &Layer) -> Vec<u32> {
    std::iter::successors(Some(layer.clone()), |layer| container::around(&layer.image))
        .map(|layer| layer.number)
        .collect()
}

/// A UUID of version 8 (its maker's own kind) made of the first 16 bytes.
fn uuid(digest: &[u8]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0F | 0x80;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex = crate::digest::hex(&bytes);
    let part = |range: std::ops::Range<usize>| &hex[range];
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// Whether the disk with these layers is one of those that a child recorded; `false`
/// too where its ends cannot be read.
pub(crate) fn is_one_of(engine: &Engine, layers: &[Layer], recorded: &[String]) -> bool {
    own(layers).is_some_and(|own| recorded.iter().any(|one| one.eq_ignore_ascii_case(&own)))
        || of_contents(engine, layers).is_ok_and(|found| recorded.contains(&found))
}

/// What a child in `format` records of the disk with these layers: its own identity
/// where it is of the same format, else that of its contents.
///
/// # Errors
/// As [`of_contents`].
pub(crate) fn for_child(engine: &Engine, layers: &[Layer], format: &str) -> Result<String> {
    let same = layers.first().is_some_and(|top| top.image.plugin().name() == format);
    match own(layers).filter(|_| same) {
        Some(own) => Ok(own),
        None => of_contents(engine, layers),
    }
}

/// The identity that the disk's own format gives it.
fn own(layers: &[Layer]) -> Option<String> {
    let top = layers.first()?;
    // Asked anew: some formats change it when they are first written.
    let disks = top.image.ask_disks().ok()?;
    disks.into_iter().nth(top.number as usize)?.identity
}

#[cfg(test)]
mod tests {
    #[test]
    fn uuids_have_their_form() {
        let text = super::uuid(&[0xFF; 32]);
        assert_eq!(text, "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }
}
