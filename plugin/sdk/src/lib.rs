//! Write a disk-image format for Fumehood.
//!
//! A format is a [`Format`]: it recognises its images and opens them. An opened
//! [`Image`] lists its disks, and a [`Disk`] answers one question: *where do the
//! bytes of this range lie?* The answer is a list of [`Extent`]s. The host moves
//! the bytes; payload never passes through the plugin.
//!
//! ```text
//!   glimpse ──▶ Format::probe          is it ours?
//!   source  ──▶ Format::open ──▶ Image ──▶ Disk::extents ──▶ stored at / zero /
//!                                                            absent / encoded
//! ```
//!
//! A parser written against these traits knows nothing of Wasm: it can be tested
//! and fuzzed natively over [`memory::MemorySource`]. [`export_format!`] makes it a
//! component when the crate is built for `wasm32-unknown-unknown`.
//!
//! This crate is `no_std` + `alloc`. What it does not hold: codecs of payload (they are
//! the host's) and anything that opens files (the host grants sources).
#![no_std]
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[doc(hidden)]
pub extern crate alloc;

pub mod bzip2;
pub mod error;
pub mod extent;
pub mod findings;
pub mod format;
pub mod marks;
pub mod memory;
pub mod read;
pub mod scratch;
pub mod simulate;
pub mod source;
pub mod text;
pub mod two_level;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod export;
#[cfg(all(target_arch = "wasm32", target_os = "unknown", feature = "runtime"))]
mod runtime;

pub use error::{Error, Result};
pub use extent::{
    Cipher, Codec, Content, Digest, DigestKind, DigestValue, Encoded, Encryption, Extent, Extents,
    Placement, Stored, Window,
};
pub use format::{
    Confidence, Contents, CreateOptions, Description, Disk, DiskDigest, DiskInfo, Encoding,
    Finding, Format, Glimpse, Image, ImageInfo, Key, OpenOptions, Parent, Progress, SnapshotInfo,
};
pub use source::{Access, Host, Level, Source, SourceHandle};

/// Makes the crate a component that offers the named [`Format`].
///
/// One line at the end of the crate: `fumehood_plugin::export_format!(MyFormat);`.
/// Builds for other targets than Wasm ignore it, so that tests and fuzzers link.
#[macro_export]
macro_rules! export_format {
    ($format:ty) => {
        #[cfg(target_family = "wasm")]
        mod fumehood_component {
            use super::*;
            type Component = $crate::export::Component<$format>;
            $crate::export::bindings::export!(Component with_types_in $crate::export::bindings);
        }
    };
}
