//! The media's measures in version 1, from `volume`, `disk` and `data` sections.
//! Whether they are sane is [`crate::media`]'s.
//!
//! Source: libewf, "Expert Witness Compression Format", Volume section.

use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::media::{Acquisition, Measures, Media, Method, Origin, require_set};
use crate::sealed::read_sealed;
use crate::section::Section;

const LOGICAL_FILES: u8 = 0x0e;
/// Media flags.
const PHYSICAL: u8 = 2;
const FASTBLOC: u8 = 4;
const TABLEAU: u8 = 8;

/// The measures as the original format and SMART write them.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct OriginalVolume {
    reserved: U32,
    chunks: U32,
    sectors_per_chunk: U32,
    bytes_per_sector: U32,
    sectors: U32,
    reserved2: [u8; 65],
    signature: [u8; 5],
    checksum: U32,
}

/// The measures as EnCase writes them.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ExtendedVolume {
    media_type: u8,
    reserved: [u8; 3],
    chunks: U32,
    sectors_per_chunk: U32,
    bytes_per_sector: U32,
    sectors: U64,
    cylinders: U32,
    heads: U32,
    sectors_per_track: U32,
    media_flags: u8,
    reserved2: [u8; 3],
    palm_volume_start: U32,
    reserved3: U32,
    smart_log_start: U32,
    compression_level: u8,
    reserved4: [u8; 3],
    error_granularity: U32,
    reserved5: U32,
    set_identifier: [u8; 16],
    reserved6: [u8; 963],
    signature: [u8; 5],
    checksum: U32,
}

/// Reads the `volume` or `disk` section.
///
/// # Errors
/// [`Error::Corrupt`] by the measure that cannot be, [`Error::Unsupported`] for
/// logical evidence and for chunks too large.
pub fn read(source: &dyn Source, section: &Section) -> Result<Media> {
    let (offset, length) = (section.payload(), section.payload_length());
    let (measures, origin) = if length == size_of::<OriginalVolume>() as u64 {
        let volume: OriginalVolume = read_sealed(source, offset, "volume section")?;
        (volume.measures(), Origin::Original { smart: &volume.signature == b"SMART" })
    } else {
        let volume: ExtendedVolume = read_sealed(source, offset, "volume section")?;
        if volume.media_type == LOGICAL_FILES {
            return Err(Error::Unsupported("logical evidence holds files, not a disk".into()));
        }
        (volume.measures(), Origin::Extended(volume.acquisition()))
    };
    Media::new(measures, Method::Zlib, origin, (source, offset))
}

/// Compares `media` with what a `data` section repeats.
///
/// # Errors
/// [`Error::Corrupt`] where it belongs to another set, or what the source
/// answers. `Ok` holds the disagreement, if there is a lesser one.
pub fn compare(media: &Media, source: &dyn Source, section: &Section) -> Result<Option<String>> {
    let copy = match read_data(source, section) {
        Ok(copy) => copy,
        Err(Error::Corrupt { what, .. }) => return Ok(Some(what)),
        Err(error) => return Err(error),
    };
    require_set(media.set(), copy.set(), source, section.payload())?;
    let (own, other) = (media.measures, copy.measures());
    Ok((own != other)
        .then(|| format!("data section says {other:?} and the volume section {own:?}")))
}

/// A `data` section's structure. Logicube writes its checksum as 0.
fn read_data(source: &dyn Source, section: &Section) -> Result<ExtendedVolume> {
    let (offset, length) = (section.payload(), section.payload_length());
    if length < size_of::<ExtendedVolume>() as u64 {
        let what = format!("data section of {length} bytes is too short");
        return Err(Error::corrupt_in(source.id(), offset, what));
    }
    let copy: ExtendedVolume = read_struct(source, offset, "data section")?;
    if copy.checksum.get() == 0 { Ok(copy) } else { read_sealed(source, offset, "data section") }
}

impl OriginalVolume {
    fn measures(&self) -> Measures {
        Measures {
            chunks: u64::from(self.chunks.get()),
            sectors_per_chunk: self.sectors_per_chunk.get(),
            bytes_per_sector: self.bytes_per_sector.get(),
            sectors: u64::from(self.sectors.get()),
        }
    }
}

impl ExtendedVolume {
    fn measures(&self) -> Measures {
        Measures {
            chunks: u64::from(self.chunks.get()),
            sectors_per_chunk: self.sectors_per_chunk.get(),
            bytes_per_sector: self.bytes_per_sector.get(),
            sectors: self.sectors.get(),
        }
    }

    fn set(&self) -> Option<[u8; 16]> {
        (self.set_identifier != [0; 16]).then_some(self.set_identifier)
    }

    fn acquisition(&self) -> Acquisition {
        Acquisition {
            media_type: media_type(self.media_type),
            physical: self.media_flags & PHYSICAL != 0,
            write_blocker: match self.media_flags {
                flags if flags & FASTBLOC != 0 => Some("Fastbloc"),
                flags if flags & TABLEAU != 0 => Some("Tableau"),
                _ => None,
            },
            compression: compression(self.compression_level),
            error_granularity: self.error_granularity.get(),
            set: self.set(),
            hidden_sectors: [0; 2],
        }
    }
}

fn media_type(code: u8) -> String {
    match code {
        0 => "removable disk".to_string(),
        1 => "fixed disk".to_string(),
        3 => "optical disc".to_string(),
        0x10 => "memory".to_string(),
        other => format!("unknown ({other:#04x})"),
    }
}

fn compression(level: u8) -> String {
    match level {
        0 => "none".to_string(),
        1 => "good".to_string(),
        2 => "best".to_string(),
        other => format!("unknown ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!(size_of::<OriginalVolume>(), 94);
        assert_eq!(size_of::<ExtendedVolume>(), 1052);
    }
}
