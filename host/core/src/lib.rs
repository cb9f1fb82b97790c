#![no_std]
#![deny(unsafe_code)]
extern crate alloc;
mod cache;
mod check;
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
mod write;
pub use check::digest_length;
pub use disk::*;
pub use error::*;
pub use image::*;
pub use plan::*;
pub use plugin::*;
pub use runtime::*;
pub use source::*;
pub use write::WritePiece;
