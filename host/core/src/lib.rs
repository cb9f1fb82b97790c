//! Runs disk-image plugins in a sandbox and plans I/O. Needs no operating system.
//!
//! A format plugin is a Wasm component that says *where* the bytes of a disk lie.
//! This crate loads it, limits it, checks what it answers, caches the answers, and
//! merges a chain of disks into one. It **plans** and never moves payload: a read
//! becomes a short list of [`Piece`]s that the embedder carries out with whatever
//! I/O it has.
//!
//! ```text
//!   embedder                       this crate                        plugin
//!   ────────                       ──────────                        ──────
//!   Source, Grants  ──────────▶  Image::open  ─────────────────▶  open(main, …)
//!   Runtime::tick   ──────────▶  deadlines, memory limits
//!   plan_read(offset, length) ▶  extent cache ──miss──▶ checked ◀─ extents(…)
//!   pieces          ◀──────────  stored at / zero / decode / compute / damaged
//!   moves the bytes
//! ```
//!
//! # What an embedder provides
//!
//! * a [`Source`] for each granted byte sequence: name, size, read;
//! * [`Grants`]: what an image may open by name, if anything;
//! * a clock that calls [`Runtime::tick`], so that a plugin cannot hang it;
//! * decoders for [`PieceKind::Encoded`], if its formats compress.
//!
//! # Life of an image
//!
//! [`Plugin::new`] refuses a component that imports more than its world, by name.
//! [`Image::open`] starts an instance with a store of its own. A trap or a missed
//! deadline fails the call and drops the instance; the next call starts another one
//! from the same sources, eight times in a row at most. An answer that breaks the
//! contract fails the image for good ([`Error::Untrusted`]).
//!
//! # Why plans, and not a block device trait?
//!
//! Because a hypervisor has a data path already: io_uring, virtio queues, its own
//! drivers. It needs to know where the bytes are, not another copy of them.
//!
//! # Features
//!
//! `std` uses ordinary locks and lets the engine use guard pages and signals.
//! Without it locks spin and the crate builds for targets such as
//! `x86_64-unknown-none`; components then come compiled ahead of time
//! ([`Plugin::from_precompiled`]), as native code or for the Pulley interpreter.
#![no_std]
#![deny(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod cache;
mod check;
#[allow(missing_docs)]
pub mod contract;
mod disk;
mod error;
mod image;
mod imports;
mod plan;
mod plugin;
mod runtime;
mod source;
mod sync;
mod wasi;
mod write;

pub use check::digest_length;
pub use disk::{CHAIN_LIMIT, Disk, Layer};
pub use error::{Error, FormatError, FormatErrorKind, Result};
pub use image::{Image, NewImage, OnProgress, OpenImage};
pub use plan::{
    Block, BlockDigest, Cipher, Codec, DigestKind, Encryption, Needs, Piece, PieceKind, Pieces,
    SourceKey, Window,
};
pub use plugin::Plugin;
pub use runtime::{Limits, Runtime};
pub use source::{Access, Grants, NoGrants, Source, SourceError, write_zeroes};
pub use write::{EncodedWrite, RangeGuard, Write, WritePiece};
