//! Partclone, the used blocks of one file system: formats 0001 and 0002, read.
//!
//! Sources: partclone's own `IMAGE_FORMATS.md`, and images that partclone wrote; the
//! document names other codes for the checksums than they hold.
//!
//! ```text
//!   header ─▶ bitmap ─▶ scan ─▶ ranks        how many blocks are stored before a page
//!                                 │
//!   map: offset ─▶ block ─▶ page of the bitmap ─▶ rank ─▶ layout ─▶ extent
//! ```
//!
//! The image holds the blocks that are set in its bitmap, one behind the other, so the
//! place of a block is the number of set bits before it. They are counted once, page
//! by page (`scan`), and kept in the scratch; from then on a look-up reads one page.
//!
//! Blocks that were free when the image was made read as zeroes. Checksums over groups
//! of blocks are the host's to compare; those that run on from the file's beginning
//! cannot be compared at random, and are not.
//!
//! Not here: images written on big-endian machines, which partclone refuses too, and
//! the folders and compressed parts that Clonezilla puts around an image.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod bitmap;
mod check;
mod checksum;
mod header;
mod header1;
mod header2;
mod image;
mod layout;
mod map;
mod remember;
mod scan;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::header::{Header, MAGIC};
use crate::image::PartcloneImage;

/// The format.
pub struct Partclone;

impl Format for Partclone {
    fn describe() -> Description {
        Description {
            name: "partclone",
            title: "Partclone and Clonezilla volume image",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["pcl"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        if glimpse.head.starts_with(MAGIC) { Confidence::Certain } else { Confidence::No }
    }

    fn open(main: SourceHandle, _: Rc<dyn Host>, options: OpenOptions) -> Result<Box<dyn Image>> {
        if let Some(name) = options.snapshot {
            return Err(Error::Missing(format!("snapshot {name}: an image of a volume has none")));
        }
        let verify = verifies(&options.settings)?;
        let header = Header::read(&*main)?;
        Ok(Box::new(PartcloneImage::new(main, header, options.scratch, verify)?))
    }
}

/// Whether checksums are compared: the setting `checksums=ignore` reads what they
/// say is damaged.
fn verifies(settings: &[(String, String)]) -> Result<bool> {
    let value = settings.iter().find(|(name, _)| name == "checksums").map(|(_, value)| &**value);
    match value {
        None => Ok(true),
        Some("ignore") => Ok(false),
        Some(other) => Err(Error::Unsupported(format!("checksums={other}, not ignore"))),
    }
}

fumehood_plugin::export_format!(Partclone);
