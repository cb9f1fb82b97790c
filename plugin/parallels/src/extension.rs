//! The format extension of an image: which features it names, and whether it is whole.
//! None of them changes what is read.
//!
//! Source: QEMU, "Parallels Expandable Image File Format", section "Format Extension".

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::read::{READ_LIMIT, parse_struct, read_bytes};
use fumehood_plugin::{Error, Result, Source};
use md5::{Digest, Md5};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::header::Header;

const MAGIC: u64 = 0xab23_4cef_23dc_ea87;
const DIRTY_BITMAP: u64 = 0x2038_5fae_252c_b34a;
/// As much is looked through for features,
const WINDOW: u64 = 64 << 10;
/// and as many are named.
const FEATURE_LIMIT: usize = 64;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawExtension {
    magic: U64,
    checksum: [u8; 16],
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawFeature {
    magic: U64,
    flags: U64,
    size: U32,
    unused: U32,
}

fn read_header(source: &dyn Source, at: u64) -> Result<RawExtension> {
    let bytes = read_bytes(source, at, size_of::<RawExtension>() as u64, "format extension")?;
    let raw: RawExtension = parse_struct(&bytes, source.id(), at, "format extension")?;
    if raw.magic.get() != MAGIC {
        let what = format!("a format extension with the magic {:#x}", raw.magic.get());
        return Err(Error::corrupt_in(source.id(), at, what));
    }
    Ok(raw)
}

/// The names of its features, in order; empty where there is no extension.
///
/// # Errors
/// [`Error::Corrupt`] where it is not what it should be, or what the source answers.
pub fn features(source: &dyn Source, header: &Header) -> Result<Vec<String>> {
    let Some(at) = header.extension else { return Ok(Vec::new()) };
    read_header(source, at)?;
    let length = WINDOW.min(header.cluster).min(source.size().saturating_sub(at));
    let bytes = read_bytes(source, at, length, "format extension")?;
    let mut names = Vec::new();
    let mut offset = size_of::<RawExtension>();
    while let Some(rest) = bytes.get(offset..)
        && names.len() < FEATURE_LIMIT
        && let Ok((feature, _)) = RawFeature::read_from_prefix(rest)
        && feature.magic.get() != 0
    {
        let necessary = if feature.flags.get() & 1 != 0 { ", necessary" } else { "" };
        names.push(match feature.magic.get() {
            DIRTY_BITMAP => "dirty bitmap".to_string(),
            unknown => format!("unknown ({unknown:#x}{necessary})"),
        });
        let size = (feature.size.get() as usize).saturating_add(7) & !7;
        offset = offset.saturating_add(size_of::<RawFeature>()).saturating_add(size);
    }
    Ok(names)
}

/// Compares the checksum of the extension with its bytes.
///
/// # Errors
/// As [`features`]; [`Error::Corrupt`] where they differ.
pub fn verify(source: &dyn Source, header: &Header) -> Result<()> {
    let Some(at) = header.extension else { return Ok(()) };
    let raw = read_header(source, at)?;
    let mut digest = Md5::new();
    let mut done = size_of::<RawExtension>() as u64;
    while done < header.cluster {
        let step = (header.cluster - done).min(READ_LIMIT);
        digest.update(read_bytes(source, at.saturating_add(done), step, "format extension")?);
        done += step;
    }
    if digest.finalize()[..] != raw.checksum {
        let what = "the format extension does not match its checksum";
        return Err(Error::corrupt_in(source.id(), at, what));
    }
    Ok(())
}
