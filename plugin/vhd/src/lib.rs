//! VHD, the virtual hard disk of Virtual PC, Hyper-V, XenServer and Azure: fixed,
//! dynamic and differencing, read and written.
//!
//! Source: Microsoft, *Virtual Hard Disk Image Format Specification* 1.0; the
//! sections named below and in the modules are its sections.
//!
//! ```text
//!   footer ──┬─▶ fixed                       the file is the disk, and a footer
//!   (copies) └─▶ header ─▶ parent            dynamic, differencing: names, identity
//!                  └─▶ bat ─▶ bitmap ─▶ map  disk offset ─▶ extents
//!   write (place, commit, zero) ─▶ space     rooms at the file's end, the footer behind
//!   create, resize, rebase, survey ─▶ check
//! ```
//!
//! ## How a crash is survived
//!
//! A block is linked by one entry of the block allocation table, and the table is
//! written in `commit`, when all that it names is durable. Before the footer's old
//! place is used for a block, the footer has been written and flushed behind the
//! grown end, so there is a valid footer at the end at every moment. A sector of a
//! differencing block counts once its bit is set, and bits are set in `commit`.
//! Blocks that are given up are used again only after a flush.
//!
//! Parents are named, never opened: following one is the host's decision.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod bat;
mod bitmap;
mod check;
mod create;
mod fixed;
mod footer;
mod geometry;
mod header;
mod map;
mod parent;
mod rebase;
mod resize;
mod space;
mod sparse;
mod survey;
mod uuid;
mod write;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;

use fumehood_plugin::{
    Access, Confidence, CreateOptions, Description, Error, Format, Glimpse, Host, Image,
    OpenOptions, Result, SourceHandle,
};

use crate::footer::{Found, Kind};

/// The format.
pub struct Vhd;

impl Format for Vhd {
    fn describe() -> Description {
        Description {
            name: "vhd",
            title: "Virtual PC and Hyper-V virtual hard disk",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["vhd", "avhd", "vud"],
            folder_entry: None,
            can_write: true,
            can_create: true,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        footer::probe(glimpse)
    }

    fn open(
        main: SourceHandle,
        _host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        let found = Found::read(&*main, trusts_footer(&options)?)?;
        match found.kind {
            Kind::Fixed => fixed::open(main, found, &options),
            Kind::Dynamic | Kind::Differencing => sparse::open(main, found, &options),
        }
    }

    fn create(
        main: SourceHandle,
        _host: Rc<dyn Host>,
        options: CreateOptions,
    ) -> Result<Box<dyn Image>> {
        create::create(main, &options)
    }
}

/// The setting `footer_checksum=ignore`, which is for reading only.
fn trusts_footer(options: &OpenOptions) -> Result<bool> {
    let mut settings = options.settings.iter();
    let value = settings.find(|(name, _)| name == "footer_checksum").map(|(_, value)| value);
    match (value.map(String::as_str), options.access) {
        (None, _) => Ok(false),
        (Some("ignore"), Access::Read) => Ok(true),
        (Some("ignore"), _) => {
            Err(Error::Unsupported("writing with footer_checksum=ignore".into()))
        }
        (Some(other), _) => Err(Error::Unsupported(format!("footer_checksum={other}, not ignore"))),
    }
}

fumehood_plugin::export_format!(Vhd);
