//! Opens foreign disk images and backups with sandboxed plugins.
//!
//! Each format is a Wasm component that sees only the bytes it was granted. It says
//! where a disk's bytes lie; this library reads them natively.
//!
//! ```no_run
//! use fumehood::{Engine, OpenOptions};
//!
//! # fn main() -> fumehood::Result<()> {
//! let engine = Engine::new()?;
//! let image = engine.open("backup.E01", OpenOptions::default())?;
//! let disk = image.disk(0)?;
//! let mut sector = [0; 512];
//! disk.read_at(&mut sector, 0)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! ```text
//!   Engine ─▶ Image ─▶ Disk ─▶ export::nbd, or your own data path
//!     │         │        │
//!     │         │        └─ mover: reads what the core planned, decodes in parallel
//!     │         └─ policy: what an image may refer to
//!     └─ compile: plugins, ahead of time, into a private cache
//! ```
//!
//! [`fumehood_core`] plans and needs no operating system; this crate adds one. It is
//! re-exported as [`core`].
//!
//! # What is promised
//!
//! * No image is parsed natively. A plugin that loops, crashes, eats memory or lies
//!   fails its own disk with one clear error, and nothing else.
//! * Nothing is opened because an image says so: references resolve beneath the
//!   image's own folder or what [`OpenOptions::allow`] grants, read-only, and never
//!   to a protocol.
//! * A format is chosen once. A raw disk is never recognised by its contents, which
//!   a guest can write; a disk opened for writing keeps its format on record.
//! * A read-only image is open read-only in the kernel.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod chain;
mod commit;
mod compile;
pub mod conformance;
mod container;
pub mod control;
mod copy;
mod create;
mod digest;
mod disk;
mod encode;
mod engine;
mod error;
pub mod export;
mod identity;
mod image;
mod mover;
pub mod overlay;
mod policy;
mod remember;
pub mod source;
mod verify;

pub use compile::precompile;
pub use copy::{CopyOptions, copy, first_difference};
pub use create::{CreateOptions, NewParent};
pub use digest::{digest_name, hex};
pub use disk::Disk;
pub use engine::{Engine, EngineOptions, PluginFile};
pub use error::{Error, Result};
pub use fumehood_core as core;
pub use image::{Image, Key, OpenOptions, Progress};
pub use verify::{DigestComparison, Verification};
