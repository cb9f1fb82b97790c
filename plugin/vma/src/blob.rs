//! The blob buffer: names and configuration files behind the header, found by
//! pointers into it. Blobs follow each other from offset 1 on, so that 0 can mean
//! none; a pointer is good only where a blob begins.
//!
//! Source: `vma_spec.txt`, "Blob buffer". Lengths are little-endian, as the writer has
//! them, not big-endian as that text says.

use alloc::collections::BTreeMap;
use alloc::format;
use core::ops::Range;

use fumehood_plugin::{Error, Result};
use zerocopy::FromBytes;
use zerocopy::little_endian::U16;

/// Bytes of the length before each blob.
const LENGTH: usize = size_of::<U16>();

/// The blobs that pointers were given for.
pub struct Blobs<'a> {
    /// All of the header, the buffer included.
    bytes: &'a [u8],
    /// Where the buffer lies in it.
    buffer: Range<usize>,
    /// By pointer, where in `bytes` the blob lies, once it is found.
    found: BTreeMap<u32, Option<Range<usize>>>,
}

impl<'a> Blobs<'a> {
    /// Finds the blobs that `pointers` lead to in the part `buffer` of `bytes`. Only
    /// those are remembered: a hostile buffer holds millions of empty ones.
    pub fn find(
        bytes: &'a [u8],
        buffer: Range<usize>,
        pointers: impl Iterator<Item = u32>,
    ) -> Self {
        let mut found: BTreeMap<u32, _> = pointers.map(|pointer| (pointer, None)).collect();
        let inside = bytes.get(buffer.clone()).unwrap_or_default();
        let mut at = 1;
        while let Some((length, _)) = inside.get(at..).and_then(|b| U16::read_from_prefix(b).ok()) {
            let start = at + LENGTH;
            let end = start + usize::from(length.get());
            if end > inside.len() {
                break;
            }
            if let Some(place) = u32::try_from(at).ok().and_then(|at| found.get_mut(&at)) {
                *place = Some(buffer.start + start..buffer.start + end);
            }
            at = end;
        }
        Self { bytes, buffer, found }
    }

    /// Where the blob that `pointer` leads to lies in the file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where no blob begins there.
    pub fn place(&self, pointer: u32, what: &str) -> Result<Range<usize>> {
        self.found.get(&pointer).cloned().flatten().ok_or_else(|| {
            let what = format!("{what} points to {pointer} of the blobs, where none begins");
            Error::corrupt(self.buffer.start as u64, what)
        })
    }

    /// The text that `pointer` leads to, without the NUL that ends it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where no blob begins there, or it does not end in NUL.
    pub fn name(&self, pointer: u32, what: &str) -> Result<&'a [u8]> {
        let place = self.place(pointer, what)?;
        let start = place.start as u64;
        match self.bytes.get(place).and_then(|bytes| bytes.split_last()) {
            Some((0, name)) => Ok(name.split(|byte| *byte == 0).next().unwrap_or_default()),
            _ => Err(Error::corrupt(start, format!("{what} does not end in a NUL"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_hit_the_beginning_of_a_blob() {
        let bytes = b"..\0\x03\0ab\0\0\0\x02\0xy\x09\0short";
        let blobs = Blobs::find(bytes, 2..bytes.len(), [1, 2, 6, 8, 12].into_iter());
        assert_eq!(blobs.name(1, "name"), Ok(&b"ab"[..]));
        assert_eq!(blobs.place(6, "x"), Ok(10..10));
        assert!(blobs.name(6, "x").is_err(), "no NUL");
        assert_eq!(blobs.place(8, "x").map(|place| &bytes[place]), Ok(&b"xy"[..]));
        assert!(blobs.name(8, "x").is_err(), "no NUL");
        for pointer in [2, 12, 0, 7, u32::MAX] {
            assert!(matches!(blobs.place(pointer, "x"), Err(Error::Corrupt { offset: 2, .. })));
        }
    }
}
