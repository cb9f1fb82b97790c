//! The region tables ([MS-VHDX] 2.2.3): where the BAT and the metadata lie.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Error, Result};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::crc::checksum;
use crate::guid::Guid;
use crate::layout::{KIB_64, REGION_TABLES, Region};
use crate::pages::Pages;

const SIGNATURE: [u8; 4] = *b"regi";
const BAT: Guid = Guid::from_number(0x2dc27766_f623_4200_9d64_115e9bfd4a08);
const METADATA: Guid = Guid::from_number(0x8b7ca206_4790_4b9a_b8fe_575f050f886e);
const COUNT_LIMIT: u32 = 2047;
/// 64 TiB in blocks of 1 MiB need 512 MiB and a little.
const BAT_LIMIT: u64 = 513 << 20;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct TableHeader {
    signature: [u8; 4],
    checksum: U32,
    count: U32,
    reserved: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct TableEntry {
    guid: Guid,
    offset: U64,
    length: U32,
    required: U32,
}

/// The regions that are known.
#[derive(Debug, Clone, Copy)]
pub struct Regions {
    /// The log, which the header names.
    pub log: Region,
    /// The metadata table and its items.
    pub metadata: Region,
    /// The block allocation table.
    pub bat: Region,
}

impl Regions {
    /// From the first table, or the second one where the first is damaged.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where both are damaged, a region is missing, doubled,
    /// overlaps another or ends behind the file; [`Error::Unsupported`] for an unknown
    /// one that is required.
    pub fn read(pages: &mut Pages, log: Region) -> Result<Self> {
        let [first, second] = REGION_TABLES;
        let (offset, table) = match read_valid(pages, first)? {
            Some(table) => (first, table),
            None => match read_valid(pages, second)? {
                Some(table) => (second, table),
                None => {
                    let what = "expected a valid region table here or 64 KiB further on";
                    return Err(Error::corrupt(first, what));
                }
            },
        };
        let mut known = Known { regions: vec![(log, None)], file_size: pages.file_size() };
        for (number, entry) in table.iter().enumerate() {
            known.add(entry, offset + 16 + 32 * number as u64)?;
        }
        Ok(Self { log, metadata: known.find(METADATA, offset)?, bat: known.find(BAT, offset)? })
    }

    /// Both tables' bytes for a new image: 64 KiB.
    pub fn new_table(&self) -> Vec<u8> {
        let entries = [(BAT, self.bat), (METADATA, self.metadata)].map(|(guid, region)| {
            let (offset, length) = (U64::new(region.offset), U32::new(region.length as u32));
            TableEntry { guid, offset, length, required: U32::new(1) }
        });
        let header = TableHeader {
            signature: SIGNATURE,
            checksum: U32::ZERO,
            count: U32::new(2),
            reserved: U32::ZERO,
        };
        let mut table = [header.as_bytes(), entries.as_bytes()].concat();
        table.resize(KIB_64 as usize, 0);
        seal(&mut table);
        table
    }

    /// Whether `block` lies over any of them.
    pub fn overlapped_by(&self, block: Region) -> Option<&'static str> {
        let named = [(self.log, "log"), (self.metadata, "metadata"), (self.bat, "BAT")];
        named.iter().find(|(region, _)| region.overlaps(block)).map(|(_, name)| *name)
    }
}

/// The table at `offset` with its BAT entry changed to `bat`: for both copies, the
/// second of which may have been the damaged one.
///
/// # Errors
/// What reading answers, [`Error::Corrupt`] where there is no valid table.
pub fn moved_bat(pages: &mut Pages, bat: Region) -> Result<Vec<u8>> {
    for offset in REGION_TABLES {
        let Some(entries) = read_valid(pages, offset)? else { continue };
        let mut bytes = pages.bytes(offset, KIB_64, "region table")?;
        let Some(number) = entries.iter().position(|entry| entry.guid == BAT) else { continue };
        let entry = TableEntry {
            offset: U64::new(bat.offset),
            length: U32::new(bat.length as u32),
            ..entries[number]
        };
        let start = size_of::<TableHeader>() + number * size_of::<TableEntry>();
        if let Some(place) = bytes.get_mut(start..start + size_of::<TableEntry>()) {
            place.copy_from_slice(entry.as_bytes());
        }
        seal(&mut bytes);
        return Ok(bytes);
    }
    Err(Error::corrupt(REGION_TABLES[0], "expected a valid region table"))
}

/// Puts a table's checksum where it belongs.
fn seal(table: &mut [u8]) {
    let sum = checksum(table).to_le_bytes();
    if let Some(field) = table.get_mut(4..8) {
        field.copy_from_slice(&sum);
    }
}

/// The regions seen so far; the log has no GUID.
struct Known {
    regions: Vec<(Region, Option<Guid>)>,
    file_size: u64,
}

impl Known {
    fn add(&mut self, entry: &TableEntry, field: u64) -> Result<()> {
        let guid = entry.guid;
        let name = name(guid);
        if name.is_none() && entry.required.get() & 1 == 1 {
            return Err(Error::Unsupported(format!("the required region {guid} at {field}")));
        }
        let label = name.map_or_else(|| format!("region {guid}"), String::from);
        let region = Region { offset: entry.offset.get(), length: u64::from(entry.length.get()) };
        region.check(&label, field, self.file_size)?;
        if guid == BAT && region.length > BAT_LIMIT {
            let what = format!("a BAT of {} bytes, more than 513 MiB", region.length);
            return Err(Error::corrupt(field, what));
        }
        if self.regions.iter().any(|(_, known)| *known == Some(guid)) {
            return Err(Error::corrupt(field, format!("the {label} is listed twice")));
        }
        if self.regions.iter().any(|(known, _)| known.overlaps(region)) {
            let what = format!("the {label} at {} overlaps another region", region.offset);
            return Err(Error::corrupt(field, what));
        }
        self.regions.push((region, Some(guid)));
        Ok(())
    }

    fn find(&self, guid: Guid, table: u64) -> Result<Region> {
        let found = self.regions.iter().find(|(_, known)| *known == Some(guid));
        found.map(|(region, _)| *region).ok_or_else(|| {
            let name = name(guid).unwrap_or_default();
            Error::corrupt(table, format!("expected the {name} in the region table"))
        })
    }
}

fn name(guid: Guid) -> Option<&'static str> {
    match guid {
        BAT => Some("BAT"),
        METADATA => Some("metadata region"),
        _ => None,
    }
}

fn read_valid(pages: &mut Pages, offset: u64) -> Result<Option<Vec<TableEntry>>> {
    let bytes = pages.bytes(offset, KIB_64, "region table")?;
    let header: TableHeader = parse_struct(&bytes, 0, offset, "region table")?;
    let count = header.count.get();
    let valid = header.signature == SIGNATURE
        && header.checksum.get() == checksum(&bytes)
        && count <= COUNT_LIMIT;
    if !valid {
        return Ok(None);
    }
    let entries = bytes.get(size_of::<TableHeader>()..).unwrap_or(&[]);
    let entries = entries.chunks_exact(size_of::<TableEntry>()).take(count as usize);
    entries
        .map(|entry| parse_struct(entry, 0, offset, "region table entry"))
        .collect::<Result<Vec<TableEntry>>>()
        .map(Some)
}
