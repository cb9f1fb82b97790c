//! Making new images: everything at its usual place, headers last.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::{CreateOptions, Error, Result, Source};

use crate::bat::{Bat, Payload};
use crate::geometry::{ENTRY_SIZE, Geometry};
use crate::guid::Guids;
use crate::header::Header;
use crate::layout::{KIB_64, MIB, REGION_TABLES, Region, SIGNATURE};
use crate::metadata::{Metadata, check_geometry};
use crate::region::Regions;

/// Block sizes unless told otherwise. Small ones cost little here: a whole block is
/// allocated at the first write.
const BLOCK_SIZE: u64 = 8 * MIB;
const DIFFERENCING_BLOCK_SIZE: u64 = 2 * MIB;
/// Physical sectors: what disks have.
const PHYSICAL_SECTOR: u32 = 4096;
const LOG_LIMIT: u64 = 1 << 30;
const SETTINGS: &str = "subformat (dynamic or fixed), block_size, log_size";

struct Settings {
    fixed: bool,
    block_size: u64,
    log_size: u64,
}

impl Settings {
    fn read(options: &CreateOptions) -> Result<Self> {
        let block_size =
            if options.parent.is_some() { DIFFERENCING_BLOCK_SIZE } else { BLOCK_SIZE };
        let mut settings = Self { fixed: false, block_size, log_size: MIB };
        for (name, value) in &options.settings {
            match (name.as_str(), value.as_str()) {
                ("subformat", "fixed") => settings.fixed = true,
                ("subformat", "dynamic") => settings.fixed = false,
                ("block_size", value) => settings.block_size = size(name, value)?,
                ("log_size", value) => settings.log_size = size(name, value)?,
                _ => {
                    let what = format!("the setting {name}={value}; there are {SETTINGS}");
                    return Err(Error::Unsupported(what));
                }
            }
        }
        if settings.fixed && options.parent.is_some() {
            return Err(Error::Unsupported("a fixed image with a parent".into()));
        }
        let log_size = settings.log_size;
        if !log_size.is_multiple_of(MIB) || !(MIB..=LOG_LIMIT).contains(&log_size) {
            let what = format!("log_size={log_size}: it is whole MiB, at most 1 GiB");
            return Err(Error::Unsupported(what));
        }
        Ok(settings)
    }
}

/// A number of bytes; K, M and G stand for powers of 1024.
fn size(name: &str, value: &str) -> Result<u64> {
    let units = [("K", 10), ("M", 20), ("G", 30)];
    let unit = units.iter().find_map(|(unit, shift)| Some((value.strip_suffix(unit)?, shift)));
    let (digits, shift) = unit.unwrap_or((value, &0));
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| Error::Unsupported(format!("{name}={value}: expected a size in bytes")))
}

/// Writes a new image into the empty `source`.
///
/// # Errors
/// [`Error::Unsupported`] for sizes, settings and parents that the format cannot have,
/// and what the source answers.
pub fn create(source: &dyn Source, options: &CreateOptions) -> Result<()> {
    let settings = Settings::read(options)?;
    let geometry = Geometry {
        size: options.size,
        block_size: settings.block_size,
        sector: u64::from(options.logical_sector),
    };
    check_geometry(geometry).map_err(Error::Unsupported)?;
    let mut guids = Guids::new(&options.seed, b"create");
    let metadata = Metadata {
        geometry,
        physical_sector: PHYSICAL_SECTOR,
        disk_id: Some(guids.next()),
        fixed: settings.fixed,
        parent: options.parent.clone(),
    };
    let bat = lay_out(&metadata, settings.log_size);
    let items = metadata.new_region()?;
    let end = bat.regions.bat.end();
    let blocks = if settings.fixed { geometry.block_count() } else { 0 };
    source.resize(end + blocks * geometry.block_size)?;
    source.write(0, &identifier())?;
    let table = bat.regions.new_table();
    for offset in REGION_TABLES {
        source.write(offset, &table)?;
    }
    source.write(bat.regions.metadata.offset, &items)?;
    if settings.fixed {
        write_entries(source, &bat)?;
    }
    source.flush()?;
    let mut header = Header::new(guids.next(), guids.next(), bat.regions.log);
    header.replace(source, header)
}

fn lay_out(metadata: &Metadata, log_size: u64) -> Bat {
    let geometry = metadata.geometry;
    let differencing = metadata.parent.is_some();
    let log = Region { offset: MIB, length: log_size };
    let items = Region { offset: log.end(), length: MIB };
    let length = (geometry.entry_count(differencing) * ENTRY_SIZE).next_multiple_of(MIB);
    let bat = Region { offset: items.end(), length };
    Bat { geometry, regions: Regions { log, metadata: items, bat }, differencing }
}

/// The signature and who made it ([MS-VHDX] 2.2.1).
fn identifier() -> Vec<u8> {
    let creator = concat!("Fumehood ", env!("CARGO_PKG_VERSION")).encode_utf16();
    SIGNATURE.into_iter().chain(creator.flat_map(u16::to_le_bytes)).collect()
}

/// Entries of a fixed image: all blocks one behind the other.
fn write_entries(source: &dyn Source, bat: &Bat) -> Result<()> {
    let Bat { geometry, regions, .. } = bat;
    let mut window = Vec::new();
    let mut at = regions.bat.offset;
    for block in 0..geometry.block_count() {
        if block > 0 && block.is_multiple_of(geometry.chunk_ratio()) {
            window.extend([0; ENTRY_SIZE as usize]);
        }
        let offset = regions.bat.end() + block * geometry.block_size;
        window.extend(Payload::Full(offset).encode().to_le_bytes());
        if window.len() as u64 >= KIB_64 {
            source.write(at, &window)?;
            at += window.len() as u64;
            window.clear();
        }
    }
    source.write(at, &window)
}
