//! Objects of the image as messages show them.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::text::brief;

/// An object's URN, as messages show it.
pub fn shown(urn: &str) -> String {
    format!("<{}>", brief(urn))
}
