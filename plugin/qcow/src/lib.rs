//! QCOW, the first version of QEMU's copy-on-write disk, read.
//!
//! Source: Mark McLoughlin, *The QCOW Image Format* (2006), and the section on
//! version 1 in libqcow's *QEMU Copy-On-Write image file format specification*; what
//! those leave open was measured on files of `qemu-img`.
//!
//! ```text
//!   header ─┬─▶ parent's name
//!           └─▶ L1 ─▶ L2 ─▶ extents   some of them deflated
//!                          check     every cluster once, in the file
//! ```
//!
//! Versions 2 and 3 share the magic and little else; they are another plugin's. Tables
//! are read over a window at a time and never whole. A backing file is named and not
//! opened: following it is the host's decision.
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
pub struct Qcow;

impl Format for Qcow {
    fn describe() -> Description {
        Description {
            name: "qcow",
            title: "QEMU copy-on-write disk v1",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["qcow"],
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

fumehood_plugin::export_format!(Qcow);
