//! Apple's disk images: UDIF (`.dmg`), and the two that grow, `.sparseimage` and
//! `.sparsebundle`.
//!
//! ```text
//!   trailer ─┬▶ plist ─▶ data ─┐
//!            └▶ fork ──────────┴▶ table ─▶ runs ─▶ map     where the sectors lie
//!                                   │
//!                                   └▶ digest, check       what checksums say
//!
//!   sparse_image, sparse_bundle                            bands in a file, in files
//! ```
//!
//! A UDIF image is a data fork of compressed runs, block tables that place them on the
//! disk, and a trailer that leads to the tables. The tables are read once, at open, into
//! one sorted list; decoding is the host's.
//!
//! Not here: encrypted images, images cut into segments, and ASIF of macOS 26. The first
//! two are recognised and refused by name.
//!
//! Sources: J. Metz, libmodi, "Mac OS disk image types", and keramics, "Universal Disk
//! Image Format", "Mac OS sparse image format", "Mac OS sparse bundle format".
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod check;
mod data;
mod digest;
mod fork;
mod image;
mod map;
mod plist;
mod runs;
mod sparse_bundle;
mod sparse_image;
mod table;
mod trailer;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::image::UdifImage;
use crate::sparse_bundle::SparseBundle;
use crate::sparse_image::SparseImage;

/// Bytes a sector, in all of these formats.
const SECTOR: u64 = 512;
/// Extents an answer has at most.
const MOST_EXTENTS: usize = 16384;

/// Begins an encrypted image of the second version.
const ENCRYPTED: &[u8] = b"encrcdsa";
/// Ends an encrypted image of the first version.
const ENCRYPTED_OLD: &[u8] = b"cdsaencr";

/// The format.
pub struct Dmg;

impl Format for Dmg {
    fn describe() -> Description {
        Description {
            name: "dmg",
            title: "Apple disk image (UDIF, sparse image, sparse bundle)",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["dmg", "sparseimage", "sparsebundle"],
            folder_entry: Some("Info.plist"),
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        // What is encrypted is claimed too, to be refused by name.
        let known = glimpse.head.starts_with(ENCRYPTED)
            || glimpse.tail.ends_with(ENCRYPTED_OLD)
            || sparse_image::is_one(&glimpse.head)
            || sparse_bundle::is_one(&glimpse.name, &glimpse.head)
            || trailer::is_in(&glimpse.head, &glimpse.tail);
        if known { Confidence::Certain } else { Confidence::No }
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        if let Some(name) = options.snapshot {
            return Err(Error::Missing(alloc::format!("snapshot {name}: the format has none")));
        }
        let size = main.size();
        let head = main.read(0, size.min(4096) as usize)?;
        let tail = main.read(size - size.min(8), size.min(8) as usize)?;
        if head.starts_with(ENCRYPTED) {
            return Err(Error::Unsupported("an encrypted image (encrcdsa, version 2)".into()));
        }
        if tail == ENCRYPTED_OLD {
            return Err(Error::Unsupported("an encrypted image (cdsaencr, version 1)".into()));
        }
        if sparse_image::is_one(&head) {
            return Ok(Box::new(SparseImage::open(main)?));
        }
        if sparse_bundle::is_one(&main.name(), &head) {
            return Ok(Box::new(SparseBundle::open(main, host)?));
        }
        Ok(Box::new(UdifImage::open(main)?))
    }
}

fumehood_plugin::export_format!(Dmg);
