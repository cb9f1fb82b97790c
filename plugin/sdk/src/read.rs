//! Reading on-disk structures: declared with `zerocopy`, checked once at the border.
//!
//! Declare a structure with the byte-order types of `zerocopy::byteorder`
//! (`big_endian::U32`, `little_endian::U64`, …), derive
//! `FromBytes, Immutable, KnownLayout, Unaligned`, and read it with
//! [`read_struct`] or, for a table, [`read_table`].

use alloc::format;
use alloc::vec::Vec;
use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::source::Source;

/// The most that one read through [`read_bytes`] and its kin may ask for, so that a
/// length out of a hostile image cannot exhaust memory. The contract's own limit.
pub const READ_LIMIT: u64 = 16 << 20;

/// `length` bytes at `offset`, refused as corrupt where they lie past the
/// source's end or are more than [`READ_LIMIT`]; `what` names them in the error.
///
/// # Errors
/// [`Error::Corrupt`], or what the source answers.
pub fn read_bytes(source: &dyn Source, offset: u64, length: u64, what: &str) -> Result<Vec<u8>> {
    let size = source.size();
    if length > READ_LIMIT {
        let what = format!("{what} of {length} bytes is larger than {READ_LIMIT}");
        return Err(Error::corrupt_in(source.id(), offset, what));
    }
    if offset.checked_add(length).is_none_or(|end| end > size) {
        let what = format!("{what} of {length} bytes reaches past the end at {size}");
        return Err(Error::corrupt_in(source.id(), offset, what));
    }
    source.read(offset, length as usize)
}

/// The structure at `offset`.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_struct<T>(source: &dyn Source, offset: u64, what: &str) -> Result<T>
where
    T: FromBytes + KnownLayout + Immutable,
{
    let bytes = read_bytes(source, offset, size_of::<T>() as u64, what)?;
    parse_struct(&bytes, source.id(), offset, what)
}

/// The structure at the start of `bytes`, which came from `offset` of a source.
///
/// # Errors
/// [`Error::Corrupt`] where `bytes` are too few.
pub fn parse_struct<T>(bytes: &[u8], source_id: u32, offset: u64, what: &str) -> Result<T>
where
    T: FromBytes + KnownLayout + Immutable,
{
    T::read_from_prefix(bytes).map(|(value, _)| value).map_err(|_| {
        let found = bytes.len();
        let what = format!("{what} needs {} bytes and has {found}", size_of::<T>());
        Error::corrupt_in(source_id, offset, what)
    })
}

/// A table of `count` entries at `offset`.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_table<T>(source: &dyn Source, offset: u64, count: u64, what: &str) -> Result<Vec<T>>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned + Clone,
{
    let length = count.saturating_mul(size_of::<T>() as u64);
    let bytes = read_bytes(source, offset, length, what)?;
    // All of them at once: one by one costs the sandbox several times as much.
    <[T]>::ref_from_bytes(&bytes).map(<[T]>::to_vec).map_err(|_| {
        let what = format!("{what} of {length} bytes is no table of whole entries");
        Error::corrupt_in(source.id(), offset, what)
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use zerocopy::big_endian::U16;

    use super::*;
    use crate::memory::MemorySource;

    #[test]
    fn tables_are_bounded_by_their_source() {
        let source = MemorySource::new(0, "table", vec![0u8, 1, 0, 2, 0, 3]);
        let table: Vec<U16> = read_table(&source, 2, 2, "table").unwrap();
        assert_eq!(table, [U16::new(2), U16::new(3)]);
        assert!(matches!(
            read_table::<U16>(&source, 2, 3, "table"),
            Err(Error::Corrupt { offset: 2, .. })
        ));
        assert!(matches!(
            read_table::<U16>(&source, 0, u64::MAX, "table"),
            Err(Error::Corrupt { .. })
        ));
        assert!(matches!(
            read_struct::<U16>(&source, u64::MAX, "word"),
            Err(Error::Corrupt { .. })
        ));
    }
}
