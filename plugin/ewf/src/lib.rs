//! Expert Witness evidence files: `.E01` of EnCase, FTK Imager, linen, ewfacquire and
//! others, SMART's `.s01`, and version 2 of the format, EnCase 7's `.Ex01`; single files
//! and split sets.
//!
//! ```text
//!  naming ─▶ segment ─▶ section ─┬▶ volume      media size, chunk size
//!                                ├▶ table       directory: chunk range → entries
//!            (survey walks all   ├▶ digests     MD5, SHA-1 over the media
//!             files once)        ├▶ unreadable  sectors that could not be read
//!                                └▶ texts       case notes
//!            ewf2: the same of version 2, with sections and tables of its own
//!
//!  map: offset ─▶ chunk number ─▶ table ─▶ entries (paged) ─▶ place ─▶ extent
//! ```
//!
//! A chunk is a compressed stream, or raw bytes with their Adler-32 behind them; both
//! are the host's to decode and verify. In version 2 it may also be eight bytes that fill
//! it. What the set lacks (a segment, a table whose copies all fail) is damaged, never
//! zero, and the rest stays readable.
//!
//! Not here: logical evidence (`.L01`, `.Lx01`), encrypted Ex01 and AccessData's
//! encryption; all are recognised and refused by name.
//!
//! Source throughout: J. Metz, libewf, "Expert Witness Compression Format (EWF)" and
//! "Expert Witness Compression Format version 2".
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod bunzip2;
mod check;
mod digests;
mod entries;
mod evidence;
mod ewf2;
mod gathered;
mod image;
mod inflate;
mod map;
mod media;
mod naming;
mod notes;
mod object;
mod place;
mod sealed;
mod section;
mod segment;
mod survey;
mod table;
mod text;
mod texts;
mod unpack;
mod unreadable;
mod volume;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::image::EwfImage;
use crate::segment::{Family, Version, version};

/// The format.
pub struct Ewf;

impl Format for Ewf {
    fn describe() -> Description {
        Description {
            name: "ewf",
            title: "Expert Witness / EnCase evidence file",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["e01", "s01", "ex01"],
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
        let evidence = match version(&*main)? {
            Version::One => survey::survey(main, &*host)?,
            Version::Two => ewf2::survey::survey(main, &*host)?,
        };
        Ok(Box::new(EwfImage::new(evidence)))
    }
}

fumehood_plugin::export_format!(Ewf);
