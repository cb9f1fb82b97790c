//! QED, the enhanced disk that QEMU had for a while, read.
//!
//! Source: the specification *QED* in QEMU's `docs/interop`; sections named in the
//! modules are its sections.
//!
//! ```text
//!   header ─┬─▶ parent's name
//!           └─▶ L1 ─▶ L2 ─▶ extents
//!                          check     every cluster once, in the file
//! ```
//!
//! Tables are read over a window at a time and never whole. A backing file is named
//! and not opened: following it is the host's decision.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod check;
mod header;
mod image;
mod tables;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

/// The format.
pub struct Qed;

impl Format for Qed {
    fn describe() -> Description {
        Description {
            name: "qed",
            title: "QEMU enhanced disk",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["qed"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        if glimpse.head.starts_with(&header::MAGIC) { Confidence::Certain } else { Confidence::No }
    }

    fn open(
        main: SourceHandle,
        _host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        image::open(main, &options)
    }
}

fumehood_plugin::export_format!(Qed);
