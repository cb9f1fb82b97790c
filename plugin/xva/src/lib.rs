//! XVA, the exports of XenServer and XCP-ng: a tar archive of a machine's description
//! and of its disks in chunks.
//!
//! ```text
//!   tar ─▶ walk ─┬─▶ manifest (ova.xml)        disks, their sizes and names
//!                └─▶ scan ─▶ chunk, replayed ─▶ index: offset ─▶ place, length, digest
//!   map: disk offset ─▶ index (paged, in the scratch) ─▶ extents
//! ```
//!
//! Where a chunk belongs follows only from all those before it, as the importer counts
//! (see `scan`), so all headers of the archive are read once. What is found goes to
//! the scratch. Chunks that are not there are zero, up to the last of a disk, which
//! always is: an export that ends before it is incomplete, and its rest is damaged.
//!
//! Not here: compressed exports, which the host opens as containers of this one, and the
//! folders with `ova.xml` of 2007, which are refused by name.
//!
//! Source throughout: xapi-project, xen-api, `stream_vdi.ml`, `export.ml` and
//! `import.ml`; POSIX.1-2017, pax, for tar.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod archive;
mod image;
mod index;
mod manifest;
mod map;
mod member;
mod pax;
mod rpc;
mod scan;
mod tar;
mod text;
mod walk;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::archive::Archive;
use crate::image::XvaImage;

/// The format.
pub struct Xva;

impl Format for Xva {
    fn describe() -> Description {
        Description {
            name: "xva",
            title: "XenServer and XCP-ng export",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["xva"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        if archive::is_signature(&glimpse.head) { Confidence::Certain } else { Confidence::No }
    }

    fn open(main: SourceHandle, _: Rc<dyn Host>, options: OpenOptions) -> Result<Box<dyn Image>> {
        if let Some(name) = options.snapshot {
            return Err(Error::Missing(format!("snapshot {name}: an export has none to name")));
        }
        Ok(Box::new(XvaImage::new(Archive::open(main, options.scratch, &options.seed)?)))
    }
}

fumehood_plugin::export_format!(Xva);
