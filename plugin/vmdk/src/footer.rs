//! The end of a stream-optimized extent (Virtual Disk Format, "Stream-Optimized
//! Compressed Sparse Extents"): marker, second header, end of stream. What the header
//! says is [`crate::hosted`]'s; markers before grains are [`crate::stream`]'s.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::{parse_struct, read_bytes};
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::hosted::{AT_END, Header};
use crate::line::SECTOR;

/// So many sectors at the end are searched: streams are padded by tapes and stores.
const SEARCH: u64 = 128;
/// The kind of marker that stands for the end of the stream.
const END: u32 = 0;
/// The kind of marker before the footer.
const FOOTER: u32 = 3;

/// A marker before metadata, the beginning of a sector.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Marker {
    sectors: U64,
    /// 0: before a grain, its stored length stands here.
    length: U32,
    kind: U32,
}

impl Marker {
    fn is(&self, kind: u32, sectors: u64) -> bool {
        self.length.get() == 0 && self.kind.get() == kind && self.sectors.get() == sectors
    }
}

/// The footer nearest to the end of `source`, and its offset.
///
/// # Errors
/// [`Error::Corrupt`] where there is none, as in a stream that was cut off.
pub fn find(source: &dyn Source) -> Result<(u64, Header)> {
    let sectors = source.size() / SECTOR;
    let first = sectors.saturating_sub(SEARCH);
    let count = sectors - first;
    let tail = read_bytes(source, first * SECTOR, count * SECTOR, "end of the stream")?;
    let tail: Vec<&[u8]> = tail.chunks_exact(SECTOR as usize).collect();
    for (number, part) in tail.windows(3).enumerate().rev() {
        let [before, footer, behind] = part else { continue };
        let offset = (first + number as u64 + 1) * SECTOR;
        let parse = |bytes| parse_struct::<Marker>(bytes, source.id(), offset, "marker");
        if !footer.starts_with(b"KDMV") || !parse(before)?.is(FOOTER, 1) {
            continue;
        }
        let header: Header = parse_struct(footer, source.id(), offset, "footer")?;
        if parse(behind)?.is(END, 0) && header.directory.get() != AT_END {
            return Ok((offset, header));
        }
    }
    let what = format!(
        "expected the footer of a stream in the last {} bytes; it was cut off or never finished",
        count * SECTOR
    );
    Err(Error::corrupt_in(source.id(), first * SECTOR, what))
}
