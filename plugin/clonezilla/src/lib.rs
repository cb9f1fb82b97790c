//! Clonezilla images: a folder with a stream for each partition that was saved, split or
//! whole, compressed or not, and texts about the disk that they came from.
//!
//! ```text
//!   parts ─▶ plan ◀─ devices (file systems, places on the disk), layers (LVM, LUKS)
//!             │
//!             ▼ one partition after the other
//!           search ─▶ naming: what its file may be called ─▶ gather: pieces ─▶ stream
//!                      ▲                                       ▲
//!                      └──────────── sums: the folder's own list of files
//!   image: streams as disks, texts as documents
//! ```
//!
//! A plugin cannot list a folder, so a file is found by asking for the names that it may
//! have, the likely ones first. A partition whose file is missing, damaged or of a kind
//! that is not read is a warning while others can be opened, and an error otherwise.
//!
//! Not here: what is in the streams (the host opens each as an image in its turn), and
//! the disk as a whole, with its partition table.
//!
//! Sources: what Clonezilla 5.3 and Rescuezilla 2.4 write.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod compression;
mod devices;
mod folder;
mod gather;
mod image;
mod layers;
mod names;
mod naming;
mod plan;
mod search;
mod stream;
mod sums;
mod texts;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use fumehood_plugin::{
    Access, Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result,
    SourceHandle,
};

use crate::image::ClonezillaImage;

/// The format.
pub struct Clonezilla;

impl Format for Clonezilla {
    fn describe() -> Description {
        Description {
            name: "clonezilla",
            title: "Clonezilla image folder",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &[],
            folder_entry: Some(plan::ENTRY),
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        let whole = glimpse.size == glimpse.head.len() as u64;
        match glimpse.name == plan::ENTRY && whole && plan::devices_in(&glimpse.head).is_ok() {
            true => Confidence::Certain,
            false => Confidence::No,
        }
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        if options.access == Access::ReadWrite {
            return Err(Error::Unsupported("writing to a Clonezilla image".into()));
        }
        if let Some(name) = options.snapshot {
            return Err(Error::Missing(format!("snapshot {name}: a Clonezilla image has none")));
        }
        Ok(Box::new(ClonezillaImage::open(&*main, host)?))
    }
}

fumehood_plugin::export_format!(Clonezilla);
