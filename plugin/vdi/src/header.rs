//! The header (`VDIPREHEADER`, `VDIHEADER1PLUS`): declared as it is on disk, checked
//! once, and from then on a [`Header`] whose map lies in the file, before the data.
//!
//! What the map's entries say is for [`crate::map`].

use alloc::format;
use alloc::string::String;

use fumehood_plugin::read::{parse_struct, read_struct};
use fumehood_plugin::{Confidence, Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::uuid::Uuid;

const SIGNATURE: u32 = 0xbeda_107f;
/// The major version of all images since the format was published.
const MAJOR_VERSION: u32 = 1;
const SECTOR: u64 = 512;
/// Bytes an entry of the map.
pub const ENTRY_SIZE: u64 = 4;
/// The largest block taken, and the most bytes in front of a block.
const BLOCK_LIMIT: u32 = 256 << 20;

/// Where the counted part of the header begins.
const COUNTED_FROM: u64 = 72;
/// Its least length: up to the parent's UUIDs.
const SHORT_LENGTH: u32 = 384;
/// Its length with the geometry behind them.
const LONG_LENGTH: u32 = 400;

const KIND_AT: u64 = 76;
const MAP_OFFSET_AT: u64 = 340;
const DATA_OFFSET_AT: u64 = 344;
const DISK_SIZE_AT: u64 = 368;
const BLOCK_SIZE_AT: u64 = 376;
const BLOCK_EXTRA_AT: u64 = 380;
const BLOCK_COUNT_AT: u64 = 384;
const GEOMETRY_AT: u64 = 456;

/// Cylinders, heads and sectors (`VDIDISKGEOMETRY`).
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Geometry {
    cylinders: U32,
    heads: U32,
    sectors: U32,
    sector_size: U32,
}

/// The header as it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    creator: [u8; 64],
    signature: U32,
    version: U32,
    length: U32,
    kind: U32,
    flags: U32,
    comment: [u8; 256],
    map_offset: U32,
    data_offset: U32,
    old_geometry: Geometry,
    unused: U32,
    disk_size: U64,
    block_size: U32,
    block_extra: U32,
    block_count: U32,
    blocks_allocated: U32,
    create: Uuid,
    modify: Uuid,
    linkage: Uuid,
    parent_modify: Uuid,
}

/// How a probe sees the beginning of a file.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Start {
    creator: [u8; 64],
    signature: U32,
}

/// Kinds of images (`VDIIMAGETYPE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows as it is written.
    Dynamic,
    /// All of it was allocated at first.
    Fixed,
    /// What is not in it is in a parent.
    Differencing,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dynamic => "dynamic",
            Self::Fixed => "fixed",
            Self::Differencing => "differencing",
        }
    }
}

/// The four UUIDs.
#[derive(Debug, Clone, Copy)]
pub struct Uuids {
    /// Of the image.
    pub create: Uuid,
    /// Of its last change.
    pub modify: Uuid,
    /// Of the parent.
    pub linkage: Uuid,
    /// Of the parent's last change when this image was made.
    pub parent_modify: Uuid,
}

/// A header that passed every check that needs nothing but itself and the file's size.
#[derive(Debug)]
pub struct Header {
    /// What kind of image it is.
    pub kind: Kind,
    /// The flags, of which none matters to a reader.
    pub flags: u32,
    /// The text that the file begins with.
    pub creator: String,
    /// The comment.
    pub comment: String,
    /// The geometry, if one is recorded.
    pub geometry: Option<Geometry>,
    /// Where the map lies.
    pub map_offset: u64,
    /// Entries of the map, at least as many as the disk has blocks.
    pub block_count: u64,
    /// Blocks in the file, by the header's own count.
    pub blocks_allocated: u64,
    /// Where the blocks begin, behind the map.
    pub data_offset: u64,
    /// Size of the disk in bytes, a multiple of 512.
    pub disk_size: u64,
    /// Bytes of the disk a block, a power of two up to 256 MiB.
    pub block_size: u32,
    /// Bytes in front of each block, up to 256 MiB.
    pub block_extra: u32,
    /// The UUIDs.
    pub uuids: Uuids,
}

/// Whether a file that begins with `head` is an image.
pub fn probe(head: &[u8]) -> Confidence {
    match parse_struct::<Start>(head, 0, 0, "header") {
        // Versions that are not read are claimed too: the refusal then says why.
        Ok(start) if start.signature.get() == SIGNATURE => Confidence::Certain,
        _ => Confidence::No,
    }
}

impl Header {
    /// Reads and checks the header of `main`.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] without the signature, [`Error::Unsupported`] for other
    /// versions and for undo images, [`Error::Corrupt`] by the field that contradicts
    /// the format or the file.
    pub fn read(main: &dyn Source) -> Result<Self> {
        if main.size() < size_of::<RawHeader>() as u64 {
            return Err(Error::Unrecognised);
        }
        let raw: RawHeader = read_struct(main, 0, "header")?;
        if raw.signature.get() != SIGNATURE {
            return Err(Error::Unrecognised);
        }
        let version = raw.version.get();
        if version >> 16 != MAJOR_VERSION {
            let what = format!("version {}.{} of VDI", version >> 16, version & 0xffff);
            return Err(Error::Unsupported(what));
        }
        let length = raw.length.get();
        if length < SHORT_LENGTH {
            let what = format!("expected a header of {SHORT_LENGTH} or more bytes, found {length}");
            return Err(Error::corrupt(COUNTED_FROM, what));
        }
        raw.check_blocks()?;
        raw.check_places(main.size())?;
        Ok(Self {
            kind: raw.kind()?,
            flags: raw.flags.get(),
            creator: text(&raw.creator),
            comment: text(&raw.comment),
            geometry: raw.geometry(main)?,
            map_offset: raw.map_offset.get().into(),
            block_count: raw.block_count.get().into(),
            blocks_allocated: raw.blocks_allocated.get().into(),
            data_offset: raw.data_offset.get().into(),
            disk_size: raw.disk_size()?,
            block_size: raw.block_size.get(),
            block_extra: raw.block_extra.get(),
            uuids: Uuids {
                create: raw.create,
                modify: raw.modify,
                linkage: raw.linkage,
                parent_modify: raw.parent_modify,
            },
        })
    }

    /// Where the block that the map gives the number `index` lies in the file.
    pub fn place(&self, index: u32) -> u64 {
        // Below 2^32 + 2^32 · 2^29.
        let extra = u64::from(self.block_extra);
        self.data_offset + u64::from(index) * self.stored_size() + extra
    }

    /// Bytes of a block in the file, with what stands in front of it.
    pub fn stored_size(&self) -> u64 {
        u64::from(self.block_extra) + u64::from(self.block_size)
    }

    /// Blocks that the disk has.
    pub fn disk_blocks(&self) -> u64 {
        self.disk_size.div_ceil(self.block_size.into())
    }
}

impl RawHeader {
    fn kind(&self) -> Result<Kind> {
        match self.kind.get() {
            1 => Ok(Kind::Dynamic),
            2 => Ok(Kind::Fixed),
            3 => Err(Error::Unsupported("undo images (type 3)".into())),
            4 => Ok(Kind::Differencing),
            other => {
                let what = format!("expected an image type from 1 to 4, found {other}");
                Err(Error::corrupt(KIND_AT, what))
            }
        }
    }

    /// Some tools recorded sizes that are not whole sectors; the rest of the last one
    /// is in the image too.
    fn disk_size(&self) -> Result<u64> {
        let size = self.disk_size.get();
        let rounded = size.checked_next_multiple_of(SECTOR);
        rounded.filter(|size| *size <= i64::MAX as u64).ok_or_else(|| {
            Error::corrupt(DISK_SIZE_AT, format!("expected a disk below 2^63 bytes, found {size}"))
        })
    }

    fn check_blocks(&self) -> Result<()> {
        let (size, extra) = (self.block_size.get(), self.block_extra.get());
        if !size.is_power_of_two() || !(SECTOR as u32..=BLOCK_LIMIT).contains(&size) {
            let what = format!(
                "expected a block size of a power of two from {SECTOR} to {BLOCK_LIMIT} bytes, \
                 found {size}"
            );
            return Err(Error::corrupt(BLOCK_SIZE_AT, what));
        }
        if extra > BLOCK_LIMIT {
            let what = format!("expected up to {BLOCK_LIMIT} bytes before a block, found {extra}");
            return Err(Error::corrupt(BLOCK_EXTRA_AT, what));
        }
        let (count, disk_size) = (self.block_count.get(), self.disk_size()?);
        let needed = disk_size.div_ceil(size.into());
        if u64::from(count) < needed {
            let what = format!(
                "expected {needed} or more blocks for a disk of {disk_size} bytes, found {count}"
            );
            return Err(Error::corrupt(BLOCK_COUNT_AT, what));
        }
        Ok(())
    }

    fn check_places(&self, file_size: u64) -> Result<()> {
        let header_end = COUNTED_FROM + u64::from(self.length.get());
        let map = u64::from(self.map_offset.get());
        let length = u64::from(self.block_count.get()) * ENTRY_SIZE;
        if map < header_end || map + length > file_size {
            let what = format!(
                "expected the map between the header's end at {header_end} and the file's at \
                 {file_size}, found {length} bytes at {map}"
            );
            return Err(Error::corrupt(MAP_OFFSET_AT, what));
        }
        let (data, map_end) = (u64::from(self.data_offset.get()), map + length);
        if data < map_end {
            let what =
                format!("expected data behind the map's end at {map_end}, found it at {data}");
            return Err(Error::corrupt(DATA_OFFSET_AT, what));
        }
        Ok(())
    }

    fn geometry(&self, main: &dyn Source) -> Result<Option<Geometry>> {
        let mut geometry = self.old_geometry;
        if self.length.get() >= LONG_LENGTH {
            let logical: Geometry = read_struct(main, GEOMETRY_AT, "geometry")?;
            if logical.is_set() {
                geometry = logical;
            }
        }
        Ok(Some(geometry).filter(Geometry::is_set))
    }
}

impl Geometry {
    fn is_set(&self) -> bool {
        self.cylinders.get() != 0 && self.heads.get() != 0 && self.sectors.get() != 0
    }

    /// For people.
    pub fn text(&self) -> String {
        format!("{}/{}/{}", self.cylinders, self.heads, self.sectors)
    }
}

/// Text up to a NUL, without the line's end.
fn text(bytes: &[u8]) -> String {
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, _) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
    String::from_utf8_lossy(text).trim_end().into()
}
