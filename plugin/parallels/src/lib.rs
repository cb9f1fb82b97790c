//! Disks of Parallels Desktop and Virtuozzo: an expanding image alone (`.hds`, of both
//! generations), and bundles: a folder with a `DiskDescriptor.xml` that puts the disk
//! together from storages, and each storage from a chain of images.
//!
//! ```text
//!   .hds ──────────────────────────────────────▶ header ─▶ layer ─▶ map ─▶ extents
//!   DiskDescriptor.xml ─▶ descriptor ─▶ chain ─▶ (each image)│
//!                         what it says  whether              └▶ table, paged
//!                                       it fits together
//! ```
//!
//! A bundle is one image: the states in it are its snapshots, and a cluster that is
//! absent in one image is looked up in the next older one here, not by the host.
//!
//! Not here: writing, encrypted disks, images outside of their bundle (linked clones);
//! the latter two are refused by name.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod chain;
mod check;
mod descriptor;
mod extension;
mod guid;
mod header;
mod image;
mod layer;
mod map;
mod table;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::header::Generation;
use crate::image::{DESCRIPTOR, ParallelsImage};

/// Where in a descriptor the name of its root element is looked for.
const ROOT_WINDOW: usize = 4096;

/// The format.
pub struct Parallels;

impl Format for Parallels {
    fn describe() -> Description {
        Description {
            name: "parallels",
            title: "Parallels and Virtuozzo disk",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["hds", "hdd"],
            folder_entry: Some(DESCRIPTOR),
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        match Generation::of(&glimpse.head).is_some() || is_descriptor(&glimpse.head) {
            true => Confidence::Certain,
            false => Confidence::No,
        }
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        let head = main.read(0, main.size().min(ROOT_WINDOW as u64) as usize)?;
        let snapshot = options.snapshot.as_deref();
        Ok(Box::new(if Generation::of(&head).is_some() {
            ParallelsImage::single(main, snapshot)?
        } else if is_descriptor(&head) {
            ParallelsImage::bundle(&main, &*host, snapshot)?
        } else {
            return Err(Error::Unrecognised);
        }))
    }
}

/// Whether a text begins as descriptors do.
fn is_descriptor(head: &[u8]) -> bool {
    let head = head.get(..ROOT_WINDOW).unwrap_or(head);
    let text = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head).trim_ascii_start();
    let root = descriptor::ROOT.as_bytes();
    text.starts_with(b"<")
        && text.windows(root.len() + 1).any(|part| part.strip_prefix(b"<") == Some(root))
}

fumehood_plugin::export_format!(Parallels);
