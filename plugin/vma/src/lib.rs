//! VMA, the backup archives of Proxmox VE: several disks of one machine, its
//! configuration, and the state of its memory, in one stream.
//!
//! ```text
//!   header ─┬─▶ blob                 names and configuration files
//!           └─▶ devices
//!   scan ─▶ extent (one after the other) ─▶ index: cluster ─▶ offset, mask
//!   map: disk offset ─▶ cluster ─▶ index (paged, in the scratch) ─▶ extents
//! ```
//!
//! The stream was made for restoring from front to back: clusters of all disks lie
//! interleaved and out of order, and nothing says where, so the headers of all extents
//! are read once. What is found goes to the scratch.
//!
//! Nothing marks the end either: an archive is complete when every cluster of every
//! disk is there. What an aborted backup or a cut file lacks is damaged, never zero.
//!
//! Not here: the compressed archives (`.vma.zst` and its like), which the host opens as
//! containers of this one.
//!
//! Source throughout: Proxmox, pve-qemu, `vma_spec.txt`, and what its writer does where
//! the two differ.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod archive;
mod blob;
mod check;
mod extent;
mod header;
mod image;
mod index;
mod map;
mod scan;
mod text;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::header::{Header, is_signature};
use crate::image::VmaImage;

/// The format.
pub struct Vma;

impl Format for Vma {
    fn describe() -> Description {
        Description {
            name: "vma",
            title: "Proxmox VE backup archive",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["vma"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        // Versions that are not read are claimed too, to be refused by number.
        if is_signature(&glimpse.head) { Confidence::Certain } else { Confidence::No }
    }

    fn open(main: SourceHandle, _: Rc<dyn Host>, options: OpenOptions) -> Result<Box<dyn Image>> {
        if let Some(name) = options.snapshot {
            return Err(Error::Missing(format!("snapshot {name}: an archive has none")));
        }
        let header = Header::read(&*main)?;
        Ok(Box::new(VmaImage::new(main, header, options.scratch, &options.seed)))
    }
}

fumehood_plugin::export_format!(Vma);
