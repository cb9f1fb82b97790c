//! Compressed grains (Virtual Disk Format, "Stream-Optimized Compressed Sparse
//! Extents"): the marker before each of them, which must name the grain's own place.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::{parse_struct, read_bytes};
use fumehood_plugin::{Codec, Content, Encoded, Result};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::inflate::inflated_length;
use crate::line::SECTOR;
use crate::sparse::Sparse;

/// Before a grain: its first sector on the disk, and the bytes of its zlib stream,
/// which follow.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Marker {
    sector: U64,
    length: U32,
}

/// Bytes of a marker.
pub const MARKER: u64 = size_of::<Marker>() as u64;
/// Markers so close are read in one go, with the grain between.
const GAP: u64 = 4 << 10;
/// The most bytes read in one go.
const SPAN: u64 = 64 << 10;
/// What a zlib stream may need beyond its grain.
const SLACK: u64 = 64 << 10;

/// Reads grains of one extent, in an order in which most markers follow each other.
#[derive(Debug, Default)]
pub struct Stream {
    /// The part that the bytes are of.
    part: usize,
    start: u64,
    bytes: Vec<u8>,
    /// Decoded length of a part's last grain, which may be cut.
    last: Option<(usize, u32)>,
}

impl Stream {
    /// What `grain` of `sparse`, the part `part`, holds. Its marker is at the first of
    /// `places`; the others are those of grains to be asked for next.
    ///
    /// # Errors
    /// What the source answers.
    pub fn content(
        &mut self,
        part: usize,
        sparse: &Sparse,
        grain: u64,
        places: impl Iterator<Item = u64>,
    ) -> Result<Content> {
        let Some((place, bytes)) = self.marker(part, sparse, places)? else {
            return Ok(Content::Damaged("a grain without a place".into()));
        };
        let marker: Marker = parse_struct(&bytes, sparse.id, place, "grain marker")?;
        let (sector, length) = (marker.sector.get(), u64::from(marker.length.get()));
        let expected = grain * (sparse.grain / SECTOR);
        if sector != expected {
            let what = format!("the marker at byte {place} names sector {sector}, not {expected}");
            return Ok(Content::Damaged(what));
        }
        let room = sparse.size.saturating_sub(place + MARKER);
        if length == 0 || length > room || length > sparse.grain + SLACK {
            let what = format!(
                "the marker at byte {place} says {length} bytes of a grain of {}, with {room} left",
                sparse.grain
            );
            return Ok(Content::Damaged(what));
        }
        let offset = place + MARKER;
        let decoded = self.decoded_length(part, sparse, grain, (offset, length));
        // At most a grain and SLACK, both far below 2^32.
        let stored = length as u32;
        let encoded = Encoded::new(sparse.id, offset, stored, Codec::Zlib, decoded);
        Ok(Content::Encoded(encoded))
    }

    /// Where the first marker is, and its bytes.
    fn marker(
        &mut self,
        part: usize,
        sparse: &Sparse,
        mut places: impl Iterator<Item = u64>,
    ) -> Result<Option<(u64, Vec<u8>)>> {
        let Some(place) = places.next() else { return Ok(None) };
        if let Some(bytes) = self.kept(part, place) {
            return Ok(Some((place, bytes)));
        }
        let mut end = place + MARKER;
        for next in places {
            if next < end || next - end > GAP || next - place > SPAN {
                break;
            }
            end = next + MARKER;
        }
        self.bytes = read_bytes(&*sparse.source, place, end - place, "grain marker")?;
        (self.part, self.start) = (part, place);
        Ok(self.kept(part, place).map(|bytes| (place, bytes)))
    }

    fn kept(&self, part: usize, place: u64) -> Option<Vec<u8>> {
        let skip = place.checked_sub(self.start).filter(|_| self.part == part)?;
        let skip = usize::try_from(skip).ok()?;
        self.bytes.get(skip..skip.checked_add(MARKER as usize)?).map(<[u8]>::to_vec)
    }

    /// How many bytes a grain decodes to. Of a disk's last grain, if the disk ends
    /// inside of it, some writers store all and some what the disk has.
    fn decoded_length(
        &mut self,
        part: usize,
        sparse: &Sparse,
        grain: u64,
        (offset, length): (u64, u64),
    ) -> u32 {
        // Compressed grains are at most 8 MiB.
        let (whole, cut) = (sparse.grain as u32, sparse.length_of(grain) as u32);
        if cut == whole {
            return whole;
        }
        if let Some((known, length)) = self.last
            && known == part
        {
            return length;
        }
        let found = inflated_length(&*sparse.source, offset, length, sparse.grain);
        // Where that fails, the host's decoder will say why.
        let decoded = found.ok().filter(|found| (cut..=whole).contains(found)).unwrap_or(cut);
        self.last = Some((part, decoded));
        decoded
    }
}
