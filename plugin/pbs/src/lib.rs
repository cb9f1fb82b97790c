//! Proxmox Backup Server: snapshots of machines in a datastore, read without a server.
//!
//! Sources: proxmox-backup's `docs/file-formats.rst` and `docs/technical-overview.rst`,
//! with one correction: the checksum of a blob is in its header.
//!
//! ```text
//!   DATASTORE/.chunks/0a1b/0a1b…64 digits          store: chunks, named by their digest
//!   DATASTORE/[ns/NAME/…]vm/100/2024-…Z/           one snapshot
//!       index.json.blob        blob ─▶ manifest    what belongs to it, and its key
//!       drive-scsi0.img.fidx   fixed               a disk: digest after digest
//!       qemu-server.conf.blob  documents
//!
//!   map: offset ─▶ digest ─▶ store ─▶ chunk's header (blob) ─▶ extent
//! ```
//!
//! The folder of a snapshot is an image, and so is a single `.fidx` in it. Chunks lie
//! outside of that folder, so the operator grants the datastore. The host decrypts,
//! decodes and compares them; a chunk that is missing or wrong is damage in its place.
//!
//! Keys (`keys`) are the client's key files, with a passphrase as a second key where
//! they need one. What the manifest says is encrypted must be, and the other way round.
//! The digest of an encrypted chunk has a part of the key in it, which the host cannot
//! compare: its tag proves that the key's owner wrote it, not that it is this chunk.
//!
//! Not here: dynamic indexes (`.didx`), which hold archives of files; they are refused
//! by name.
#![cfg_attr(target_family = "wasm", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod blob;
mod date;
mod documents;
mod fixed;
mod hex;
mod image;
mod key_file;
mod keys;
mod manifest;
mod map;
mod open;
mod prepare;
mod scrypt;
mod snapshot;
mod store;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;

use fumehood_plugin::{
    Confidence, Description, Error, Format, Glimpse, Host, Image, OpenOptions, Result, SourceHandle,
};

/// The manifest's file name.
const MANIFEST: &str = "index.json.blob";

/// The format.
pub struct Pbs;

impl Format for Pbs {
    fn describe() -> Description {
        Description {
            name: "pbs",
            title: "Proxmox Backup Server snapshot",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["fidx"],
            folder_entry: Some(MANIFEST),
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        // Dynamic indexes are claimed too, to be refused by name.
        if fixed::is_index(&glimpse.head) {
            return Confidence::Certain;
        }
        match blob::is_blob(&glimpse.head) {
            true if glimpse.name == MANIFEST => Confidence::Certain,
            true => Confidence::Maybe,
            false => Confidence::No,
        }
    }

    fn open(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: OpenOptions,
    ) -> Result<Box<dyn Image>> {
        if let Some(name) = options.snapshot {
            let what = format!("snapshot {name}: a snapshot of a backup has none inside");
            return Err(Error::Missing(what));
        }
        Ok(Box::new(open::open(main, host, &options)?))
    }
}

fumehood_plugin::export_format!(Pbs);
