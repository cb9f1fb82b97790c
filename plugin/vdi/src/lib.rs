//! VDI, the disk of VirtualBox: dynamic, fixed and differencing, read.
//!
//! Source: `src/VBox/Storage/VDICore.h` of VirtualBox, whose structures are named in
//! the modules; no text describes the format.
//!
//! ```text
//!   header ─┬─▶ parent          identities; where the parent may lie
//!           └─▶ map ─▶ extents  an entry a block: stored at, zero, or not here
//!               check           the whole map at one look
//! ```
//!
//! A differencing disk knows its parent by two UUIDs and by no name. What stands in
//! for the name is told in `parent`; the parent itself is opened by the host.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod check;
mod header;
mod image;
mod map;
mod parent;
mod uuid;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

/// The format.
pub struct Vdi;

impl Format for Vdi {
    fn describe() -> Description {
        Description {
            name: "vdi",
            title: "VirtualBox disk image",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["vdi"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        header::probe(&glimpse.head)
    }

    fn open(
        main: SourceHandle,
        _host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        image::open(main, &options)
    }
}

fumehood_plugin::export_format!(Vdi);
