//! Android's sparse images, as fastboot and firmware packages have them, and sets of
//! them (`super.img_sparsechunk.0` and so on).
//!
//! ```text
//!   header ─▶ chunk, chunk, chunk …      one after the other; no index
//!              │ one walk (part)
//!              ▼
//!           contents: where every so many chunks begin ──▶ scratch
//!              │ a short walk
//!              ▼
//!   map: offset ─▶ block ─▶ chunk of the last part that holds it ─▶ extent
//! ```
//!
//! Blocks filled with a pattern are produced here, since no file holds them.
//!
//! Not here: writing.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod check;
mod chunk;
mod contents;
mod header;
mod image;
mod map;
mod naming;
mod part;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::image::SparseImage;

/// The format.
pub struct AndroidSparse;

impl Format for AndroidSparse {
    fn describe() -> Description {
        Description {
            name: "android-sparse",
            title: "Android sparse image",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["simg"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        // Other versions are claimed too, to be refused by name.
        match glimpse.head.starts_with(&header::MAGIC.to_le_bytes()) {
            true => Confidence::Certain,
            false => Confidence::No,
        }
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        if let Some(name) = options.snapshot {
            let what = alloc::format!("snapshot {name}: sparse images have none");
            return Err(Error::Missing(what));
        }
        Ok(Box::new(SparseImage::open(main, &*host, options.scratch)?))
    }
}

fumehood_plugin::export_format!(AndroidSparse);
