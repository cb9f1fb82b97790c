//! Sparse images: one file of bands in the order in which they were first written.
//!
//! ```text
//!   node ─ numbers of the bands behind it: 1-based places on the disk
//!        ─ band, band, band …
//!   node ─ where the one before is full
//! ```
//!
//! Sources: keramics, "Mac OS sparse image format"; for further nodes, the structures of
//! mac_apt. The latter were not seen in images of Apple's own.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{
    Content, Disk, DiskInfo, Error, Extent, Extents, Finding, Image, ImageInfo, Result,
    SourceHandle, Stored,
};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::{MOST_EXTENTS, SECTOR};

/// Begins every node.
const SIGNATURE: &[u8; 4] = b"sprs";
/// Bytes of a node, in front of its bands.
const NODE: u64 = 4096;
/// Bands that are told of: at eight bytes each, what memory allows. Two tebibytes of
/// the usual mebibyte.
const MOST_BANDS: usize = 1 << 21;
/// The most bands of one node.
const IN_NODE: usize = 1010;

/// The first node, as it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct First {
    signature: [u8; 4],
    version: U32,
    sectors_per_band: U32,
    flags: U32,
    sectors_low: U32,
    next: U64,
    sectors: U64,
    reserved: [u8; 28],
    bands: [U32; 1008],
}

/// A further node, as it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Further {
    signature: [u8; 4],
    number: U32,
    flags: U32,
    next: U64,
    reserved: [u8; 36],
    bands: [U32; IN_NODE],
}

/// Whether the first bytes of a file begin a sparse image.
pub fn is_one(head: &[u8]) -> bool {
    head.starts_with(SIGNATURE)
}

/// Which bands there are, and where.
struct Bands {
    /// Bytes of one.
    size: u64,
    /// Bytes of the disk.
    disk: u64,
    /// Where the nodes are.
    nodes: Vec<u64>,
    /// In order: the place on the disk in the upper half; in the lower, the node times
    /// [`IN_NODE`] and the place behind it.
    placed: Vec<u64>,
}

impl Bands {
    /// Adds the node at `offset` with the numbers of its bands.
    fn add(&mut self, offset: u64, numbers: &[U32]) -> Result<()> {
        let node = self.nodes.len() as u64;
        self.nodes.push(offset);
        for (place, number) in (0u64..).zip(numbers) {
            let Some(band) = u64::from(number.get()).checked_sub(1) else { continue };
            if band.saturating_mul(self.size) >= self.disk {
                let what = format!("band {number} of a disk of {} bytes", self.disk);
                return Err(Error::corrupt(offset, what));
            }
            if self.placed.len() >= MOST_BANDS {
                let what = format!("more than {MOST_BANDS} bands");
                return Err(Error::Unsupported(what));
            }
            self.placed.push(band << 32 | (node * IN_NODE as u64 + place));
        }
        Ok(())
    }

    /// Sorts them, and refuses two of the same place.
    fn sort(&mut self) -> Result<()> {
        self.placed.sort_unstable();
        for (one, next) in self.placed.iter().zip(self.placed.iter().skip(1)) {
            if one >> 32 == next >> 32 {
                return Err(Error::corrupt(64, format!("band {} stands twice", (one >> 32) + 1)));
            }
        }
        Ok(())
    }

    /// Where in the file the band of an entry of `placed` begins.
    fn offset(&self, entry: u64) -> u64 {
        let slot = entry & 0xffff_ffff;
        let node = self.nodes.get((slot / IN_NODE as u64) as usize).copied().unwrap_or(u64::MAX);
        node.saturating_add(NODE).saturating_add((slot % IN_NODE as u64).saturating_mul(self.size))
    }
}

/// An opened sparse image.
pub struct SparseImage {
    source: SourceHandle,
    bands: Rc<Bands>,
}

impl SparseImage {
    /// Opens `source`: reads all of its nodes.
    ///
    /// # Errors
    /// As [`fumehood_plugin::Format::open`].
    pub fn open(source: SourceHandle) -> Result<Self> {
        let first: First = read_struct(&*source, 0, "header")?;
        let (version, band) = (first.version.get(), u64::from(first.sectors_per_band.get()));
        if version != 3 {
            return Err(Error::Unsupported(format!("a sparse image of version {version}")));
        }
        if band == 0 {
            return Err(Error::corrupt(8, "bands of no sectors"));
        }
        // The narrow field is the older one; the wide one is believed if it goes on from it.
        let (narrow, wide) = (first.sectors_low.get(), first.sectors.get());
        let sectors = if wide as u32 == narrow { wide } else { narrow.into() };
        let disk = sectors.checked_mul(SECTOR).filter(|bytes| i64::try_from(*bytes).is_ok());
        let disk = disk.ok_or_else(|| Error::corrupt(28, format!("a disk of {wide} sectors")))?;
        let mut bands = Bands { size: band * SECTOR, disk, nodes: Vec::new(), placed: Vec::new() };
        bands.add(0, &first.bands)?;
        let mut at = 0;
        let mut room = first.bands.len() as u64;
        let mut next = first.next.get();
        while next != 0 {
            // A node follows the bands of the one before, which is full.
            let least = room.saturating_mul(bands.size).saturating_add(at + NODE);
            if next < least || bands.nodes.len() > MOST_BANDS / IN_NODE {
                let what = format!("the node behind the one at {at} is at {next}");
                return Err(Error::corrupt(at, what));
            }
            let node: Further = read_struct(&*source, next, "node")?;
            if &node.signature != SIGNATURE {
                return Err(Error::corrupt(next, "expected a node, found no signature"));
            }
            bands.add(next, &node.bands)?;
            (at, room, next) = (next, node.bands.len() as u64, node.next.get());
        }
        bands.sort()?;
        Ok(Self { source, bands: Rc::new(bands) })
    }
}

impl Image for SparseImage {
    fn info(&self) -> ImageInfo {
        let details = [
            ("variant", "UDSP (sparse image)".to_string()),
            ("band size", self.bands.size.to_string()),
            ("bands", self.bands.placed.len().to_string()),
        ];
        ImageInfo {
            details: details.map(|(name, value)| (name.to_string(), value)).into(),
            ..ImageInfo::default()
        }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        vec![DiskInfo::new(self.bands.disk, granularity(self.bands.size))]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number != 0 {
            return Err(Error::OutOfRange);
        }
        let (source, bands) = (Rc::clone(&self.source), Rc::clone(&self.bands));
        Ok(Box::new(BandMap { source, bands }))
    }
}

/// The largest granularity that a host takes, as a power of two.
const MOST_GRANULARITY: u32 = 28;

/// The largest power of two that bands of `size` bytes are multiples of, within reason.
pub fn granularity(size: u64) -> u32 {
    1 << size.trailing_zeros().clamp(9, MOST_GRANULARITY)
}

/// The answer from the extent that holds `offset` on: a band may be several of them.
pub fn holding(offset: u64, answer: Extents) -> Vec<Extent> {
    let mut list = answer.finish();
    list.retain(|extent| extent.end() > offset);
    list
}

/// An opened disk.
struct BandMap {
    source: SourceHandle,
    bands: Rc<Bands>,
}

impl BandMap {
    /// Appends a band; what the file lacks of it is damaged.
    fn push(&self, answer: &mut Extents, start: u64, entry: u64) {
        let bands = &*self.bands;
        let length = bands.size.min(bands.disk - start);
        let (offset, end) = (bands.offset(entry), self.source.size());
        let held = end.saturating_sub(offset).min(length) / SECTOR * SECTOR;
        let stored = Stored { source: 0, offset, writable: false };
        answer.push(start, held, Content::Stored(stored));
        let what = format!("the band at {offset} passes the end of the file at {end}");
        answer.push(start + held, length - held, Content::Damaged(what));
    }
}

impl Disk for BandMap {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let bands = Rc::clone(&self.bands);
        if offset >= bands.disk {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(bands.disk);
        let mut at = offset / bands.size * bands.size;
        let first = bands.placed.partition_point(|entry| entry >> 32 < at / bands.size);
        let mut answer = Extents::new();
        for entry in bands.placed.get(first..).unwrap_or_default() {
            let start = (entry >> 32) * bands.size;
            if at >= end || answer.len() >= MOST_EXTENTS {
                break;
            }
            answer.push(at, start - at, Content::Zero);
            self.push(&mut answer, start, *entry);
            at = start.saturating_add(bands.size).min(bands.disk);
        }
        if at < end && answer.len() < MOST_EXTENTS {
            answer.push(at, bands.disk - at, Content::Zero);
        }
        Ok(holding(offset, answer))
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let (end, bands) = (self.source.size(), &*self.bands);
        for entry in &bands.placed {
            let (start, offset) = ((entry >> 32) * bands.size, bands.offset(*entry));
            let needed = bands.size.min(bands.disk - start);
            if offset.saturating_add(needed) > end && findings.len() < 4096 {
                let what = format!("the band at {offset} passes the end of the file at {end}");
                findings.push(Finding { offset: start, what, repaired: false });
            }
        }
        Ok(findings)
    }
}
