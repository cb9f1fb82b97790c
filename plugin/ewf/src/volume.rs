//! The media's measures, from `volume`, `disk` and `data` sections. Once read
//! they are known to be sane: sizes multiply without overflow.
//!
//! Source: libewf, "Expert Witness Compression Format", Volume section.

use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::sealed::read_sealed;
use crate::section::Section;

const SECTOR_SIZES: [u32; 4] = [512, 1024, 2048, 4096];
const MOST_SECTORS_PER_CHUNK: u32 = 32768;
const LOGICAL_FILES: u8 = 0x0e;
const PHYSICAL: u8 = 2;

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

/// How large the media is and how it is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measures {
    /// Chunks in all segments.
    pub chunks: u32,
    /// Sectors a chunk.
    pub sectors_per_chunk: u32,
    /// Bytes a sector.
    pub bytes_per_sector: u32,
    /// Sectors of the media.
    pub sectors: u64,
}

/// A checked description of the media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// The measures as stated.
    pub measures: Measures,
    /// Size of the media in bytes.
    pub size: u64,
    /// Bytes a chunk: at most 128 MiB.
    pub chunk: u32,
    /// What else its writer recorded.
    pub origin: Origin,
}

/// Which of the two structures described the media, and what only that one holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The original format; chunk data stands inside table sections.
    Original {
        /// Written by SMART or in its manner.
        smart: bool,
    },
    /// EnCase and whatever follows it.
    Extended(Acquisition),
}

/// How the media was acquired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquisition {
    media_type: u8,
    media_flags: u8,
    compression_level: u8,
    /// Sectors that one read error spoils.
    pub error_granularity: u32,
    /// Identifier of the set, if recorded.
    pub set: Option<[u8; 16]>,
}

impl Media {
    /// Reads the `volume` or `disk` section.
    ///
    /// # Errors
    /// [`Error::Corrupt`] by the measure that cannot be, [`Error::Unsupported`] for
    /// logical evidence.
    pub fn read(source: &dyn Source, section: &Section) -> Result<Self> {
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
        let corrupt = |what| Error::corrupt_in(source.id(), offset, what);
        let (size, chunk) = measures.check().map_err(corrupt)?;
        Ok(Self { measures, size, chunk, origin })
    }

    /// Identifier of the set, if recorded.
    pub fn set(&self) -> Option<[u8; 16]> {
        match &self.origin {
            Origin::Original { .. } => None,
            Origin::Extended(acquisition) => acquisition.set,
        }
    }

    /// Whether chunks are zlib streams whatever their table entry says, and table
    /// entries have no checksum.
    pub fn is_original(&self) -> bool {
        matches!(self.origin, Origin::Original { .. })
    }

    /// Bytes of the media that chunk `number`, which it has, holds.
    pub fn length_of(&self, number: u64) -> u32 {
        let start = number.saturating_mul(u64::from(self.chunk));
        let rest = self.size.saturating_sub(start);
        u32::try_from(rest).map_or(self.chunk, |rest| rest.min(self.chunk))
    }

    /// Compares with what a `data` section repeats.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it belongs to another set, or what the source
    /// answers. `Ok` holds the disagreement, if there is a lesser one.
    pub fn compare(&self, source: &dyn Source, section: &Section) -> Result<Option<String>> {
        let offset = section.payload();
        let copy = match read_data(source, section) {
            Ok(copy) => copy,
            Err(Error::Corrupt { what, .. }) => return Ok(Some(what)),
            Err(error) => return Err(error),
        };
        if let (Some(own), Some(other)) = (self.set(), copy.acquisition().set)
            && own != other
        {
            let what = format!("belongs to set {}, expected {}", hex(&other), hex(&own));
            return Err(Error::corrupt_in(source.id(), offset, what));
        }
        let (own, other) = (self.measures, copy.measures());
        Ok((own != other)
            .then(|| format!("data section says {other:?} and the volume section {own:?}")))
    }
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
            chunks: self.chunks.get(),
            sectors_per_chunk: self.sectors_per_chunk.get(),
            bytes_per_sector: self.bytes_per_sector.get(),
            sectors: u64::from(self.sectors.get()),
        }
    }
}

impl ExtendedVolume {
    fn measures(&self) -> Measures {
        Measures {
            chunks: self.chunks.get(),
            sectors_per_chunk: self.sectors_per_chunk.get(),
            bytes_per_sector: self.bytes_per_sector.get(),
            sectors: self.sectors.get(),
        }
    }

    fn acquisition(&self) -> Acquisition {
        Acquisition {
            media_type: self.media_type,
            media_flags: self.media_flags,
            compression_level: self.compression_level,
            error_granularity: self.error_granularity.get(),
            set: (self.set_identifier != [0; 16]).then_some(self.set_identifier),
        }
    }
}

impl Measures {
    /// The media's size and a chunk's, in bytes.
    fn check(&self) -> core::result::Result<(u64, u32), String> {
        let (per_chunk, per_sector) = (self.sectors_per_chunk, self.bytes_per_sector);
        if !SECTOR_SIZES.contains(&per_sector) {
            return Err(format!("{per_sector} bytes a sector, expected one of {SECTOR_SIZES:?}"));
        }
        if per_chunk == 0 || per_chunk > MOST_SECTORS_PER_CHUNK {
            return Err(format!(
                "{per_chunk} sectors a chunk, expected 1 to {MOST_SECTORS_PER_CHUNK}"
            ));
        }
        // Neither product can overflow: at most 2^15 × 2^12, and 2^32 × 2^15.
        let held = u64::from(self.chunks) * u64::from(per_chunk);
        if held < self.sectors {
            let sectors = self.sectors;
            return Err(format!("{sectors} sectors, of which the chunks hold only {held}"));
        }
        Ok((self.sectors * u64::from(per_sector), per_chunk * per_sector))
    }
}

impl Acquisition {
    /// The kind of media, for people.
    pub fn media_type(&self) -> String {
        match self.media_type {
            0 => "removable disk".to_string(),
            1 => "fixed disk".to_string(),
            3 => "optical disc".to_string(),
            0x10 => "memory".to_string(),
            other => format!("unknown ({other:#04x})"),
        }
    }

    /// Whether a whole device was acquired rather than a volume, for people.
    pub fn extent(&self) -> &'static str {
        if self.media_flags & PHYSICAL == 0 { "logical" } else { "physical" }
    }

    /// The write blocker recorded, if any.
    pub fn write_blocker(&self) -> Option<&'static str> {
        match self.media_flags {
            flags if flags & 4 != 0 => Some("Fastbloc"),
            flags if flags & 8 != 0 => Some("Tableau"),
            _ => None,
        }
    }

    /// The compression asked for, for people.
    pub fn compression(&self) -> String {
        match self.compression_level {
            0 => "none".to_string(),
            1 => "good".to_string(),
            2 => "best".to_string(),
            other => format!("unknown ({other})"),
        }
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures(chunks: u32, per_chunk: u32, per_sector: u32, sectors: u64) -> Measures {
        Measures { chunks, sectors_per_chunk: per_chunk, bytes_per_sector: per_sector, sectors }
    }

    #[test]
    fn only_sane_measures_pass() {
        assert_eq!(measures(2, 64, 512, 65).check(), Ok((65 * 512, 32768)));
        assert_eq!(
            measures(u32::MAX, 32768, 4096, u64::from(u32::MAX) << 15).check(),
            Ok((u64::from(u32::MAX) << 27, 128 << 20))
        );
        for bad in [
            measures(1, 64, 512, 65),
            measures(1, 0, 512, 0),
            measures(1, 32769, 512, 1),
            measures(1, 64, 0, 1),
            measures(1, 64, 513, 1),
            measures(u32::MAX, 64, 512, u64::MAX),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!(size_of::<OriginalVolume>(), 94);
        assert_eq!(size_of::<ExtendedVolume>(), 1052);
    }
}
