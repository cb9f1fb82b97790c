//! Growing disks of the Bochs emulator, as `bximage` makes them.
//!
//! A header, a catalogue with an entry for each extent of the disk, and the extents that
//! were written to, each behind a bitmap of its sectors. Little-endian. Source: the Bochs
//! user manual, "Disk image modes", and images that `bximage` made.
//!
//! This is a whole plugin. Copy the folder, and change the format.
#![cfg_attr(all(target_family = "wasm", target_os = "unknown"), no_std)]
#![warn(missing_docs)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::{read_bytes, read_struct, read_table};
use fumehood_plugin::{
    Confidence, Content, Description, Disk, DiskInfo, Error, Extent, Extents, Format, Glimpse,
    Host, Image, ImageInfo, OpenOptions, Result, SourceHandle, Stored,
};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const MAGIC: &[u8; 23] = b"Bochs Virtual HD Image\0";
const TYPE: &[u8; 8] = b"Redolog\0";
const GROWING: &[u8; 8] = b"Growing\0";
const VERSION: u32 = 0x0002_0000;
const SECTOR: u64 = 512;
/// The entry of an extent that was never written to.
const UNUSED: u32 = u32::MAX;
/// So many extents of the disk are answered at once.
const WINDOW: u64 = 1024;

/// The header, as it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 32],
    kind: [u8; 16],
    subtype: [u8; 16],
    version: U32,
    header_size: U32,
    catalogue_entries: U32,
    bitmap_size: U32,
    extent_size: U32,
    timestamp: U32,
    disk_size: U64,
}

/// The format.
pub struct Bochs;

impl Format for Bochs {
    fn describe() -> Description {
        Description {
            name: "bochs",
            title: "Bochs growing disk",
            version: env!("CARGO_PKG_VERSION"),
            extensions: &["bochs"],
            folder_entry: None,
            can_write: false,
            can_create: false,
        }
    }

    fn probe(glimpse: &Glimpse) -> Confidence {
        if glimpse.head.starts_with(MAGIC) { Confidence::Certain } else { Confidence::No }
    }

    fn open(main: SourceHandle, _: Rc<dyn Host>, _: OpenOptions) -> Result<Box<dyn Image>> {
        let header: Header = read_struct(&*main, 0, "header")?;
        let shape = Shape::of(&header, main.size())?;
        Ok(Box::new(Opened { main, shape }))
    }
}

/// A header that was checked: nothing that is computed from it can overflow.
#[derive(Clone, Copy)]
struct Shape {
    disk_size: u64,
    extent_size: u64,
    /// Bytes that the bitmap before each extent takes, in whole sectors.
    bitmap_room: u64,
    catalogue: u64,
    /// Where the first extent's bitmap lies.
    data: u64,
}

impl Shape {
    fn of(header: &Header, file_size: u64) -> Result<Self> {
        if !header.magic.starts_with(MAGIC) {
            return Err(Error::Unrecognised);
        }
        if !header.kind.starts_with(TYPE) || !header.subtype.starts_with(GROWING) {
            return Err(Error::Unsupported("a Bochs image that is not a growing disk".into()));
        }
        let version = header.version.get();
        if version != VERSION {
            return Err(Error::Unsupported(format!("version {version:#x} of Bochs images")));
        }
        let entries = u64::from(header.catalogue_entries.get());
        let catalogue = u64::from(header.header_size.get());
        let data = catalogue + entries * 4;
        if data > file_size {
            let what = format!("a catalogue of {entries} entries, which ends at {data}");
            return Err(Error::corrupt(72, what));
        }
        let extent_size = u64::from(header.extent_size.get());
        if !extent_size.is_power_of_two() || !(SECTOR..=1 << 30).contains(&extent_size) {
            return Err(Error::corrupt(80, format!("extents of {extent_size} bytes")));
        }
        let bitmap = u64::from(header.bitmap_size.get());
        if bitmap * 8 < extent_size / SECTOR || bitmap > extent_size {
            let what = format!("a bitmap of {bitmap} bytes for extents of {extent_size}");
            return Err(Error::corrupt(76, what));
        }
        let disk_size = header.disk_size.get();
        if disk_size > entries * extent_size || !disk_size.is_multiple_of(SECTOR) {
            let what = format!("a disk of {disk_size} bytes in {entries} extents");
            return Err(Error::corrupt(88, what));
        }
        let bitmap_room = bitmap.next_multiple_of(SECTOR);
        Ok(Self { disk_size, extent_size, bitmap_room, catalogue, data })
    }

    /// Where the bitmap of the extent with this catalogue entry lies.
    fn bitmap_of(&self, entry: u32) -> u64 {
        self.data + u64::from(entry) * (self.bitmap_room + self.extent_size)
    }
}

#[derive(Clone)]
struct Opened {
    main: SourceHandle,
    shape: Shape,
}

impl Image for Opened {
    fn info(&self) -> ImageInfo {
        ImageInfo::default()
    }

    fn disks(&self) -> Vec<DiskInfo> {
        vec![DiskInfo::new(self.shape.disk_size, SECTOR as u32)]
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        if number == 0 { Ok(Box::new(self.clone())) } else { Err(Error::OutOfRange) }
    }
}

impl Disk for Opened {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let Shape { disk_size, extent_size, catalogue, .. } = self.shape;
        if offset >= disk_size {
            return Err(Error::OutOfRange);
        }
        let first = offset / extent_size;
        let last = offset.saturating_add(length).min(disk_size).div_ceil(extent_size);
        let count = (last - first).clamp(1, WINDOW);
        let table: Vec<U32> = read_table(&*self.main, catalogue + first * 4, count, "catalogue")?;
        let mut extents = Extents::new();
        for (number, entry) in (first..).zip(&table) {
            if extents.len() > 32768 {
                break;
            }
            // An answer's first extent holds the offset that was asked about.
            let from = offset / SECTOR * SECTOR;
            self.push_extent(number * extent_size, entry.get(), from, &mut extents);
        }
        Ok(extents.finish())
    }
}

impl Opened {
    /// The sectors, from `from` on, of one extent of the disk: those that were written are
    /// stored. One whose bitmap cannot be read is damaged, and the rest of the disk is not.
    fn push_extent(&self, start: u64, entry: u32, from: u64, extents: &mut Extents) {
        let Shape { disk_size, extent_size, bitmap_room, .. } = self.shape;
        let end = (start + extent_size).min(disk_size);
        if entry == UNUSED {
            extents.push(start, end - start, Content::Zero);
            return;
        }
        let at = self.shape.bitmap_of(entry);
        let bitmap = match read_bytes(&*self.main, at, bitmap_room, "bitmap") {
            Ok(bitmap) => bitmap,
            Err(error) => {
                extents.push(start, end - start, Content::Damaged(format!("{error}")));
                return;
            }
        };
        for sector in (from.max(start) - start) / SECTOR..(end - start) / SECTOR {
            let bits = bitmap.get((sector / 8) as usize).copied().unwrap_or(0);
            let stored = at + bitmap_room + sector * SECTOR;
            let content = match bits >> (sector % 8) & 1 {
                0 => Content::Zero,
                _ if stored + SECTOR > self.main.size() => {
                    Content::Damaged(format!("a sector past the file's end, at {stored}"))
                }
                _ => Content::Stored(Stored { source: 0, offset: stored, writable: false }),
            };
            extents.push(start + sector * SECTOR, SECTOR, content);
        }
    }
}

fumehood_plugin::export_format!(Bochs);

#[cfg(test)]
mod tests {
    use super::*;
    use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer, read_disk};

    /// A disk of three extents of 4 KiB, of which the second has two sectors.
    fn image() -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..23].copy_from_slice(MAGIC);
        bytes[32..40].copy_from_slice(TYPE);
        bytes[48..56].copy_from_slice(GROWING);
        for (at, value) in [(64, VERSION), (68, 512), (72, 3), (76, 1), (80, 4096), (88, 10240)] {
            bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        bytes.extend([UNUSED, 0, UNUSED].into_iter().flat_map(u32::to_le_bytes));
        bytes.extend([0b1000_0010].into_iter().chain([0; 511]));
        for sector in 0..8 {
            bytes.extend([sector; 512]);
        }
        bytes
    }

    fn open(bytes: Vec<u8>) -> Result<Box<dyn Image>> {
        let main = Rc::new(MemorySource::new(0, "disk.bochs", bytes));
        Bochs::open(main, Rc::new(MemoryHost::new()), OpenOptions::read_only())
    }

    #[test]
    fn written_sectors_are_stored_and_the_rest_is_zero() {
        let bytes = image();
        let mut disk = open(bytes.clone()).unwrap().disk(0).unwrap();
        let answer = disk.extents(0, 10240).unwrap();
        check_answer(&answer, 0, 10240).unwrap();
        let main: SourceHandle = Rc::new(MemorySource::new(0, "disk.bochs", bytes));
        let sources = |id| (id == 0).then(|| main.clone());
        let decode = |_: &_, _: &[u8]| Err(Error::OutOfRange);
        let read = read_disk(&mut *disk, 10240, 0, 10240, &sources, &decode).unwrap();
        // An answer begins where it was asked to, wherever that is.
        for offset in 0..10240 {
            check_answer(&disk.extents(offset, 1).unwrap(), offset, 10240).unwrap();
        }
        let mut expected = vec![0; 10240];
        expected[4608..5120].fill(1);
        expected[7680..8192].fill(7);
        assert_eq!(read, expected);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (at, value) in [(72, u32::MAX), (80, 0), (80, 4095), (76, 0), (88, 1 << 20), (88, 511)]
        {
            let mut bytes = image();
            bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
            let refused = open(bytes).err();
            assert!(matches!(refused, Some(Error::Corrupt { .. })), "{at} {refused:?}");
        }
        for length in 0..524 {
            assert!(open(image()[..length].to_vec()).is_err(), "cut to {length} bytes");
        }
    }
}
