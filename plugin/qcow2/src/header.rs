//! The header (specification, "Header"): declared as it is on disk, checked once,
//! and from then on a [`Header`] whose tables are aligned, bounded and in the file.
//!
//! What the tables hold is for [`crate::l1`], [`crate::l2`], [`crate::refcount`]
//! and [`crate::snapshots`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::read::{parse_struct, read_bytes};
use fumehood_plugin::{Codec, Error, Result, Source};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::extensions::{self, Extensions};
use crate::features::{Features, INCOMPATIBLE_OFFSET};
use crate::geometry::Geometry;
use crate::l1::L1Table;

/// The four bytes every image begins with.
pub const MAGIC: [u8; 4] = [b'Q', b'F', b'I', 0xfb];

/// The longest name of a backing file, in bytes.
pub const BACKING_NAME_LIMIT: u32 = 1023;
/// The longest refcount table, in bytes.
pub const REFCOUNT_TABLE_LIMIT: u64 = 8 << 20;
const SNAPSHOT_LIMIT: u32 = 65_536;
/// Counts have at most 64 bits.
pub const REFCOUNT_ORDER_LIMIT: u32 = 6;
/// Counts of version 2 have 16 bits.
pub const REFCOUNT_ORDER_OF_VERSION_2: u32 = 4;

/// What every version begins with.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct HeaderStart {
    pub magic: [u8; 4],
    pub version: U32,
}

/// The header of version 2, as it is on disk.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct HeaderVersion2 {
    pub start: HeaderStart,
    pub backing_file_offset: U64,
    pub backing_file_size: U32,
    pub cluster_bits: U32,
    pub size: U64,
    pub encryption_method: U32,
    pub l1_entries: U32,
    pub l1_table_offset: U64,
    pub refcount_table_offset: U64,
    pub refcount_table_clusters: U32,
    pub snapshot_count: U32,
    pub snapshots_offset: U64,
}

/// What version 3 appends, as far as it is needed in every image.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct HeaderVersion3Fields {
    pub incompatible_features: U64,
    pub compatible_features: U64,
    pub autoclear_features: U64,
    pub refcount_order: U32,
    pub header_length: U32,
}

const BACKING_FILE_OFFSET: u64 = 8;
const CLUSTER_BITS_OFFSET: u64 = 20;
const L1_ENTRIES_OFFSET: u64 = 36;
const REFCOUNT_TABLE_OFFSET: u64 = 48;
const REFCOUNT_TABLE_CLUSTERS_OFFSET: u64 = 56;
const SNAPSHOT_COUNT_OFFSET: u64 = 60;
const SNAPSHOTS_OFFSET: u64 = 64;
const REFCOUNT_ORDER_OFFSET: u64 = 96;
const HEADER_LENGTH_OFFSET: u64 = 100;
const COMPRESSION_TYPE_OFFSET: u64 = 104;

/// The format's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `compat=0.10`.
    Two,
    /// `compat=1.1`.
    Three,
}

/// Where the refcount table lies, and how wide a refcount is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefcountLocation {
    /// Offset in the file, on a cluster boundary.
    pub offset: u64,
    /// Length in bytes, a multiple of the cluster size.
    pub length: u64,
    /// Base-2 logarithm of the bits a refcount, at most 6.
    pub order: u32,
}

/// Where the snapshot table lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotLocation {
    /// Offset in the file, on a cluster boundary.
    pub offset: u64,
    /// Snapshots in it.
    pub count: u32,
}

/// A header that passed every check that needs nothing but itself and the file's size.
#[derive(Debug)]
pub struct Header {
    /// 2 or 3.
    pub version: Version,
    /// Cluster size and what follows from it.
    pub geometry: Geometry,
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// The active L1 table.
    pub l1: L1Table,
    /// The refcount table.
    pub refcounts: RefcountLocation,
    /// The snapshot table, if there are snapshots.
    pub snapshots: Option<SnapshotLocation>,
    /// Feature bits.
    pub features: Features,
    /// How compressed clusters are encoded.
    pub codec: Codec,
    /// Name of the backing file, as the image has it.
    pub backing_file: Option<String>,
    /// Header extensions.
    pub extensions: Extensions,
    /// Bytes before the extensions.
    pub length: u64,
}

impl Header {
    /// Reads and checks the header of `source`.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] without the magic; [`Error::Unsupported`] for other
    /// versions, encryption and unknown incompatible features; [`Error::Corrupt`]
    /// by the offset of the field that is wrong.
    pub fn read(source: &dyn Source) -> Result<Self> {
        let file_size = source.size();
        let version = read_version(source)?;
        let fixed = read_bytes(source, 0, size_of::<HeaderVersion2>() as u64, "header")?;
        let raw: HeaderVersion2 = parse_struct(&fixed, 0, 0, "header")?;
        let later = LaterFields::read(source, version)?;
        let bits = raw.cluster_bits.get();
        let geometry = Geometry::new(bits, later.features.extended_l2(), CLUSTER_BITS_OFFSET)?;

        let first_cluster = read_first_cluster(source, geometry)?;
        let header_length = later.check_length(version, geometry)?;
        let (backing_file, area_end) = read_backing_name(&raw, &first_cluster, header_length)?;
        let area = first_cluster.get(header_length as usize..area_end).unwrap_or_default();
        let extensions = Extensions::parse(area, header_length)?;

        later.features.check_known(&extensions)?;
        check_encryption(raw.encryption_method.get())?;
        let disk_size = raw.size.get();
        Ok(Self {
            version,
            geometry,
            disk_size,
            l1: L1Table::new(
                geometry,
                L1_ENTRIES_OFFSET,
                (raw.l1_table_offset.get(), raw.l1_entries.get()),
                disk_size,
                file_size,
            )?,
            refcounts: check_refcounts(&raw, later.refcount_order, geometry, file_size)?,
            snapshots: check_snapshots(&raw, geometry, file_size)?,
            features: later.features,
            codec: check_compression(later.features, header_length, &first_cluster)?,
            backing_file,
            extensions,
            length: header_length,
        })
    }
}

fn read_version(source: &dyn Source) -> Result<Version> {
    if source.size() < size_of::<HeaderStart>() as u64 {
        return Err(Error::Unrecognised);
    }
    let bytes = read_bytes(source, 0, size_of::<HeaderStart>() as u64, "header")?;
    let start: HeaderStart = parse_struct(&bytes, 0, 0, "header")?;
    if start.magic != MAGIC {
        return Err(Error::Unrecognised);
    }
    match start.version.get() {
        1 => Err(Error::Unsupported("qcow version 1; only versions 2 and 3 are read".into())),
        2 => Ok(Version::Two),
        3 => Ok(Version::Three),
        other => {
            Err(Error::Unsupported(format!("qcow version {other}; only versions 2 and 3 are read")))
        }
    }
}

/// What version 3 added, with the values version 2 implies.
struct LaterFields {
    features: Features,
    refcount_order: u32,
    header_length: u64,
}

impl LaterFields {
    fn read(source: &dyn Source, version: Version) -> Result<Self> {
        let start = size_of::<HeaderVersion2>() as u64;
        if version == Version::Two {
            return Ok(Self {
                features: Features::default(),
                refcount_order: REFCOUNT_ORDER_OF_VERSION_2,
                header_length: start,
            });
        }
        let length = size_of::<HeaderVersion3Fields>() as u64;
        let bytes = read_bytes(source, start, length, "version 3 header")?;
        let raw: HeaderVersion3Fields = parse_struct(&bytes, 0, start, "version 3 header")?;
        Ok(Self {
            features: Features {
                incompatible: raw.incompatible_features.get(),
                compatible: raw.compatible_features.get(),
                autoclear: raw.autoclear_features.get(),
            },
            refcount_order: raw.refcount_order.get(),
            header_length: u64::from(raw.header_length.get()),
        })
    }

    fn check_length(&self, version: Version, geometry: Geometry) -> Result<u64> {
        let version2 = size_of::<HeaderVersion2>() as u64;
        let version3 = version2 + size_of::<HeaderVersion3Fields>() as u64;
        let (length, largest) = (self.header_length, geometry.cluster_size());
        let fits = length >= version3 && length <= largest && length % 8 == 0;
        if version == Version::Three && !fits {
            let what = format!(
                "expected a header length from {version3} to {largest} in steps of 8, \
                 found {length}"
            );
            return Err(Error::corrupt(HEADER_LENGTH_OFFSET, what));
        }
        Ok(length)
    }
}

fn read_first_cluster(source: &dyn Source, geometry: Geometry) -> Result<Vec<u8>> {
    let length = geometry.cluster_size().min(source.size());
    read_bytes(source, 0, length, "first cluster")
}

/// Where `first_cluster` says the backing file's name stands: (offset, length).
///
/// # Errors
/// [`Error::Corrupt`] where `first_cluster` is no whole header.
pub fn backing_name_place(first_cluster: &[u8]) -> Result<(u64, u64)> {
    let raw: HeaderVersion2 = parse_struct(first_cluster, 0, 0, "header")?;
    Ok((raw.backing_file_offset.get(), u64::from(raw.backing_file_size.get())))
}

/// The backing file's name and where the extensions before it end.
fn read_backing_name(
    raw: &HeaderVersion2,
    first_cluster: &[u8],
    header_length: u64,
) -> Result<(Option<String>, usize)> {
    let (offset, length) = (raw.backing_file_offset.get(), raw.backing_file_size.get());
    if offset == 0 || length == 0 {
        return Ok((None, first_cluster.len()));
    }
    if length > BACKING_NAME_LIMIT {
        let what = format!(
            "expected a backing file name of at most {BACKING_NAME_LIMIT} bytes, found {length}"
        );
        return Err(Error::corrupt(BACKING_FILE_OFFSET, what));
    }
    let start = usize::try_from(offset).ok().filter(|_| offset >= header_length);
    let bytes = start.and_then(|start| {
        let end = start.checked_add(length as usize)?;
        Some((start, first_cluster.get(start..end)?))
    });
    let Some((start, bytes)) = bytes else {
        let what = format!(
            "expected the backing file name between the header's end at {header_length} and the \
             first cluster's at {}, found {length} bytes at {offset}",
            first_cluster.len()
        );
        return Err(Error::corrupt(BACKING_FILE_OFFSET, what));
    };
    Ok((extensions::name(bytes, offset, "backing file name")?, start))
}

fn check_encryption(method: u32) -> Result<()> {
    let name = match method {
        0 => return Ok(()),
        1 => "AES".to_string(),
        2 => "LUKS".to_string(),
        other => format!("method {other}"),
    };
    Err(Error::Unsupported(format!("an encrypted qcow2 image ({name}) cannot be opened")))
}

fn check_refcounts(
    raw: &HeaderVersion2,
    order: u32,
    geometry: Geometry,
    file_size: u64,
) -> Result<RefcountLocation> {
    if order > REFCOUNT_ORDER_LIMIT {
        let what = format!("expected a refcount order up to {REFCOUNT_ORDER_LIMIT}, found {order}");
        return Err(Error::corrupt(REFCOUNT_ORDER_OFFSET, what));
    }
    let clusters = u64::from(raw.refcount_table_clusters.get());
    let length = clusters << geometry.cluster_bits();
    if clusters == 0 || length > REFCOUNT_TABLE_LIMIT {
        let what = format!(
            "expected a refcount table of 1 to {REFCOUNT_TABLE_LIMIT} bytes, found {length}"
        );
        return Err(Error::corrupt(REFCOUNT_TABLE_CLUSTERS_OFFSET, what));
    }
    let offset = raw.refcount_table_offset.get();
    geometry.check_table("refcount table", REFCOUNT_TABLE_OFFSET, offset, length, file_size)?;
    Ok(RefcountLocation { offset, length, order })
}

fn check_snapshots(
    raw: &HeaderVersion2,
    geometry: Geometry,
    file_size: u64,
) -> Result<Option<SnapshotLocation>> {
    let (offset, count) = (raw.snapshots_offset.get(), raw.snapshot_count.get());
    if count == 0 {
        return Ok(None);
    }
    if count > SNAPSHOT_LIMIT {
        let what = format!("expected at most {SNAPSHOT_LIMIT} snapshots, found {count}");
        return Err(Error::corrupt(SNAPSHOT_COUNT_OFFSET, what));
    }
    let smallest = u64::from(count) * crate::snapshots::SMALLEST_ENTRY;
    geometry.check_table("snapshot table", SNAPSHOTS_OFFSET, offset, smallest, file_size)?;
    Ok(Some(SnapshotLocation { offset, count }))
}

fn check_compression(features: Features, header_length: u64, header: &[u8]) -> Result<Codec> {
    let stored = header.get(COMPRESSION_TYPE_OFFSET as usize).copied().unwrap_or(0);
    let kind = if header_length > COMPRESSION_TYPE_OFFSET { stored } else { 0 };
    match (kind, features.other_compression()) {
        (0, false) => Ok(Codec::Deflate),
        (1, true) => Ok(Codec::Zstd),
        (0 | 1, _) => {
            let what = format!(
                "expected the compression bit to agree with the compression type, \
                 found type {kind} at {COMPRESSION_TYPE_OFFSET}"
            );
            Err(Error::corrupt(INCOMPATIBLE_OFFSET, what))
        }
        (other, _) => Err(Error::Unsupported(format!("compression type {other}"))),
    }
}
