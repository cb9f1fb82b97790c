//! Images inside a compressed file: gzip, xz, Zstandard, bzip2, LZ4 and lzop.
//!
//! The disk that is offered is the file that was compressed; the host opens it as an
//! image in its turn. Wherever the container can be entered in the middle, the host
//! decodes just what is read. The rest is unpacked once.
//!
//! ```text
//!   kind ─▶ survey ─┬▶ gzip ─▶ inflate     checkpoints: bit position and window
//!                   ├▶ zstd ─▶ seek_table  frames
//!                   ├▶ xz ─▶ xz_stream     blocks, by the indexes
//!                   ├▶ lz4 ─▶ lz4_length   blocks, measured
//!                   ├▶ lzop                blocks, with their lengths
//!                   └▶ bzip2               nothing to enter by: unpacked
//!   survey ─▶ index_writer ─▶ scratch ─▶ index ─▶ extents
//!              unpack ───────▶ (room)
//! ```
//!
//! A survey walks the container once, step by step, and writes *pieces* into an index:
//! where on the disk each begins, and where its bytes lie. The index lives in the
//! scratch, page by page, with checkpoints' windows and whatever had to be unpacked,
//! so that memory stays small and the next open needs no survey. All of it has checksums:
//! a scratch that came to harm is filled again or an error, never other bytes.
//!
//! Sources: RFC 1950 to 1952 and the SAM specification (blocks of BGZF), RFC 8878 and
//! the Zstandard seekable format 0.1.0, the .xz file format 1.2.1, the LZ4 frame format
//! 1.6.4 and block format, the header of lzop 1.04, the structure of bzip2 1.0.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod bzip2;
mod checksum;
mod feed;
mod gzip;
mod gzip_header;
mod identity;
mod image;
mod index;
mod index_writer;
mod inflate;
mod kind;
mod lz4;
mod lz4_length;
mod lzop;
mod piece;
mod room;
mod seek_table;
mod survey;
mod unpack;
mod varint;
mod xz;
mod xz_block;
mod xz_stream;
mod zstd;
mod zstd_frame;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use fumehood_plugin::{
    Access, Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result,
    SourceHandle,
};

use crate::image::CompressedImage;
use crate::kind::Kind;

/// The most that a piece may hold, stored and decoded: the host decodes it whole.
const PIECE_LIMIT: u64 = 64 << 20;

/// The format.
pub struct Compressed;

impl Format for Compressed {
    fn describe() -> Description {
        Description {
            name: "compressed",
            title: "Compressed file: gzip, xz, Zstandard, bzip2, LZ4, lzop",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["gz", "bgz", "xz", "zst", "zstd", "bz2", "lz4", "lzo"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        Kind::of(&glimpse.head).map_or(Confidence::No, |_| Confidence::Certain)
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        if options.access == Access::ReadWrite {
            return Err(Error::Unsupported("writing to a compressed file".into()));
        }
        if let Some(name) = options.snapshot {
            return Err(Error::Missing(format!("snapshot {name}: a compressed file has none")));
        }
        Ok(Box::new(CompressedImage::open(main, host, options.scratch)?))
    }
}

fumehood_plugin::export_format!(Compressed);
