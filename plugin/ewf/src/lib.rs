//! Expert Witness evidence files, version 1: `.E01` of EnCase, FTK Imager, linen,
//! ewfacquire and others, and SMART's `.s01`; single files and split sets.
//!
//! ```text
//!  naming ─▶ segment ─▶ section ─┬▶ volume      media size, chunk size
//!                                ├▶ table       directory: chunk range → entries
//!            (survey walks all   ├▶ digests     MD5, SHA-1 over the media
//!             files once)        ├▶ unreadable  error2
//!                                └▶ notes       case notes
//!
//!  map: offset ─▶ chunk number ─▶ table ─▶ entries (paged) ─▶ extent
//! ```
//!
//! A chunk is a zlib stream, or raw bytes with their Adler-32 behind them; both
//! are the host's to decode and verify. What the set lacks (a segment, a table
//! whose copies both fail) is damaged, never zero, and the rest stays readable.
//!
//! Not here: version 2 (`.Ex01`), logical evidence (`.L01`, `.Lx01`) and AccessData's
//! encryption; all are recognised and refused by name.
//!
//! Source throughout: J. Metz, libewf, "Expert Witness Compression Format (EWF)".
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod check;
mod digests;
mod entries;
mod evidence;
mod image;
mod inflate;
mod map;
mod naming;
mod notes;
mod sealed;
mod section;
mod segment;
mod survey;
mod table;
mod text;
mod unreadable;
mod volume;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::image::EwfImage;
use crate::segment::Family;
use crate::survey::survey;

/// The format.
pub struct Ewf;

impl Format for Ewf {
    fn describe() -> Description {
        Description {
            name: "ewf",
            title: "Expert Witness / EnCase evidence file",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["e01", "s01"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        // Relatives that are not read are claimed too, to be refused by name.
        Family::of(&glimpse.head).map_or(Confidence::No, |_| Confidence::Certain)
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        if let Some(name) = options.snapshot {
            return Err(Error::Missing(alloc::format!("snapshot {name}: evidence has none")));
        }
        Ok(Box::new(EwfImage::new(survey(main, &*host)?)))
    }
}

fumehood_plugin::export_format!(Ewf);
