//! What the media measures and how it was acquired, whichever version of the format
//! says so. Once made, a [`Media`] is known to be sane: its sizes multiply without
//! overflow. Reading it is [`crate::volume`]'s and [`crate::ewf2`]'s.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::{Error, Result, Source};

const SECTOR_SIZES: [u32; 4] = [512, 1024, 2048, 4096];
/// The most bytes, stored or decoded, that a host takes as one block.
pub const MOST_BLOCK: u32 = 64 << 20;
const MOST_SECTORS_PER_CHUNK: u32 = 32768;

/// How large the media is and how it is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measures {
    /// Chunks in all segments.
    pub chunks: u64,
    /// Sectors a chunk.
    pub sectors_per_chunk: u32,
    /// Bytes a sector.
    pub bytes_per_sector: u32,
    /// Sectors of the media.
    pub sectors: u64,
}

/// How a set compresses its texts, and those chunks that say they are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    None,
    /// Streams of zlib.
    Zlib,
    /// Streams of bzip2.
    Bzip2,
}

/// A checked description of the media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// The measures as stated.
    pub measures: Measures,
    /// Size of the media in bytes.
    pub size: u64,
    /// Bytes a chunk: at most [`MOST_BLOCK`].
    pub chunk: u32,
    /// How chunks are compressed.
    pub method: Method,
    /// What else its writer recorded.
    pub origin: Origin,
}

/// Which structure described the media, and what only that one holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The original format; chunk data stands inside table sections.
    Original {
        /// Written by SMART or in its manner.
        smart: bool,
    },
    /// EnCase up to version 6 and whatever follows it.
    Extended(Acquisition),
    /// Version 2 of the format.
    Second(Acquisition),
}

/// How the media was acquired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquisition {
    /// The kind of media, for people.
    pub media_type: String,
    /// A whole device was acquired rather than a volume.
    pub physical: bool,
    /// The write blocker recorded, if any.
    pub write_blocker: Option<&'static str>,
    /// The compression asked for, for people.
    pub compression: String,
    /// Sectors that one read error spoils; 0 where that is not recorded.
    pub error_granularity: u32,
    /// Identifier of the set, if recorded.
    pub set: Option<[u8; 16]>,
    /// Sectors that the device hides in its protected area and by its configuration.
    pub hidden_sectors: [u64; 2],
}

impl Media {
    /// Media of these measures, which stand at `offset` of `source`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the measure that cannot be; [`Error::Unsupported`] for
    /// chunks that are too large for a host.
    pub fn new(
        measures: Measures,
        method: Method,
        origin: Origin,
        (source, offset): (&dyn Source, u64),
    ) -> Result<Self> {
        let (size, chunk) =
            measures.check().map_err(|what| Error::corrupt_in(source.id(), offset, what))?;
        if chunk > MOST_BLOCK {
            let what = format!("chunks of {chunk} bytes; up to {MOST_BLOCK} are read");
            return Err(Error::Unsupported(what));
        }
        Ok(Self { measures, size, chunk, method, origin })
    }

    /// How it was acquired, if recorded.
    pub fn acquisition(&self) -> Option<&Acquisition> {
        match &self.origin {
            Origin::Original { .. } => None,
            Origin::Extended(acquisition) | Origin::Second(acquisition) => Some(acquisition),
        }
    }

    /// Identifier of the set, if recorded.
    pub fn set(&self) -> Option<[u8; 16]> {
        self.acquisition().and_then(|acquisition| acquisition.set)
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
        let sectors = self.sectors;
        let held = self.chunks.saturating_mul(u64::from(per_chunk));
        if held < sectors {
            return Err(format!("{sectors} sectors, of which the chunks hold only {held}"));
        }
        let size = sectors.checked_mul(u64::from(per_sector)).filter(|size| *size >> 63 == 0);
        let Some(size) = size else {
            return Err(format!("{sectors} sectors of {per_sector} bytes, which no disk has"));
        };
        // At most 2^15 × 2^12.
        Ok((size, per_chunk * per_sector))
    }
}

/// Refuses a segment that names another set than its `own`; `offset` is where it does.
///
/// # Errors
/// [`Error::Corrupt`] with both identifiers.
pub fn require_set(
    own: Option<[u8; 16]>,
    found: Option<[u8; 16]>,
    source: &dyn Source,
    offset: u64,
) -> Result<()> {
    match (own, found) {
        (Some(own), Some(other)) if own != other => {
            let what = format!("belongs to set {}, expected {}", hex(&other), hex(&own));
            Err(Error::corrupt_in(source.id(), offset, what))
        }
        _ => Ok(()),
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures(chunks: u64, per_chunk: u32, per_sector: u32, sectors: u64) -> Measures {
        Measures { chunks, sectors_per_chunk: per_chunk, bytes_per_sector: per_sector, sectors }
    }

    #[test]
    fn only_sane_measures_pass() {
        assert_eq!(measures(2, 64, 512, 65).check(), Ok((65 * 512, 32768)));
        let most = u64::from(u32::MAX);
        assert_eq!(measures(most, 32768, 4096, most << 15).check(), Ok((most << 27, 128 << 20)),);
        assert!(measures(u64::MAX, 64, 512, 65).check().is_ok());
        for bad in [
            measures(1, 64, 512, 65),
            measures(1, 0, 512, 0),
            measures(1, 32769, 512, 1),
            measures(1, 64, 0, 1),
            measures(1, 64, 513, 1),
            measures(most, 64, 512, u64::MAX),
            measures(u64::MAX, 64, 512, u64::MAX),
            measures(u64::MAX, 64, 512, 1 << 54),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
