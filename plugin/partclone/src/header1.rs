//! The header of format 0001, of partclone before 0.3 (`IMAGE_FORMATS.md`, "Format
//! 0001").

use alloc::format;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::bitmap::Form;
use crate::header::{Header, Trailers, check_sizes, place_bitmap, text};

/// Where the bitmap begins: behind the header and a buffer that is not used.
const LENGTH: u64 = 4160;
/// Stands behind the bitmap.
const BITMAP_END: &[u8] = b"BiTmAgIc";

/// The header as it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header1 {
    magic: [u8; 15],
    file_system: [u8; 15],
    version: [u8; 4],
    padding: [u8; 2],
    block_size: U32,
    device_size: U64,
    blocks: U64,
    used: U64,
}

impl Header1 {
    /// What it says, checked.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Unsupported`] by the field that says so.
    pub fn checked(&self, main: &dyn Source) -> Result<Header> {
        let (block_size, blocks) = (self.block_size.get(), self.blocks.get());
        check_sizes((block_size, 36), (blocks, 48))?;
        let trailer = BITMAP_END.len() as u64;
        let (bitmap, data) = place_bitmap(main, Form::Bytes, LENGTH, blocks, trailer)?;
        check_bitmap_end(main, data)?;
        Ok(Header {
            version: "0001",
            tool: None,
            bits: None,
            file_system: text(&self.file_system),
            device_size: self.device_size.get(),
            block_size,
            blocks,
            used_by_file_system: self.used.get(),
            used: None,
            bitmap,
            data,
            trailers: Trailers::Guessed,
            checksum: 0,
        })
    }
}

/// That a bitmap of bytes ends before `data` as such bitmaps do.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn check_bitmap_end(main: &dyn Source, data: u64) -> Result<()> {
    let length = BITMAP_END.len() as u64;
    let at = data.saturating_sub(length);
    let found = read_bytes(main, at, length, "end of the bitmap")?;
    if found == BITMAP_END {
        return Ok(());
    }
    let what = format!("expected BiTmAgIc behind the bitmap, found {}", found.escape_ascii());
    Err(Error::corrupt(at, what))
}
