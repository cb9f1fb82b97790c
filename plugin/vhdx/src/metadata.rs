//! The metadata table and its items ([MS-VHDX] 2.6): what kind of disk it is.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::{Error, Parent, Result};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::geometry::Geometry;
use crate::guid::Guid;
use crate::layout::{DISK_LIMIT, KIB_64, MIB, Region};
use crate::locator;
use crate::pages::{Kind, Pages};

const SIGNATURE: [u8; 8] = *b"metadata";
const COUNT_LIMIT: u16 = 2047;
const ENTRIES: u64 = 32;

const FILE_PARAMETERS: Guid = Guid::from_number(0xcaa16737_fa36_4d43_b3b6_33f0aa44e76b);
const DISK_SIZE: Guid = Guid::from_number(0x2fa54224_cd1b_4876_b211_5dbed83bf4b8);
const DISK_ID: Guid = Guid::from_number(0xbeca12ab_b2e6_4523_93ef_c309e000c746);
const LOGICAL_SECTOR: Guid = Guid::from_number(0x8141bf1d_a96f_4709_ba47_f233a8faab5f);
const PHYSICAL_SECTOR: Guid = Guid::from_number(0xcda348c7_445d_4471_9cc9_e9885251c556);
const PARENT_LOCATOR: Guid = Guid::from_number(0xa8d35f2d_b30b_454d_abf7_d3d84834ab0c);
/// Stands in an image whose creation was not finished.
const UNFINISHED: Guid = Guid::from_number(0x71cc85f0_1b69_4e28_9558_c3bf83ae75d3);
const KNOWN: [Guid; 6] =
    [FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR];

/// Flags of an item: of the disk, not of the file; a reader must know it.
const VIRTUAL_DISK: u32 = 2;
const REQUIRED: u32 = 4;
/// Flags of the file parameters.
const LEAVE_ALLOCATED: u32 = 1;
const HAS_PARENT: u32 = 2;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct TableHeader {
    signature: [u8; 8],
    reserved: U16,
    count: U16,
    reserved2: [u8; 20],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct TableEntry {
    item: Guid,
    offset: U32,
    length: U32,
    flags: U32,
    reserved: U32,
}

impl TableEntry {
    fn new(item: Guid, offset: u32, length: u32, flags: u32) -> Self {
        let (offset, length, flags) = (U32::new(offset), U32::new(length), U32::new(flags));
        Self { item, offset, length, flags, reserved: U32::ZERO }
    }

    fn end(&self) -> u64 {
        u64::from(self.offset.get()) + u64::from(self.length.get())
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct FileParameters {
    block_size: U32,
    flags: U32,
}

/// What the items say.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Size of disk, block and logical sector.
    pub geometry: Geometry,
    /// Bytes a physical sector.
    pub physical_sector: u32,
    /// The disk's identifier (SCSI page 83), if recorded.
    pub disk_id: Option<Guid>,
    /// Fixed: blocks stay allocated.
    pub fixed: bool,
    /// What it differs from.
    pub parent: Option<Parent>,
}

impl Metadata {
    /// Reads the items of the metadata region.
    ///
    /// # Errors
    /// [`Error::Corrupt`] by the entry or the item, [`Error::Unsupported`] for an item
    /// that is required and not known.
    pub fn read(pages: &mut Pages, region: Region) -> Result<Self> {
        let table = Table::read(pages, region)?;
        let mut items = Items { pages, region, table: &table };
        let parameters: FileParameters = items.required(FILE_PARAMETERS, "file parameters")?;
        let size: U64 = items.required(DISK_SIZE, "disk size")?;
        let sector: U32 = items.required(LOGICAL_SECTOR, "logical sector size")?;
        let physical: Option<U32> = items.optional(PHYSICAL_SECTOR, "physical sector size")?;
        let disk_id = items.optional(DISK_ID, "disk identifier")?;
        let flags = parameters.flags.get();
        let parent = match flags & HAS_PARENT {
            0 => None,
            _ => Some(items.parent()?),
        };
        let geometry = Geometry {
            size: size.get(),
            block_size: u64::from(parameters.block_size.get()),
            sector: u64::from(sector.get()),
        };
        check_geometry(geometry).map_err(|what| {
            let field = table.find(FILE_PARAMETERS).map_or(0, |entry| entry.offset.get());
            Error::corrupt(region.offset + u64::from(field), what)
        })?;
        let physical_sector = physical.map_or(sector.get(), U32::get);
        if ![512, 4096].contains(&physical_sector) {
            let what =
                format!("expected physical sectors of 512 or 4096 bytes, found {physical_sector}");
            return Err(Error::corrupt(region.offset, what));
        }
        let fixed = flags & LEAVE_ALLOCATED != 0;
        Ok(Self { geometry, physical_sector, disk_id, fixed, parent })
    }

    /// The first bytes of a new image's metadata region.
    ///
    /// # Errors
    /// What [`locator::build`] answers.
    pub fn new_region(&self) -> Result<Vec<u8>> {
        let parameters = self.parameters();
        let size = U64::new(self.geometry.size);
        let sector = U32::new(self.geometry.sector as u32);
        let physical = U32::new(self.physical_sector);
        let disk_id = self.disk_id.unwrap_or(Guid::NIL);
        let locator = self.parent.as_ref().map(locator::build).transpose()?;
        let mut items: Vec<(Guid, &[u8], u32)> = vec![
            (FILE_PARAMETERS, parameters.as_bytes(), REQUIRED),
            (DISK_SIZE, size.as_bytes(), REQUIRED | VIRTUAL_DISK),
            (DISK_ID, disk_id.as_bytes(), REQUIRED | VIRTUAL_DISK),
            (LOGICAL_SECTOR, sector.as_bytes(), REQUIRED | VIRTUAL_DISK),
            (PHYSICAL_SECTOR, physical.as_bytes(), REQUIRED | VIRTUAL_DISK),
        ];
        items.extend(locator.as_ref().map(|bytes| (PARENT_LOCATOR, &**bytes, REQUIRED)));
        let (mut entries, mut bodies) = (Vec::new(), Vec::new());
        for (item, bytes, flags) in items {
            let offset = KIB_64 as usize + bodies.len();
            entries.push(TableEntry::new(item, offset as u32, bytes.len() as u32, flags));
            bodies.extend_from_slice(bytes);
        }
        let mut table = Table { entries }.to_bytes();
        table.extend(bodies);
        Ok(table)
    }

    fn parameters(&self) -> FileParameters {
        let fixed = if self.fixed { LEAVE_ALLOCATED } else { 0 };
        let parent = if self.parent.is_some() { HAS_PARENT } else { 0 };
        FileParameters {
            // At most 256 MiB.
            block_size: U32::new(self.geometry.block_size as u32),
            flags: U32::new(fixed | parent),
        }
    }
}

/// Checks sizes against the format's limits; the error is a text.
pub fn check_geometry(geometry: Geometry) -> core::result::Result<(), alloc::string::String> {
    let Geometry { size, block_size, sector } = geometry;
    if !block_size.is_power_of_two() || !(MIB..=256 * MIB).contains(&block_size) {
        return Err(format!(
            "expected a block size that is a power of two from 1 to 256 MiB, found {block_size}"
        ));
    }
    if ![512, 4096].contains(&sector) {
        return Err(format!("expected logical sectors of 512 or 4096 bytes, found {sector}"));
    }
    if size == 0 || size > DISK_LIMIT || !size.is_multiple_of(sector) {
        return Err(format!(
            "expected a disk of 1 byte to 64 TiB in sectors of {sector} bytes, found {size} bytes"
        ));
    }
    Ok(())
}

/// Changes the disk's size in memory, to be logged.
///
/// # Errors
/// What reading answers.
pub fn set_size(pages: &mut Pages, region: Region, size: u64) -> Result<()> {
    let table = Table::read(pages, region)?;
    match table.find(DISK_SIZE) {
        Some(entry) => {
            let offset = region.offset + u64::from(entry.offset.get());
            pages.change(offset, &size.to_le_bytes(), Kind::Logged)
        }
        None => Err(Error::corrupt(region.offset, "expected the disk size")),
    }
}

/// Changes the parent in memory, to be logged: a locator behind all other items.
///
/// # Errors
/// What [`locator::build`] and reading answer; [`Error::NoSpace`] in a full region.
pub fn set_parent(pages: &mut Pages, region: Region, metadata: &Metadata) -> Result<()> {
    let locator = metadata.parent.as_ref().map(locator::build).transpose()?;
    let mut table = Table::read(pages, region)?;
    table.entries.retain(|entry| entry.item != PARENT_LOCATOR);
    if let Some(bytes) = &locator {
        let end = table.entries.iter().map(TableEntry::end).max().unwrap_or(0).max(KIB_64);
        let offset = end.next_multiple_of(8);
        let length = bytes.len() as u64;
        if offset + length > region.length || table.entries.len() >= usize::from(COUNT_LIMIT) {
            return Err(Error::NoSpace);
        }
        // Both are less than a region's 4 GiB.
        let entry = TableEntry::new(PARENT_LOCATOR, offset as u32, length as u32, REQUIRED);
        table.entries.push(entry);
        pages.change(region.offset + offset, bytes, Kind::Logged)?;
    }
    if let Some(entry) = table.find(FILE_PARAMETERS) {
        let offset = region.offset + u64::from(entry.offset.get());
        pages.change(offset, metadata.parameters().as_bytes(), Kind::Logged)?;
    }
    // Entries behind the last one are unused: what stands there does not matter, but
    // the one that was dropped should not look like one.
    let used = ENTRIES as usize + (table.entries.len() + 1) * size_of::<TableEntry>();
    let bytes = table.to_bytes();
    pages.change(region.offset, bytes.get(..used).unwrap_or(&bytes), Kind::Logged)
}

struct Table {
    entries: Vec<TableEntry>,
}

impl Table {
    fn read(pages: &mut Pages, region: Region) -> Result<Self> {
        let start = region.offset;
        let bytes = pages.bytes(start, KIB_64, "metadata table")?;
        let header: TableHeader = parse_struct(&bytes, 0, start, "metadata table")?;
        if header.signature != SIGNATURE {
            let what = format!("expected \"metadata\", found {:02x?}", header.signature);
            return Err(Error::corrupt(start, what));
        }
        if header.count.get() > COUNT_LIMIT {
            let what = format!("expected at most 2047 items, found {}", header.count);
            return Err(Error::corrupt(start + 10, what));
        }
        let mut entries: Vec<TableEntry> = Vec::new();
        let rest = bytes.get(ENTRIES as usize..).unwrap_or(&[]);
        let rest = rest.chunks_exact(size_of::<TableEntry>()).take(header.count.get().into());
        for (number, bytes) in rest.enumerate() {
            let field = start + ENTRIES + 32 * number as u64;
            let entry: TableEntry = parse_struct(bytes, 0, field, "metadata entry")?;
            check_entry(&entry, region, field)?;
            let user = |entry: &TableEntry| entry.flags.get() & 1;
            let is_same =
                |known: &TableEntry| known.item == entry.item && user(known) == user(&entry);
            if entries.iter().any(is_same) {
                let what = format!("the metadata item {} is listed twice", entry.item);
                return Err(Error::corrupt(field, what));
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    fn find(&self, item: Guid) -> Option<&TableEntry> {
        self.entries.iter().find(|entry| entry.item == item)
    }

    /// All 64 KiB of it.
    fn to_bytes(&self) -> Vec<u8> {
        let header = TableHeader {
            signature: SIGNATURE,
            reserved: U16::ZERO,
            // At most 2047.
            count: U16::new(self.entries.len() as u16),
            reserved2: [0; 20],
        };
        let mut bytes = [header.as_bytes(), self.entries.as_bytes()].concat();
        bytes.resize(KIB_64 as usize, 0);
        bytes
    }
}

fn check_entry(entry: &TableEntry, region: Region, field: u64) -> Result<()> {
    let item = entry.item;
    if item == UNFINISHED {
        let what = "an image whose creation was not finished";
        return Err(Error::Unsupported(what.into()));
    }
    if entry.flags.get() & REQUIRED != 0 && !KNOWN.contains(&item) {
        let what = format!("the required metadata item {item} at {field}");
        return Err(Error::Unsupported(what));
    }
    let (offset, length) = (u64::from(entry.offset.get()), u64::from(entry.length.get()));
    // An empty item may stand nowhere.
    let empty = offset == 0 && length == 0;
    if !empty && (offset < KIB_64 || length > MIB || entry.end() > region.length) {
        let what = format!(
            "expected the item {item} between 64 KiB and the region's end at {}, at most 1 MiB \
             long, found {length} bytes at {offset}",
            region.length
        );
        return Err(Error::corrupt(field, what));
    }
    Ok(())
}

struct Items<'a> {
    pages: &'a mut Pages,
    region: Region,
    table: &'a Table,
}

impl Items<'_> {
    fn bytes(&mut self, entry: &TableEntry, name: &str) -> Result<(Vec<u8>, u64)> {
        let offset = self.region.offset + u64::from(entry.offset.get());
        Ok((self.pages.bytes(offset, u64::from(entry.length.get()), name)?, offset))
    }

    fn optional<T>(&mut self, item: Guid, name: &str) -> Result<Option<T>>
    where
        T: FromBytes + KnownLayout + Immutable,
    {
        let Some(entry) = self.table.find(item).copied() else { return Ok(None) };
        let (bytes, offset) = self.bytes(&entry, name)?;
        parse_struct(&bytes, 0, offset, name).map(Some)
    }

    fn required<T>(&mut self, item: Guid, name: &str) -> Result<T>
    where
        T: FromBytes + KnownLayout + Immutable,
    {
        self.optional(item, name)?.ok_or_else(|| {
            Error::corrupt(self.region.offset, format!("expected the {name} among the metadata"))
        })
    }

    fn parent(&mut self) -> Result<Parent> {
        let Some(entry) = self.table.find(PARENT_LOCATOR).copied() else {
            let what = "expected a parent locator in an image with a parent, found none";
            return Err(Error::corrupt(self.region.offset, what));
        };
        let (bytes, offset) = self.bytes(&entry, "parent locator")?;
        locator::read(&bytes, offset)
    }
}
