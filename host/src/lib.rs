#![deny(unsafe_code)]
mod compile;
mod disk;
mod engine;
mod error;
pub mod export;
mod image;
mod mover;
mod policy;
mod remember;
pub mod source;
mod verify;
pub use compile::precompile;
pub use disk::Disk;
pub use engine::{Engine, EngineOptions, PluginFile};
pub use error::{Error, Result};
pub use fumehood_core as core;
pub use image::{Image, OpenOptions};
pub use verify::{DigestComparison, Verification};
