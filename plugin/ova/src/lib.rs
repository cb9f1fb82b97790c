//! OVA: a virtual appliance as one tar archive. Its OVF document names the disks; each
//! is a member of the archive, mapped in place, and the host opens it as an image in its
//! turn.
//!
//! ```text
//!   tar ─▶ members ─┬▶ envelope  (.ovf)  files, disks, what they are said to be
//!                   └▶ manifest  (.mf)   digests of members
//!   appliance: both put together ─▶ image ─▶ parts of disks ─▶ extents
//! ```
//!
//! Not here: an XVA, whose first member is `ova.xml`; and what other members hold.
//!
//! Sources: DMTF DSP0243 (OVF 1.1 and 2.1), POSIX.1 (ustar and pax), the GNU tar manual.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod appliance;
mod envelope;
mod image;
mod manifest;
mod members;
mod pax;
mod tar;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use fumehood_plugin::{
    Access, Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result,
    SourceHandle,
};

use crate::image::OvaImage;

/// The format.
pub struct Ova;

impl Format for Ova {
    fn describe() -> Description {
        Description {
            name: "ova",
            title: "OVF appliance archive",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["ova"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        members::probe(glimpse)
    }

    fn open(main: SourceHandle, _: Rc<dyn Host>, options: OpenOptions) -> Result<Box<dyn Image>> {
        if options.access == Access::ReadWrite {
            return Err(Error::Unsupported("writing to an appliance".into()));
        }
        if let Some(name) = options.snapshot {
            return Err(Error::Missing(format!("snapshot {name}: an appliance has none")));
        }
        Ok(Box::new(OvaImage::open(main)?))
    }
}

fumehood_plugin::export_format!(Ova);
