//! Records in the scratch source: what a plugin had to learn by scanning.
//!
//! A scratch source holds one record: magic, version byte, the identity of what it
//! was learned from, and a `bincode` body with its length and checksum. Anything
//! that does not fit (another version, another identity, a torn write) reads as
//! nothing, and the plugin scans again. This is the one module that knows
//! `bincode`, and no other software reads what it writes.
//!
//! What does not fit into memory is a [`Table`]: as many records of one length as an
//! image needs, of which a few pages are kept.

mod table;

pub use table::Table;

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::read::{READ_LIMIT, parse_struct};
use crate::source::Source;

const MAGIC: [u8; 4] = *b"FHSR";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    version: u8,
    reserved: [u8; 3],
    identity: [u8; 32],
    length: U64,
    checksum: U32,
}

/// What a record was learned from; 32 bytes the plugin chooses, such as an
/// image's UUID and its size.
pub type Identity = [u8; 32];

/// Replaces what `scratch` holds by `record`.
///
/// # Errors
/// What the source answers; a failure leaves nothing that [`load`] would accept.
pub fn store<T: Serialize>(
    scratch: &dyn Source,
    version: u8,
    identity: &Identity,
    record: &T,
) -> Result<()> {
    let body = bincode::serde::encode_to_vec(record, bincode::config::standard())
        .map_err(|error| Error::Io(alloc::format!("cannot encode a scratch record: {error}")))?;
    let header = Header {
        magic: MAGIC,
        version,
        reserved: [0; 3],
        identity: *identity,
        length: U64::new(body.len() as u64),
        checksum: U32::new(checksum(&body)),
    };
    scratch.resize(0)?;
    scratch.write(size_of::<Header>() as u64, &body)?;
    scratch.write(0, header.as_bytes())?;
    scratch.flush()
}

/// The record that [`store`] left for the same version and identity, if it is whole.
pub fn load<T: DeserializeOwned>(
    scratch: &dyn Source,
    version: u8,
    identity: &Identity,
) -> Option<T> {
    let start = size_of::<Header>() as u64;
    let bytes = scratch.read(0, size_of::<Header>()).ok()?;
    let header: Header = parse_struct(&bytes, scratch.id(), 0, "scratch header").ok()?;
    let length = header.length.get();
    if header.magic != MAGIC
        || header.version != version
        || header.identity != *identity
        || length > scratch.size().saturating_sub(start)
    {
        return None;
    }
    let body = read_long(scratch, start, length)?;
    if checksum(&body) != header.checksum.get() {
        return None;
    }
    bincode::serde::decode_from_slice(&body, bincode::config::standard())
        .ok()
        .map(|(record, _)| record)
}

fn read_long(source: &dyn Source, mut offset: u64, length: u64) -> Option<Vec<u8>> {
    let end = offset + length;
    let mut bytes = Vec::new();
    while offset < end {
        let step = (end - offset).min(READ_LIMIT);
        bytes.extend(source.read(offset, step as usize).ok()?);
        offset += step;
    }
    Some(bytes)
}

/// FNV-1a: finds torn writes, which is all it is for.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::memory;

    #[test]
    fn a_record_comes_back_only_whole_and_for_its_own_image() {
        let scratch = memory::scratch(1);
        let record = vec![(7u64, 1u32), (9, 2)];
        assert_eq!(load::<Vec<(u64, u32)>>(&scratch, 1, &[7; 32]), None);
        store(&scratch, 1, &[7; 32], &record).unwrap();
        assert_eq!(load(&scratch, 1, &[7; 32]), Some(record));
        assert_eq!(load::<Vec<(u64, u32)>>(&scratch, 2, &[7; 32]), None);
        assert_eq!(load::<Vec<(u64, u32)>>(&scratch, 1, &[8; 32]), None);

        let mut torn = scratch.bytes();
        *torn.last_mut().unwrap() ^= 1;
        let torn = memory::MemorySource::new(1, "scratch", torn);
        assert_eq!(load::<Vec<(u64, u32)>>(&torn, 1, &[7; 32]), None);
        let mut short = scratch.bytes();
        short.pop();
        let short = memory::MemorySource::new(1, "scratch", short);
        assert_eq!(load::<Vec<(u64, u32)>>(&short, 1, &[7; 32]), None);
    }
}
