//! VHDX, the format of Hyper-V: dynamic, fixed and differencing images, read and
//! written.
//!
//! Source: Microsoft's Open Specification \[MS-VHDX\]; sections named in the modules are
//! its sections.
//!
//! ```text
//!   header ─▶ log_entry ─▶ replay ─▶ overlay     what a crash left in the log
//!     └─────▶ region ─▶ metadata ─▶ locator      what kind of disk, and on which parent
//!               └─────▶ bat, bitmap ─▶ map       disk offset ─▶ extents
//!
//!   place ─▶ space          room for a write
//!   link, zero, shape ─▶ pages ─▶ journal        changed metadata, through the log
//! ```
//!
//! All metadata behind the headers is read through `pages`, a bounded cache: a BAT of
//! 513 MiB is never in memory as a whole. `store` is the state that all of it shares.
//!
//! An image opened for writing is not changed before the first write, save that its log
//! is carried out: children recognise their parent by a GUID that a session of writing
//! replaces. Until then all extents are read-only, so that the first write is seen.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod bat;
mod bitmap;
mod check;
mod crc;
mod create;
mod geometry;
mod guid;
mod header;
mod image;
mod journal;
mod layout;
mod link;
mod locator;
mod log_entry;
mod map;
mod metadata;
mod overlay;
mod pages;
mod place;
mod region;
mod replay;
mod shape;
mod space;
mod store;
mod zero;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Access, Confidence, CreateOptions, Description, Format, Glimpse, Host, Image, OpenOptions,
    Result, SourceHandle,
};

use crate::image::VhdxImage;
use crate::store::Store;

/// The format.
pub struct Vhdx;

impl Format for Vhdx {
    fn describe() -> Description {
        Description {
            name: "vhdx",
            title: "Hyper-V virtual hard disk v2",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["vhdx", "avhdx"],
            folder_entry: None,
            can_write: true,
            can_create: true,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        match glimpse.head.starts_with(&layout::SIGNATURE) {
            true => Confidence::Certain,
            false => Confidence::No,
        }
    }

    fn open(main: SourceHandle, _: Rc<dyn Host>, options: OpenOptions) -> Result<Box<dyn Image>> {
        let store = Store::open(main, options.access, &options.seed)?;
        Ok(Box::new(VhdxImage::new(store)))
    }

    fn create(
        main: SourceHandle,
        _: Rc<dyn Host>,
        options: CreateOptions,
    ) -> Result<Box<dyn Image>> {
        create::create(&*main, &options)?;
        let store = Store::open(main, Access::ReadWrite, &options.seed)?;
        Ok(Box::new(VhdxImage::new(store)))
    }
}

fumehood_plugin::export_format!(Vhdx);
