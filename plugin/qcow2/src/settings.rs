//! What may be chosen when an image is created, under the names that `qemu-img` has
//! for it.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::{Codec, Error, Result};

use crate::geometry::Geometry;
use crate::header::{REFCOUNT_ORDER_LIMIT, REFCOUNT_ORDER_OF_VERSION_2, Version};

const KNOWN: &str =
    "cluster_size, compat, compression_type, extended_l2, refcount_bits, lazy_refcounts=off";
const DEFAULT_CLUSTER_SIZE: u64 = 65_536;
const DEFAULT_REFCOUNT_ORDER: u32 = 4;

/// How an image is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Cluster size, and whether there are subclusters.
    pub geometry: Geometry,
    /// Version of the format.
    pub version: Version,
    /// How clusters are compressed.
    pub codec: Codec,
    /// Base-2 logarithm of the bits a refcount.
    pub refcount_order: u32,
}

impl Settings {
    /// Reads the settings that were given.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a name or value that is not known, and for
    /// combinations that the format does not have.
    pub fn parse(given: &[(String, String)]) -> Result<Self> {
        let (mut cluster_size, mut extended) = (DEFAULT_CLUSTER_SIZE, false);
        let (mut version, mut codec) = (Version::Three, Codec::Deflate);
        let mut refcount_order = DEFAULT_REFCOUNT_ORDER;
        for (name, value) in given {
            let known = match name.as_str() {
                "cluster_size" => size(value).map(|size| cluster_size = size),
                "extended_l2" => switch(value).map(|on| extended = on),
                "compat" => compat(value).map(|found| version = found),
                "compression_type" => compression(value).map(|found| codec = found),
                "refcount_bits" => refcount_bits(value).map(|order| refcount_order = order),
                "lazy_refcounts" => switch(value).filter(|on| !on).map(drop),
                _ => None,
            };
            if known.is_none() {
                let what = format!("the setting {name}={value}; there are {KNOWN}");
                return Err(Error::Unsupported(what));
            }
        }
        if version == Version::Two
            && (extended || codec == Codec::Zstd || refcount_order != REFCOUNT_ORDER_OF_VERSION_2)
        {
            let what = "compat=0.10 has neither subclusters nor zstd, and refcounts of 16 bits";
            return Err(Error::Unsupported(what.into()));
        }
        let smallest = if extended { 16 << 10 } else { 512 };
        if !cluster_size.is_power_of_two() || !(smallest..=2 << 20).contains(&cluster_size) {
            let what = format!(
                "a cluster_size of {cluster_size}; it is a power of two from {smallest} to 2097152"
            );
            return Err(Error::Unsupported(what));
        }
        let geometry = Geometry::new(cluster_size.trailing_zeros(), extended, 0)?;
        Ok(Self { geometry, version, codec, refcount_order })
    }
}

/// A number of bytes, or of K or M.
fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 10),
        None => text.strip_suffix(['m', 'M']).map_or((text, 0), |digits| (digits, 20)),
    };
    digits.parse::<u32>().ok().map(|number| u64::from(number) << shift)
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn compat(text: &str) -> Option<Version> {
    match text {
        "0.10" | "v2" => Some(Version::Two),
        "1.1" | "v3" => Some(Version::Three),
        _ => None,
    }
}

fn compression(text: &str) -> Option<Codec> {
    match text {
        "zlib" => Some(Codec::Deflate),
        "zstd" => Some(Codec::Zstd),
        _ => None,
    }
}

fn refcount_bits(text: &str) -> Option<u32> {
    let bits: u64 = text.parse().ok().filter(|bits: &u64| bits.is_power_of_two())?;
    Some(bits.trailing_zeros()).filter(|order| *order <= REFCOUNT_ORDER_LIMIT)
}
