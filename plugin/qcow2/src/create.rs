//! A new image: header, refcount table, refcount blocks and an empty L1 table.
//!
//! ```text
//!   header │ refcount table … │ refcount blocks … │ L1 table …
//! ```

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Codec, CreateOptions, Error, Result, Source};
use zerocopy::IntoBytes;
use zerocopy::big_endian::{U32, U64};

use crate::features::{COMPRESSION, EXTENDED_L2};
use crate::header::{self, HeaderStart, HeaderVersion2, HeaderVersion3Fields, Version};
use crate::l1::{ENTRY_SIZE, SIZE_LIMIT};
use crate::parent;
use crate::refcount::{self, fill_block};
use crate::settings::Settings;

const SECTOR: u64 = 512;
/// The header's length in version 3: the fields that every image has, the compression
/// type, and padding to a multiple of 8.
const HEADER_LENGTH: usize =
    size_of::<HeaderVersion2>() + size_of::<HeaderVersion3Fields>() + COMPRESSION_FIELD;
const COMPRESSION_FIELD: usize = 8;
/// Refcount blocks written at once.
const WRITE_STEP: u64 = 1 << 20;

/// How many clusters each part has, in the order of the file.
struct Plan {
    table: u64,
    blocks: u64,
    l1: u64,
    l1_entries: u64,
}

/// Writes an image without contents into `main`, which is empty.
///
/// # Errors
/// [`Error::Unsupported`] for what the format cannot hold, or what the source answers.
pub fn create(main: &dyn Source, options: &CreateOptions) -> Result<()> {
    let settings = Settings::parse(&options.settings)?;
    if u64::from(options.logical_sector) != SECTOR {
        let what = format!("sectors of {} bytes: the format has none", options.logical_sector);
        return Err(Error::Unsupported(what));
    }
    if !options.size.is_multiple_of(SECTOR) {
        return Err(Error::OutOfRange);
    }
    let plan = Plan::new(settings, options.size)?;
    let header = first_cluster(settings, &plan, options)?;
    let geometry = settings.geometry;
    main.resize(plan.clusters() << geometry.cluster_bits())?;
    plan.write_refcounts(main, settings)?;
    main.write(0, &header)
}

impl Plan {
    fn new(settings: Settings, disk_size: u64) -> Result<Self> {
        let geometry = settings.geometry;
        // A table of one entry, even for a disk of none: others expect one.
        let l1_entries = disk_size.div_ceil(geometry.table_span()).max(1);
        if l1_entries > SIZE_LIMIT / ENTRY_SIZE {
            let what = format!(
                "a disk of {disk_size} bytes in clusters of {} bytes",
                geometry.cluster_size()
            );
            return Err(Error::Unsupported(what));
        }
        let l1 = geometry.clusters(l1_entries * ENTRY_SIZE);
        let per_block = refcount::clusters_per_block(geometry, settings.refcount_order);
        let mut plan = Self { table: 1, blocks: 1, l1, l1_entries };
        loop {
            let blocks = plan.clusters().div_ceil(per_block);
            let table = geometry.clusters(blocks * refcount::ENTRY_SIZE);
            if (blocks, table) == (plan.blocks, plan.table) {
                return Ok(plan);
            }
            (plan.blocks, plan.table) = (blocks, table);
        }
    }

    fn clusters(&self) -> u64 {
        1 + self.table + self.blocks + self.l1
    }

    fn write_refcounts(&self, main: &dyn Source, settings: Settings) -> Result<()> {
        let Settings { geometry, refcount_order, .. } = settings;
        let (bits, size) = (geometry.cluster_bits(), geometry.cluster_size());
        let first = 1 + self.table;
        let table: Vec<U64> =
            (0..self.blocks).map(|block| U64::new((first + block) << bits)).collect();
        main.write(size, table.as_bytes())?;
        let per_block = refcount::clusters_per_block(geometry, refcount_order);
        let step = (WRITE_STEP >> bits).max(1);
        let mut block = 0;
        while block < self.blocks {
            let count = step.min(self.blocks - block);
            let mut bytes = vec![0; (count << bits) as usize];
            for (bytes, index) in bytes.chunks_exact_mut(size as usize).zip(block..) {
                let used = self.clusters().saturating_sub(index * per_block).min(per_block);
                fill_block(bytes, used, refcount_order);
            }
            main.write((first + block) << bits, &bytes)?;
            block += count;
        }
        Ok(())
    }
}

/// The header with its extensions and the backing file's name.
fn first_cluster(settings: Settings, plan: &Plan, options: &CreateOptions) -> Result<Vec<u8>> {
    let geometry = settings.geometry;
    let name = parent::reference(options.parent.as_ref())?.unwrap_or_default();
    let area = parent::extension_area(options.parent.as_ref(), &[]);
    let header_length = match settings.version {
        Version::Two => size_of::<HeaderVersion2>(),
        Version::Three => HEADER_LENGTH,
    };
    let name_at = header_length + area.len();
    if (name_at + name.len()) as u64 > geometry.cluster_size() {
        return Err(parent::too_long(geometry.cluster_size()));
    }
    let mut header = fixed_fields(settings, plan, options.size);
    if !name.is_empty() {
        header.backing_file_offset = U64::new(name_at as u64);
        header.backing_file_size = U32::new(name.len() as u32);
    }
    let mut bytes = header.as_bytes().to_vec();
    if settings.version == Version::Three {
        bytes.extend_from_slice(later_fields(settings, header_length).as_bytes());
        let kind = u8::from(settings.codec == Codec::Zstd);
        bytes.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
    }
    bytes.extend_from_slice(&area);
    bytes.extend_from_slice(name.as_bytes());
    Ok(bytes)
}

fn fixed_fields(settings: Settings, plan: &Plan, disk_size: u64) -> HeaderVersion2 {
    let Settings { geometry, version, .. } = settings;
    let version = if version == Version::Two { 2 } else { 3 };
    let offset = |cluster: u64| U64::new(cluster << geometry.cluster_bits());
    HeaderVersion2 {
        start: HeaderStart { magic: header::MAGIC, version: U32::new(version) },
        backing_file_offset: U64::ZERO,
        backing_file_size: U32::ZERO,
        cluster_bits: U32::new(geometry.cluster_bits()),
        size: U64::new(disk_size),
        encryption_method: U32::ZERO,
        // At most 32 MiB of entries, and 8 MiB of table.
        l1_entries: U32::new(plan.l1_entries as u32),
        l1_table_offset: offset(1 + plan.table + plan.blocks),
        refcount_table_offset: offset(1),
        refcount_table_clusters: U32::new(plan.table as u32),
        snapshot_count: U32::ZERO,
        snapshots_offset: U64::ZERO,
    }
}

fn later_fields(settings: Settings, header_length: usize) -> HeaderVersion3Fields {
    let Settings { geometry, codec, refcount_order, .. } = settings;
    let mut incompatible = 0;
    if codec == Codec::Zstd {
        incompatible |= COMPRESSION;
    }
    if geometry.extended() {
        incompatible |= EXTENDED_L2;
    }
    HeaderVersion3Fields {
        incompatible_features: U64::new(incompatible),
        compatible_features: U64::ZERO,
        autoclear_features: U64::ZERO,
        refcount_order: U32::new(refcount_order),
        header_length: U32::new(header_length as u32),
    }
}
