//! Changes of the header's fields. Each is one write within the first sector, so that
//! a crash leaves the old field or the new one.

use core::mem::offset_of;

use fumehood_plugin::Result;
use zerocopy::big_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::features::Features;
use crate::geometry::Geometry;
use crate::header::{HeaderVersion2, HeaderVersion3Fields, RefcountLocation};
use crate::l1::L1Table;
use crate::tables::Tables;

/// From the disk's size to the L1 table's offset, as they follow in the header.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DiskFields {
    size: U64,
    encryption_method: U32,
    l1_entries: U32,
    l1_table_offset: U64,
}

/// The refcount table's fields, as they follow in the header.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RefcountFields {
    table_offset: U64,
    table_clusters: U32,
}

/// Records the disk's size and its L1 table.
///
/// # Errors
/// As [`Tables::write`].
pub fn set_disk(tables: &mut Tables, disk_size: u64, l1: L1Table) -> Result<()> {
    let fields = DiskFields {
        size: U64::new(disk_size),
        encryption_method: U32::new(0),
        // At most 32 MiB of entries.
        l1_entries: U32::new(l1.entries() as u32),
        l1_table_offset: U64::new(l1.offset()),
    };
    tables.write(offset_of!(HeaderVersion2, size) as u64, fields.as_bytes())
}

/// Records where the refcount table is.
///
/// # Errors
/// As [`Tables::write`].
pub fn set_refcount_table(
    tables: &mut Tables,
    location: RefcountLocation,
    geometry: Geometry,
) -> Result<()> {
    let fields = RefcountFields {
        table_offset: U64::new(location.offset),
        // At most 8 MiB.
        table_clusters: U32::new((location.length >> geometry.cluster_bits()) as u32),
    };
    tables.write(offset_of!(HeaderVersion2, refcount_table_offset) as u64, fields.as_bytes())
}

/// Records the feature bits of a version 3 image.
///
/// # Errors
/// As [`Tables::write`].
pub fn set_features(tables: &mut Tables, features: Features) -> Result<()> {
    let words = [features.incompatible, features.compatible, features.autoclear].map(U64::new);
    let start =
        size_of::<HeaderVersion2>() + offset_of!(HeaderVersion3Fields, incompatible_features);
    tables.write(start as u64, words.as_bytes())
}
