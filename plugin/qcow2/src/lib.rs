//! QCOW2, QEMU's own image format, versions 2 and 3.
//!
//! Source: the specification *qcow2* in QEMU's `docs/interop`; sections named below
//! and in the modules are its sections.
//!
//! ```text
//!   header ─▶ extensions            names: backing file, data file, features
//!     ├─────▶ snapshots ─▶ l1       a saved state has an L1 table of its own
//!     └─────▶ l1 ─▶ l2 ─▶ map       disk offset ─▶ extents
//!   refcount, bitmaps ─▶ usage ─▶ check, recount
//!
//!   state: place, encoded ─▶ rooms ─▶ commit       (room, then links)
//!            │     ▲    zero, resize ──┘  │
//!            ▼     │                      ▼
//!          space ◀─┴── settle ◀────── flush        (counts: up before, down after)
//! ```
//!
//! Tables are read through `tables`, a bounded cache: neither an L1 table of
//! 32 MiB nor an L2 table of 2 MiB is ever in memory as a whole. The one module
//! that reads the header's fields is `header` (`edit`, `parent` and `create` write
//! them); everybody else gets a `header::Header`, whose tables are aligned, bounded
//! and inside the file.
//!
//! No crash corrupts: counts are durable before a link, and go down after it is
//! gone, so that at most clusters are left that are counted and not used. Images with
//! an external data file are read and not written.
//!
//! Backing files are named, never opened: following one is the host's decision.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod bitmaps;
mod check;
mod commit;
mod copy;
mod create;
mod edit;
mod encoded;
mod extensions;
mod features;
mod fixed;
mod geometry;
mod growth;
mod header;
mod image;
mod l1;
mod l2;
mod ledger;
mod map;
mod parent;
mod place;
mod recount;
mod refcount;
mod resize;
mod rooms;
mod settings;
mod snapshots;
mod space;
mod state;
mod tables;
mod usage;
mod zero;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Access, Confidence, CreateOptions, Description, Format, Glimpse, Host, Image, OpenOptions,
    Result, SourceHandle,
};

use image::Qcow2Image;

/// The format.
pub struct Qcow2;

impl Format for Qcow2 {
    fn describe() -> Description {
        Description {
            name: "qcow2",
            title: "QEMU copy-on-write disk v2 and v3",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["qcow2", "qcow"],
            folder_entry: None,
            can_write: true,
            can_create: true,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        // Later versions, which are not read, are claimed too: the refusal then says why.
        // The first is another format, with a plugin of its own.
        let is_first = glimpse.head.get(4..8) == Some(&[0, 0, 0, 1]);
        let is_ours = glimpse.head.starts_with(&header::MAGIC) && !is_first;
        if is_ours { Confidence::Certain } else { Confidence::No }
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        Ok(Box::new(Qcow2Image::open(main, &*host, &options)?))
    }

    fn create(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: CreateOptions,
    ) -> Result<Box<dyn Image>> {
        create::create(&*main, &options)?;
        let options = OpenOptions { access: Access::ReadWrite, ..OpenOptions::read_only() };
        Ok(Box::new(Qcow2Image::open(main, &*host, &options)?))
    }
}

fumehood_plugin::export_format!(Qcow2);
