//! Texts about the backup: small files, decoded here.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Codec, DigestValue, Encoded, Error, Result};
use md5::{Digest as _, Md5};

use crate::map::FileMap;

/// Longer files are no documents.
pub const MOST: u64 = 4 << 20;

/// All of a file.
///
/// # Errors
/// [`Error::Corrupt`] for a block that does not decode to what it should.
pub fn read_all(map: &mut FileMap) -> Result<Vec<u8>> {
    let size = map.size();
    if size > MOST {
        return Err(Error::OutOfRange);
    }
    let mut all = Vec::with_capacity(size as usize);
    for number in 0..size.div_ceil(map.block_size) {
        let length = map.block_size.min(size - number * map.block_size) as usize;
        match map.find(number)? {
            Ok(Some(encoded)) => {
                let block = decode(map, &encoded)?;
                all.extend_from_slice(block.get(..length).unwrap_or(&block));
            }
            Ok(None) => all.resize(all.len() + length, 0),
            Err(refusal) => return Err(Error::corrupt(0, refusal.text())),
        }
    }
    Ok(all)
}

fn decode(map: &FileMap, encoded: &Encoded) -> Result<Vec<u8>> {
    let source = &*map.archive().source;
    let corrupt = |what| Error::corrupt(encoded.offset, what);
    let length = encoded.decoded_length as usize;
    if u64::from(encoded.decoded_length) > MOST {
        return Err(corrupt(format!("a block of {length} bytes in a document")));
    }
    let stored = read_bytes(source, encoded.offset, encoded.stored_length.into(), "block")?;
    let block = match encoded.codec {
        Codec::Lz4 => lz4_flex::block::decompress(&stored, length)
            .map_err(|error| corrupt(format!("broken LZ4: {error}")))?,
        _ => stored,
    };
    let digest = encoded.digest.as_ref().map(|digest| &digest.value);
    if let Some(DigestValue::Given(expected)) = digest
        && Md5::digest(&block).as_slice() != expected.as_slice()
    {
        return Err(corrupt("the MD5 of a block is not as stored".into()));
    }
    if block.len() != length {
        return Err(corrupt(format!("a block of {} bytes, not {length}", block.len())));
    }
    Ok(block)
}
