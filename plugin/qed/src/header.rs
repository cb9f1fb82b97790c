//! The header (specification, "Header"): declared as it is on disk, checked once, and
//! from then on a [`Header`] whose L1 table is aligned and in the file.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::read::{read_bytes, read_struct};
use fumehood_plugin::two_level::{ENTRY_SIZE, Shape};
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// What every image begins with.
pub const MAGIC: [u8; 4] = *b"QED\0";

/// There is a backing file.
const BACKING_FILE: u64 = 1 << 0;
/// The image was not closed.
const NEED_CHECK: u64 = 1 << 1;
/// The backing file is raw, whatever it looks like.
const BACKING_IS_RAW: u64 = 1 << 2;
const KNOWN_FEATURES: u64 = BACKING_FILE | NEED_CHECK | BACKING_IS_RAW;

const CLUSTER_SIZES: core::ops::RangeInclusive<u32> = 1 << 12..=1 << 26;
const TABLE_SIZES: core::ops::RangeInclusive<u32> = 1..=16;
/// The longest name of a backing file, in bytes.
const NAME_LIMIT: u32 = 1023;
const SECTOR: u64 = 512;

const CLUSTER_SIZE_AT: u64 = 4;
const TABLE_SIZE_AT: u64 = 8;
const HEADER_SIZE_AT: u64 = 12;
const L1_OFFSET_AT: u64 = 40;
const IMAGE_SIZE_AT: u64 = 48;
const NAME_OFFSET_AT: u64 = 56;

/// The header as it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 4],
    cluster_size: U32,
    table_size: U32,
    header_size: U32,
    features: U64,
    compatible_features: U64,
    autoclear_features: U64,
    l1_offset: U64,
    image_size: U64,
    name_offset: U32,
    name_length: U32,
}

/// What an image differs from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// Its name.
    pub name: String,
    /// Whether it is raw, whatever it looks like.
    pub raw: bool,
}

/// A header that passed every check that needs nothing but itself and the file's size.
#[derive(Debug)]
pub struct Header {
    /// How the disk is divided: clusters of 4 KiB to 64 MiB, a power of two, and tables of
    /// either level of up to 1 GiB; the disk no larger than they can map.
    pub shape: Shape,
    /// Bytes that the header takes, in whole clusters.
    pub length: u64,
    /// Whether the image was not closed.
    pub needs_check: bool,
    /// Features that a reader may ignore, and those that a writer would have to clear.
    pub other_features: (u64, u64),
    /// The backing file.
    pub backing: Option<Backing>,
}

impl Header {
    /// Reads and checks the header of `main`.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] without the magic, [`Error::Unsupported`] for features
    /// that a reader must know, [`Error::Corrupt`] by the field that contradicts the
    /// format or the file.
    pub fn read(main: &dyn Source) -> Result<Self> {
        if main.size() < size_of::<RawHeader>() as u64 {
            return Err(Error::Unrecognised);
        }
        let raw: RawHeader = read_struct(main, 0, "header")?;
        if raw.magic != MAGIC {
            return Err(Error::Unrecognised);
        }
        let features = raw.features.get();
        let unknown = features & !KNOWN_FEATURES;
        if unknown != 0 {
            return Err(Error::Unsupported(format!("features {unknown:#x} of the image")));
        }
        let (cluster_size, table_length) = raw.sizes()?;
        let length = raw.length(cluster_size, main.size())?;
        let header = Self {
            shape: Shape {
                disk_size: raw.image_size.get(),
                cluster_size,
                table_entries: table_length / ENTRY_SIZE,
                l1_offset: raw.l1_offset.get(),
            },
            length,
            needs_check: features & NEED_CHECK != 0,
            other_features: (raw.compatible_features.get(), raw.autoclear_features.get()),
            backing: raw.backing(main, length)?,
        };
        header.check_disk()?;
        header.check_table(header.shape.l1_offset, main.size()).map_err(|what| {
            Error::corrupt(L1_OFFSET_AT, format!("expected {what}, found the L1 table elsewhere"))
        })?;
        Ok(header)
    }

    /// That a table may lie at `offset` of a file of `file_size` bytes; or else what
    /// was expected.
    pub fn check_table(&self, offset: u64, file_size: u64) -> core::result::Result<(), String> {
        let (first, length) = (self.length, self.shape.table_length());
        let end = offset.checked_add(length);
        let inside = offset >= first && end.is_some_and(|end| end <= file_size);
        if inside && offset.is_multiple_of(self.shape.cluster_size) {
            return Ok(());
        }
        Err(format!(
            "{length} bytes on a cluster's boundary from {first} to the file's end at {file_size}"
        ))
    }

    fn check_disk(&self) -> Result<()> {
        let (size, shape) = (self.shape.disk_size, &self.shape);
        // One table maps 2^53 bytes at most.
        let most = shape.table_span().saturating_mul(shape.table_entries).min(i64::MAX as u64);
        if size > most || !size.is_multiple_of(SECTOR) {
            let what = format!(
                "expected a disk of up to {most} bytes in whole sectors of {SECTOR}, found {size}"
            );
            return Err(Error::corrupt(IMAGE_SIZE_AT, what));
        }
        Ok(())
    }
}

impl RawHeader {
    /// Bytes of a cluster and of a table.
    fn sizes(&self) -> Result<(u64, u64)> {
        let (cluster, table) = (self.cluster_size.get(), self.table_size.get());
        if !cluster.is_power_of_two() || !CLUSTER_SIZES.contains(&cluster) {
            let what = format!(
                "expected a cluster size of a power of two from 4096 to 2^26, found {cluster}"
            );
            return Err(Error::corrupt(CLUSTER_SIZE_AT, what));
        }
        if !table.is_power_of_two() || !TABLE_SIZES.contains(&table) {
            let what = format!("expected tables of 1, 2, 4, 8 or 16 clusters, found {table}");
            return Err(Error::corrupt(TABLE_SIZE_AT, what));
        }
        let cluster = u64::from(cluster);
        Ok((cluster, cluster * u64::from(table)))
    }

    /// Bytes of the header with its clusters' rest.
    fn length(&self, cluster_size: u64, file_size: u64) -> Result<u64> {
        let clusters = self.header_size.get();
        let length = u64::from(clusters) * cluster_size;
        if clusters == 0 || length > file_size {
            let what = format!(
                "expected a header of one cluster or more inside the file's {file_size} bytes, \
                 found {clusters} clusters"
            );
            return Err(Error::corrupt(HEADER_SIZE_AT, what));
        }
        Ok(length)
    }

    fn backing(&self, main: &dyn Source, header_length: u64) -> Result<Option<Backing>> {
        let features = self.features.get();
        if features & BACKING_FILE == 0 {
            return Ok(None);
        }
        let (offset, length) = (u64::from(self.name_offset.get()), self.name_length.get());
        let inside =
            offset >= size_of::<Self>() as u64 && offset + u64::from(length) <= header_length;
        if !inside || length == 0 || length > NAME_LIMIT {
            let what = format!(
                "expected a backing file's name of 1 to {NAME_LIMIT} bytes in the header's \
                 {header_length}, found {length} at {offset}"
            );
            return Err(Error::corrupt(NAME_OFFSET_AT, what));
        }
        let name = read_bytes(main, offset, length.into(), "backing file's name")?;
        let name = String::from_utf8_lossy(&name).into_owned();
        Ok(Some(Backing { name, raw: features & BACKING_IS_RAW != 0 }))
    }
}
