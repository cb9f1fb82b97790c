//! Structures sealed by an Adler-32: nearly every EWF structure ends in the
//! checksum of the bytes before it. What the structures mean is not known here.

use alloc::format;
use alloc::vec::Vec;
use core::mem::size_of;

use fumehood_plugin::read::{parse_struct, read_bytes};
use fumehood_plugin::{Error, Result, Source};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Length in bytes of an Adler-32 as stored.
pub const SEAL: u64 = 4;

/// Bytes read at once while a checksum runs over something long.
const STEP: u64 = 64 << 10;

/// The structure at `offset`, its last four bytes being the little-endian
/// Adler-32 of those before.
///
/// # Errors
/// [`Error::Corrupt`] past the end or where the checksum differs, or what the
/// source answers.
pub fn read_sealed<T>(source: &dyn Source, offset: u64, what: &str) -> Result<T>
where
    T: FromBytes + KnownLayout + Immutable,
{
    let bytes = read_bytes(source, offset, size_of::<T>() as u64, what)?;
    verify(&bytes, source.id(), offset, what)?;
    parse_struct(&bytes, source.id(), offset, what)
}

/// `length` bytes at `offset`, which the four bytes behind them seal.
///
/// # Errors
/// As [`read_sealed`].
pub fn read_sealed_bytes(
    source: &dyn Source,
    offset: u64,
    length: u64,
    what: &str,
) -> Result<Vec<u8>> {
    let mut bytes = read_bytes(source, offset, length.saturating_add(SEAL), what)?;
    verify(&bytes, source.id(), offset, what)?;
    bytes.truncate(bytes.len().saturating_sub(SEAL as usize));
    Ok(bytes)
}

/// Compares the seal at the end of `bytes`, which came from `offset`.
///
/// # Errors
/// [`Error::Corrupt`] with both checksums.
pub fn verify(bytes: &[u8], source_id: u32, offset: u64, what: &str) -> Result<()> {
    let Some((body, seal)) = bytes.split_last_chunk::<{ SEAL as usize }>() else {
        return Err(Error::corrupt_in(source_id, offset, format!("{what} has no checksum")));
    };
    compare(adler2::adler32_slice(body), u32::from_le_bytes(*seal), source_id, offset, what)
}

/// As [`read_sealed_bytes`] at any length, in pieces that are handed to `look`
/// and forgotten.
///
/// # Errors
/// As [`read_sealed`].
pub fn verify_long(
    source: &dyn Source,
    offset: u64,
    length: u64,
    what: &str,
    mut look: impl FnMut(&[u8]),
) -> Result<()> {
    let mut sum = adler2::Adler32::new();
    let mut done = 0;
    while done < length {
        let step = STEP.min(length - done);
        let bytes = read_bytes(source, offset.saturating_add(done), step, what)?;
        sum.write_slice(&bytes);
        look(&bytes);
        done += step;
    }
    let seal = read_bytes(source, offset.saturating_add(length), SEAL, what)?;
    let stored = seal.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    compare(sum.checksum(), stored, source.id(), offset, what)
}

fn compare(computed: u32, stored: u32, source_id: u32, offset: u64, what: &str) -> Result<()> {
    if computed == stored {
        return Ok(());
    }
    let what = format!("{what} has checksum {computed:#010x} and states {stored:#010x}");
    Err(Error::corrupt_in(source_id, offset, what))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use fumehood_plugin::memory::MemorySource;

    use super::*;

    #[test]
    fn a_seal_holds_or_names_its_offset() {
        let mut bytes = vec![1, 2, 3];
        bytes.extend(adler2::adler32_slice(&[1, 2, 3]).to_le_bytes());
        let source = MemorySource::new(3, "x", bytes.clone());
        assert_eq!(read_sealed_bytes(&source, 0, 3, "x").unwrap(), [1, 2, 3]);
        assert!(verify_long(&source, 0, 3, "x", |_| ()).is_ok());
        bytes[0] ^= 1;
        let source = MemorySource::new(3, "x", bytes);
        for result in [
            read_sealed_bytes(&source, 0, 3, "x").map(drop),
            verify_long(&source, 0, 3, "x", |_| ()),
            verify(&[1], 3, 0, "x"),
        ] {
            assert!(matches!(result, Err(Error::Corrupt { source_id: 3, offset: 0, .. })));
        }
    }
}
