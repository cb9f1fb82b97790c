//! The contract's types and calls, generated from `wit/`.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "image-format",
    imports: { default: trappable },
    with: { "fumehood:disk/source.source": crate::imports::Granted },
});

pub use exports::fumehood::disk::format;
pub use fumehood::disk::{log, secret, source, types};

/// The version of the package `fumehood:disk` that this host runs.
pub const VERSION: &str = "0.1.0";

/// What a plugin may import: the interfaces of its world, nothing else.
pub const IMPORTS: [&str; 4] = [
    "fumehood:disk/types@0.1.0",
    "fumehood:disk/source@0.1.0",
    "fumehood:disk/secret@0.1.0",
    "fumehood:disk/log@0.1.0",
];

/// What a format plugin must export.
pub const EXPORT: &str = "fumehood:disk/format@0.1.0";
