//! VMDK, the virtual disk of VMware's products, of VirtualBox and of OVF packages, read
//! in all its variants: flat, hosted sparse, stream-optimized, and the deltas of ESX.
//!
//! Sources: VMware, *Virtual Disk Format* 5.0 (hosted sparse and stream-optimized
//! extents, the descriptor); J. Metz, libvmdk, "VMware Virtual Disk Format" (COWD);
//! SEsparse is known by what QEMU reads of it.
//!
//! ```text
//!   descriptor ─▶ line ─▶ part ─┬▶ zero, flat             bytes as they are
//!   (a text of its own, or      └▶ sparse ◀─┬─ hosted ◀─ footer
//!    inside of a hosted extent)      │      ├─ cowd
//!                                    │      └─ sesparse
//!                                    ▼
//!   map: offset ─▶ part ─▶ grain ─▶ tables (paged) ─▶ place ─▶ extent
//!                                                      └▶ stream: marker, zlib
//! ```
//!
//! The three sparse kinds differ in their headers and in what an entry says; both end
//! in one `sparse::Sparse`, and what reads tables knows no kinds. A sparse extent is
//! read by its own header: a descriptor inside of it is never followed to further files.
//!
//! Parents are named, never opened: following one is the host's decision. A delta's
//! own extent can be opened by itself; what it does not hold then reads as zeroes, and a
//! warning says so.
//!
//! Not here: writing, disks on devices, encryption, and the replay of an SEsparse
//! journal; all are refused by name.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod check;
mod cowd;
mod descriptor;
mod footer;
mod hosted;
mod image;
mod inflate;
mod line;
mod map;
mod overlap;
mod part;
mod place;
mod sesparse;
mod sparse;
mod stream;
mod tables;
mod text;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::sparse::Magic;

/// The format.
pub struct Vmdk;

impl Format for Vmdk {
    fn describe() -> Description {
        Description {
            name: "vmdk",
            title: "VMware virtual disk",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["vmdk"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        // A flat extent has no signature: it is a raw disk.
        if Magic::of(&glimpse.head).is_some() || descriptor::begins(&glimpse.head) {
            Confidence::Certain
        } else {
            Confidence::No
        }
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        if let Some(name) = options.snapshot {
            return Err(Error::Missing(format!("snapshot {name}: a VMDK file holds none")));
        }
        Ok(Box::new(image::open(main, host)?))
    }
}

fumehood_plugin::export_format!(Vmdk);
