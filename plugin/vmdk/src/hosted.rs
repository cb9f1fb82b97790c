//! Hosted sparse extents (Virtual Disk Format, "Hosted Sparse Extents" and
//! "Stream-Optimized Compressed Sparse Extents"): the header. A stream's second header,
//! at its end, is found by [`crate::footer`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, Source, SourceHandle};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::footer;
use crate::line::SECTOR;
use crate::place::Rules;
use crate::sparse::{Sizes, Sparse, bytes, holds};

/// Flag: the newline bytes are there to be checked.
const CHECK_NEWLINES: u32 = 1;
/// Flag: there is a redundant directory.
const REDUNDANT: u32 = 2;
/// Flag: an entry of 1 stands for zeroes.
const ZERO_GRAINS: u32 = 4;
/// Flag: grains are compressed.
const COMPRESSED: u32 = 0x1_0000;
/// Flag: markers stand before grains and metadata.
const MARKERS: u32 = 0x2_0000;
/// Flags in the upper half change what a reader must do.
const KNOWN: u32 = 0xffff | COMPRESSED | MARKERS;

/// Bytes that a transfer as text would change.
const NEWLINES: [u8; 4] = *b"\n \r\n";
/// Compression by deflate, with zlib's header.
const DEFLATE: u16 = 1;
/// The most entries a table.
const ENTRIES_LIMIT: u32 = 512;
/// The largest compressed grain in sectors, 8 MiB: what the plugin and its host decode
/// in one piece.
const PACKED_GRAIN_LIMIT: u64 = 1 << 14;
/// Directory of a stream: see the footer.
pub const AT_END: u64 = u64::MAX;

/// The header, as it lies on disk. Sizes and offsets are in sectors.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Debug, Clone, Copy)]
#[repr(C)]
pub struct Header {
    /// `KDMV`.
    pub magic: [u8; 4],
    version: U32,
    flags: U32,
    capacity: U64,
    grain: U64,
    descriptor: U64,
    descriptor_length: U64,
    entries: U32,
    redundant: U64,
    /// The directory, or [`AT_END`].
    pub directory: U64,
    overhead: U64,
    unclean: u8,
    newlines: [u8; 4],
    compression: U16,
    padding: [u8; 433],
}

/// Opens the extent in a source that begins with the magic.
///
/// # Errors
/// As [`Sparse::open`].
pub fn open(source: SourceHandle) -> Result<Sparse> {
    let first: Header = read_struct(&*source, 0, "header")?;
    let descriptor = descriptor(&first, &*source)?;
    let (at, header) = match first.directory.get() {
        AT_END => footer::find(&*source)?,
        _ => (0, first),
    };
    let packed = check_features(&header, &*source, at)?;
    let sizes = Sizes {
        capacity: header.capacity.get(),
        capacity_at: at + 12,
        grain: header.grain.get(),
        grain_at: at + 20,
        entries: header.entries.get().into(),
    };
    let (capacity, grain, tables) = sizes.check(&*source)?;
    if packed && header.grain.get() > PACKED_GRAIN_LIMIT {
        let what = format!("compressed grains of {grain} bytes");
        return Err(Error::Unsupported(what));
    }
    let (directories, mut warnings) = directories(&header, &*source, at, tables)?;
    let data = data_start(&header, &*source, at, packed)?;
    if first.unclean != 0 || header.unclean != 0 {
        let name = source.name();
        warnings.push(format!("{name} was not closed properly: its tables may be stale"));
    }
    Ok(Sparse {
        id: source.id(),
        size: source.size(),
        capacity,
        grain,
        entries: sizes.entries,
        directories,
        rules: Rules::Sectors { zeroes: header.flags.get() & ZERO_GRAINS != 0, data },
        packed,
        descriptor,
        title: title(&header, packed),
        warnings,
        source,
    })
}

fn title(header: &Header, packed: bool) -> String {
    let kind = if packed { "stream-optimized" } else { "hosted sparse" };
    format!("{kind}, version {}", header.version.get())
}

/// Whether grains are compressed, when all that the header asks for is known.
fn check_features(header: &Header, source: &dyn Source, at: u64) -> Result<bool> {
    let corrupt = |offset, what: String| Err(Error::corrupt_in(source.id(), at + offset, what));
    let (version, flags) = (header.version.get(), header.flags.get());
    if !(1..=3).contains(&version) {
        return Err(Error::Unsupported(format!("a sparse extent of version {version}")));
    }
    if flags & !KNOWN != 0 {
        return Err(Error::Unsupported(format!("a sparse extent with flags {flags:#x}")));
    }
    if flags & CHECK_NEWLINES != 0 && header.newlines != NEWLINES {
        let found = header.newlines;
        let what = format!("newlines {found:02x?} were changed by a transfer as text");
        return corrupt(73, what);
    }
    if !(1..=ENTRIES_LIMIT).contains(&header.entries.get()) {
        let found = header.entries.get();
        return corrupt(
            44,
            format!("expected 1 to {ENTRIES_LIMIT} entries a table, found {found}"),
        );
    }
    match (header.compression.get(), flags & COMPRESSED != 0, flags & MARKERS != 0) {
        (0, false, _) => Ok(false),
        (0, true, _) => corrupt(77, "compressed grains without a compression".to_string()),
        (DEFLATE, _, true) => Ok(true),
        (DEFLATE, _, false) => {
            Err(Error::Unsupported("compressed grains without markers".to_string()))
        }
        (other, ..) => Err(Error::Unsupported(format!("compression {other}"))),
    }
}

/// The directories that lie inside the source, and what is to say of one that does not.
fn directories(
    header: &Header,
    source: &dyn Source,
    at: u64,
    tables: u64,
) -> Result<(Vec<u64>, Vec<String>)> {
    let length = tables * 4;
    let usable = |sectors: u64| {
        bytes(sectors).filter(|offset| *offset >= SECTOR && holds(source, *offset, length))
    };
    let redundant = Some(header.redundant.get());
    let redundant = redundant.filter(|_| header.flags.get() & REDUNDANT != 0).and_then(usable);
    let first = usable(header.directory.get());
    let mut warnings = Vec::new();
    if first.is_none() {
        let place = header.directory.get();
        let what = format!(
            "a grain directory of {length} bytes at sector {place} of a file of {} bytes",
            source.size()
        );
        if redundant.is_none() {
            return Err(Error::corrupt_in(source.id(), at + 56, what));
        }
        warnings.push(format!("{}: {what}; the redundant one is used", source.name()));
    }
    Ok((first.into_iter().chain(redundant).collect(), warnings))
}

/// The first byte at which a grain may lie.
fn data_start(header: &Header, source: &dyn Source, at: u64, packed: bool) -> Result<u64> {
    // In a stream metadata and grains lie mixed, and markers tell which is which.
    if packed {
        return Ok(SECTOR);
    }
    let overhead = bytes(header.overhead.get()).filter(|end| *end <= source.size());
    let what = || {
        let (found, size) = (header.overhead.get(), source.size());
        format!("expected metadata inside of {size} bytes, found {found} sectors of it")
    };
    overhead
        .map(|end| end.max(SECTOR))
        .ok_or_else(|| Error::corrupt_in(source.id(), at + 64, what()))
}

/// Where a descriptor lies inside, if there is one.
fn descriptor(header: &Header, source: &dyn Source) -> Result<Option<(u64, u64)>> {
    let (place, length) = (header.descriptor.get(), header.descriptor_length.get());
    if place == 0 || length == 0 {
        return Ok(None);
    }
    let range = bytes(place).zip(bytes(length));
    let range = range.filter(|(offset, length)| holds(source, *offset, *length));
    let what = || {
        let size = source.size();
        format!("a descriptor of {length} sectors at sector {place} of a file of {size} bytes")
    };
    range.map(Some).ok_or_else(|| Error::corrupt_in(source.id(), 28, what()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_its_size() {
        assert_eq!(size_of::<Header>() as u64, SECTOR);
    }
}
