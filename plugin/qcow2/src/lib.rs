//! QCOW2, QEMU's own image format, versions 2 and 3: read-only.
//!
//! Source: the specification *qcow2* in QEMU's `docs/interop`; sections named below
//! and in the modules are its sections.
//!
//! ```text
//!   header ─▶ extensions            names: backing file, data file, features
//!     ├─────▶ snapshots ─▶ l1       a saved state has an L1 table of its own
//!     └─────▶ l1 ─▶ l2 ─▶ map       disk offset ─▶ extents
//!   refcount, bitmaps ─▶ usage ─▶ check
//! ```
//!
//! Tables are read through `tables`, a bounded cache: neither an L1 table of
//! 32 MiB nor an L2 table of 2 MiB is ever in memory as a whole. The one module
//! that reads the header's fields is `header`; everybody else gets a
//! `header::Header`, whose tables are aligned, bounded and inside the file.
//!
//! Backing files are named, never opened: following one is the host's decision.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod bitmaps;
mod check;
mod extensions;
mod features;
mod geometry;
mod header;
mod image;
mod l1;
mod l2;
mod ledger;
mod map;
mod refcount;
mod snapshots;
mod tables;
mod usage;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Access, Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result,
    SourceHandle,
};

/// The format.
pub struct Qcow2;

impl Format for Qcow2 {
    fn describe() -> Description {
        Description {
            name: "qcow2",
            title: "QEMU copy-on-write disk v2 and v3",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["qcow2", "qcow"],
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        // Versions that are not read are claimed too: the refusal then says why.
        if glimpse.head.starts_with(&header::MAGIC) { Confidence::Certain } else { Confidence::No }
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        if options.access == Access::ReadWrite {
            return Err(Error::ReadOnly);
        }
        let image = image::Qcow2Image::open(main, &*host, options.snapshot.as_deref())?;
        Ok(Box::new(image))
    }
}

fumehood_plugin::export_format!(Qcow2);
