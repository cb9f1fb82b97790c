//! Macrium Reflect X images (`.mrimgx`): full, differential and incremental, in one file
//! or several, compressed or encrypted or neither. Each disk of an image is shown whole,
//! with what was backed up of it.
//!
//! Source: Macrium, *Macrium Reflect X Image File layout* and *Encryption
//! Implementation Overview*, with the reader published beside them.
//!
//! ```text
//!   footer ─▶ metadata: JSON ─▶ layout ─┬─▶ names ─▶ set       the files, by number
//!                                       └─▶ keys               password ─▶ AES key
//!   set ─▶ chain ─▶ tables (base index, deltas) ─▶ overlay     block ─▶ newest delta
//!
//!   map: offset ─▶ region ─▶ block ─▶ element (of overlay or base) ─▶ extent
//!          track 0, boot records of logical drives, backup GPT: computed
//! ```
//!
//! An index has 30 bytes for each block of 64 KiB, so windows of it are read, never all.
//! Only of the deltas it is kept in memory which blocks they hold.
//!
//! Not here: images of Reflect 8 and before, which are laid out in another way that is
//! not published; backups of files and folders; AES with keys of 192 bits. They are
//! refused by name.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod bounded;
mod chain;
mod check;
mod element;
mod footer;
mod gpt;
mod image;
mod keys;
mod layout;
mod map;
mod metadata;
mod names;
mod overlay;
mod partition;
mod regions;
mod set;
mod tables;
mod text;
mod track;
mod zstd;

use alloc::boxed::Box;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

/// The format.
pub struct Mrimgx;

impl Format for Mrimgx {
    fn describe() -> Description {
        Description {
            name: "mrimgx",
            title: "Macrium Reflect X image",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["mrimgx"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        footer::probe(glimpse)
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        Ok(Box::new(image::MrimgxImage::open(main, host, &options)?))
    }
}

fumehood_plugin::export_format!(Mrimgx);
