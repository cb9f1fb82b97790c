//! Veeam backup files (`.vbk`), full backups: an archive with folders, whose files are
//! images of disks and texts about them. Experimental: the format is not published, and
//! what is known of it was learned from few files. So whatever is not known is refused
//! by its number, and nothing is guessed.
//!
//! ```text
//!   header ─▶ slot (two; the newest that is whole) ─▶ archive: banks of pages
//!                                                       │
//!   directory ─▶ item ─▶ file map ─▶ descriptor ─▶ block store entry ─▶ extent
//!       └─▶ properties        (all of them are vectors of pages)
//! ```
//!
//! A file is cut into blocks. A block's descriptor names an entry of the block store,
//! which says where the block lies and how it is compressed; both carry the MD5 of the
//! block's contents, and must agree.
//!
//! Not here: increments (`.vib`, `.vrb`), patches, encrypted and archived blocks; all
//! are refused by name.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod archive;
mod blocks;
mod check;
mod directory;
mod document;
mod header;
mod image;
mod map;
mod properties;
mod slot;
mod vector;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

/// The format.
pub struct Vbk;

impl Format for Vbk {
    fn describe() -> Description {
        Description {
            name: "vbk",
            title: "Veeam backup file (experimental)",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["vbk"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        if header::looks_right(&glimpse.head) { Confidence::Certain } else { Confidence::No }
    }

    fn open(
        main: SourceHandle,
        _host: Rc<dyn Host>,
        _options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        Ok(Box::new(image::VbkImage::open(main)?))
    }
}

fumehood_plugin::export_format!(Vbk);
