//! The header of format 0002 (`IMAGE_FORMATS.md`, "Format 0002").

use alloc::format;

use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bitmap::Form;
use crate::checksum;
use crate::header::{Header, Trailers, check_sizes, place_bitmap, text};
use crate::header1::check_bitmap_end;

const LENGTH: u64 = size_of::<Header2>() as u64;
/// The mark of byte order, as it reads where the orders agree and where they do not.
const NATIVE: u16 = 0xc0de;
const FOREIGN: u16 = 0xdec0;
/// Bytes of the section of features, whose version is this format's.
const FEATURES: (u32, u16) = (18, 2);
/// Bytes of the checksum behind a bitmap of bits.
const BITMAP_CHECKSUM: u64 = 4;

/// The header as it lies on disk.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header2 {
    magic: [u8; 16],
    tool: [u8; 14],
    version: [u8; 4],
    byte_order: U16,
    file_system: [u8; 16],
    device_size: U64,
    blocks: U64,
    used_by_file_system: U64,
    used: U64,
    block_size: U32,
    features_length: U32,
    features_version: U16,
    bits: U16,
    checksum_mode: U16,
    checksum_length: U16,
    blocks_per_checksum: U32,
    reseeded: u8,
    bitmap_mode: u8,
    checksum: U32,
}

impl Header2 {
    /// What it says, checked.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Unsupported`] by the field that says so.
    pub fn checked(&self, main: &dyn Source) -> Result<Header> {
        self.check_form()?;
        let (block_size, blocks, used) =
            (self.block_size.get(), self.blocks.get(), self.used.get());
        check_sizes((block_size, 84), (blocks, 60))?;
        if used > blocks {
            let what = format!("{used} blocks in use, of {blocks}");
            return Err(Error::corrupt(76, what));
        }
        let (form, trailer) = self.bitmap_form()?;
        if form == Form::All && used != blocks {
            let what = format!("{used} blocks in use, of {blocks} that are all stored");
            return Err(Error::corrupt(76, what));
        }
        let (bitmap, data) = place_bitmap(main, form, LENGTH, blocks, trailer)?;
        if form == Form::Bytes {
            check_bitmap_end(main, data)?;
        }
        let checksums = checksum::declared(
            self.checksum_mode.get(),
            self.checksum_length.get(),
            self.blocks_per_checksum.get(),
            self.reseeded != 0,
        )?;
        Ok(Header {
            version: "0002",
            tool: Some(text(&self.tool)),
            bits: Some(self.bits.get()),
            file_system: text(&self.file_system),
            device_size: self.device_size.get(),
            block_size,
            blocks,
            used_by_file_system: self.used_by_file_system.get(),
            used: Some(used),
            bitmap,
            data,
            trailers: Trailers::Declared(checksums),
            checksum: self.checksum.get(),
        })
    }

    /// That the header is whole, and of the one form that is known.
    fn check_form(&self) -> Result<()> {
        match self.byte_order.get() {
            NATIVE => (),
            FOREIGN => {
                let what = "an image written on a big-endian machine";
                return Err(Error::Unsupported(what.into()));
            }
            other => {
                let what = format!("expected the mark of byte order 0xc0de, found {other:#06x}");
                return Err(Error::corrupt(34, what));
            }
        }
        let covered = self.as_bytes().split_last_chunk::<4>().map_or(&[][..], |(head, _)| head);
        let (expected, found) = (checksum::of(covered), self.checksum.get());
        if expected != found {
            let what =
                format!("expected the header's checksum {expected:#010x}, found {found:#010x}");
            return Err(Error::corrupt(106, what));
        }
        let features = (self.features_length.get(), self.features_version.get());
        if features != FEATURES {
            let (length, version) = features;
            let what = format!("a section of features of {length} bytes and version {version}");
            return Err(Error::Unsupported(what));
        }
        Ok(())
    }

    /// The bitmap's form, and the bytes behind it.
    fn bitmap_form(&self) -> Result<(Form, u64)> {
        match self.bitmap_mode {
            0 => Ok((Form::All, 0)),
            1 => Ok((Form::Bits, BITMAP_CHECKSUM)),
            8 => Ok((Form::Bytes, 8)),
            other => Err(Error::Unsupported(format!("a bitmap of kind {other}"))),
        }
    }
}
