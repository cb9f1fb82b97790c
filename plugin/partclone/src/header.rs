//! What an image says of itself, whichever format it is of, checked: sizes multiply
//! without overflow, and the bitmap lies inside the file. The formats' own structures
//! are in [`crate::header1`] and [`crate::header2`].

use alloc::format;
use alloc::string::String;

use fumehood_plugin::read::{read_bytes, read_struct};
use fumehood_plugin::{Error, Result, Source};

use crate::bitmap::{Bitmap, Form};
use crate::checksum::Checksums;
use crate::header1::Header1;
use crate::header2::Header2;

/// Begins every image.
pub const MAGIC: &[u8] = b"partclone-image";
/// Where the version stands as text, in both formats.
const VERSION: (u64, u64) = (30, 4);
/// The most blocks: 4 PiB in blocks of 4 KiB. It bounds what the ranks take.
const MOST_BLOCKS: u64 = 1 << 40;
/// The largest block; partclone's own limit.
const LARGEST_BLOCK: u32 = 64 << 20;

/// How the stored blocks are followed by checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailers {
    /// As the header says.
    Declared(Option<Checksums>),
    /// Format 0001: one behind each block, of 4 or 8 bytes; the file's length tells.
    Guessed,
}

/// What is known of an image before its bitmap was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// `0001` or `0002`.
    pub version: &'static str,
    /// The version of partclone that wrote it, where it says.
    pub tool: Option<String>,
    /// Bits of the machine it was written on, where it says.
    pub bits: Option<u16>,
    /// The file system's name.
    pub file_system: String,
    /// Bytes of the device.
    pub device_size: u64,
    /// Bytes a block.
    pub block_size: u32,
    /// Blocks of the file system.
    pub blocks: u64,
    /// Blocks in use as the file system counts them; informative.
    pub used_by_file_system: u64,
    /// Blocks in use as the bitmap should count them, where that can be relied on.
    pub used: Option<u64>,
    /// Where the bitmap is.
    pub bitmap: Bitmap,
    /// Where the first stored block is.
    pub data: u64,
    /// What stands between the blocks.
    pub trailers: Trailers,
    /// Identifies the header: its own checksum, or 0.
    pub checksum: u32,
}

impl Header {
    /// The header of the image in `main`.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] without the signature, [`Error::Unsupported`] and
    /// [`Error::Corrupt`] by the field that says so.
    pub fn read(main: &dyn Source) -> Result<Self> {
        let magic = main.read(0, MAGIC.len()).map_err(|_| Error::Unrecognised)?;
        if magic != MAGIC {
            return Err(Error::Unrecognised);
        }
        let (at, length) = VERSION;
        match &*read_bytes(main, at, length, "version")? {
            b"0001" => read_struct::<Header1>(main, 0, "header")?.checked(main),
            b"0002" => read_struct::<Header2>(main, 0, "header")?.checked(main),
            other => {
                let what = format!("partclone format \"{}\"", other.escape_ascii());
                Err(Error::Unsupported(what))
            }
        }
    }

    /// Size of the volume in bytes: the device, where it is larger than the file
    /// system; what lies behind the file system is not in the image.
    pub fn volume_size(&self) -> u64 {
        let file_system = self.blocks * u64::from(self.block_size);
        let device = self.device_size - self.device_size % 512;
        if i64::try_from(device).is_ok() { file_system.max(device) } else { file_system }
    }
}

/// That a volume of `blocks` blocks of `block_size` bytes can be shown. The offsets
/// are those of the fields.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Unsupported`].
pub fn check_sizes(
    (block_size, block_size_at): (u32, u64),
    (blocks, blocks_at): (u64, u64),
) -> Result<()> {
    if block_size == 0 || block_size > LARGEST_BLOCK {
        let what = format!("expected blocks of up to {LARGEST_BLOCK} bytes, found {block_size}");
        return Err(Error::corrupt(block_size_at, what));
    }
    if !block_size.is_multiple_of(512) {
        let what = format!("blocks of {block_size} bytes, no multiple of 512");
        return Err(Error::Unsupported(what));
    }
    let size = blocks.checked_mul(block_size.into()).and_then(|size| i64::try_from(size).ok());
    if blocks == 0 || size.is_none() {
        let what = format!("a volume of {blocks} blocks of {block_size} bytes");
        return Err(Error::corrupt(blocks_at, what));
    }
    if blocks > MOST_BLOCKS {
        let what = format!("a volume of {blocks} blocks; up to {MOST_BLOCKS} are read");
        return Err(Error::Unsupported(what));
    }
    Ok(())
}

/// The bitmap at `offset`, and where the blocks begin behind it and `trailer` bytes.
///
/// # Errors
/// [`Error::Corrupt`] where it lies past the end of `main`.
pub fn place_bitmap(
    main: &dyn Source,
    form: Form,
    offset: u64,
    blocks: u64,
    trailer: u64,
) -> Result<(Bitmap, u64)> {
    let bitmap = Bitmap { form, offset, blocks };
    let end = offset + bitmap.length() + trailer;
    if end > main.size() {
        let (length, size) = (bitmap.length(), main.size());
        let what = format!("a bitmap of {length} bytes reaches past the end at {size}");
        return Err(Error::corrupt(offset, what));
    }
    Ok((bitmap, end))
}

/// A field of text, up to the first zero.
pub fn text(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    format!("{}", text.trim_ascii().escape_ascii())
}
