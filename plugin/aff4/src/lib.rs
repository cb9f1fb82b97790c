//! AFF4, the Advanced Forensic Format: evidence in zip files, as Evimetry, pyaff4 and others
//! write it, version 1.0 of the standard and the images of before; single files and striped
//! sets.
//!
//! ```text
//!   zip ─▶ volume ─┬▶ turtle ─▶ graph ─▶ plan      disks, maps, streams
//!     (gather)     └▶ names ─▶ segments            (placing; in the scratch)
//!
//!   disk: offset ─▶ map (paged) ─┬▶ symbol         bytes that are known by name
//!                                └▶ chunks ─▶ content ─▶ extent
//! ```
//!
//! A chunk is stored, or compressed on its own; the host decodes it, and compares its
//! digest where the image has one. What the set lacks is damaged, never zero. What could
//! not be read at acquisition shows the text that the standard gives it, so that hashes can
//! be compared, and is named by `check`.
//!
//! Not here: encrypted streams and logical images (AFF4-L), which are recognised and refused
//! by name; volumes that are folders; maps that show other maps; explicit names of members
//! (`aff4:fileName`).
//!
//! Source throughout: B. Schatz, M. Cohen, "AFF4 Standard v1.0a", and the reference images
//! that it gives precedence over its text.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod check;
mod chunks;
mod content;
mod details;
mod disk;
mod evidence;
mod gather;
mod graph;
mod image;
mod map;
mod names;
mod naming;
mod placing;
mod plan;
mod segments;
mod stream;
mod survey;
mod symbol;
mod text;
mod turtle;
mod volume;
mod zip;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

use crate::image::AffImage;
use crate::survey::Survey;

/// The format.
pub struct Aff4;

/// Holds a volume's URN, and is its first member.
const DESCRIPTION: &[u8] = b"container.description";

impl Format for Aff4 {
    fn describe() -> Description {
        Description {
            name: "aff4",
            title: "Advanced Forensic Format 4 image",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["aff4", "af4"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        // Relatives that are not read are claimed too, to be refused by name.
        let zip = glimpse.head.starts_with(&zip::LOCAL_SIGNATURE);
        let comment = zip::comment(&glimpse.tail).and_then(|(_, comment)| volume::urn_in(comment));
        let described =
            glimpse.head.windows(DESCRIPTION.len()).take(256).any(|part| part == DESCRIPTION);
        if zip && (comment.is_some() || described) { Confidence::Certain } else { Confidence::No }
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        if let Some(name) = options.snapshot {
            return Err(Error::Missing(format!("snapshot {name}: evidence has none")));
        }
        let survey = Survey::new(main, host, options.scratch, options.seed)?;
        Ok(Box::new(AffImage::new(survey)))
    }
}

fumehood_plugin::export_format!(Aff4);
