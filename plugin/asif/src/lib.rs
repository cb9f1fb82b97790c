//! Apple's sparse images (ASIF), which macOS 26 makes for virtual machines. Read, and
//! as an experiment: see `header` for where the knowledge comes from.
//!
//! ```text
//!   header ─▶ two directories, the one with the higher version counts
//!               └▶ table ─▶ group of entries, one more for their bitmap
//!                             └▶ chunk of the file
//!   map: offset ─▶ chunk of the disk ─▶ entry ─▶ extent
//! ```
//!
//! Not here: writing; images in layers, and whatever else other versions and flags
//! stand for, which is refused by name.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod check;
mod header;
mod image;
mod map;
mod metadata;
mod tables;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::image::AsifImage;

/// The format.
pub struct Asif;

impl Format for Asif {
    fn describe() -> Description {
        Description {
            name: "asif",
            title: "Apple sparse image (experimental)",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["asif"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        // Other versions are claimed too, to be refused by name.
        match header::is_header(&glimpse.head) {
            true => Confidence::Certain,
            false => Confidence::No,
        }
    }

    fn open(
        main: SourceHandle,
        _host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        if let Some(name) = options.snapshot {
            let what = alloc::format!("snapshot {name}: these images have none");
            return Err(Error::Missing(what));
        }
        Ok(Box::new(AsifImage::open(main)?))
    }
}

fumehood_plugin::export_format!(Asif);
