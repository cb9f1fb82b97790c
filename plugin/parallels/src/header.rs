//! The header of an expanding image (`.hds`), of both generations, checked once. The
//! table behind it is for [`crate::table`].
//!
//! Source: QEMU, "Parallels Expandable Image File Format", section "Header", and what
//! is found in images of Parallels Desktop.

use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes a sector, in which the format counts.
pub const SECTOR: u64 = 512;
/// Bytes of the header, behind which the table begins.
pub const HEADER_SIZE: u64 = 64;
/// Bytes an entry of the table.
pub const ENTRY_SIZE: u64 = 4;

const FIRST_MAGIC: &[u8; 16] = b"WithoutFreeSpace";
const SECOND_MAGIC: &[u8; 16] = b"WithouFreSpacExt";
const VERSION: u32 = 2;
/// In use: the image is open, or was not closed.
const OPEN: u32 = 0x746f_6e59;
/// The flag of an image that was never written to.
const EMPTY: u32 = 1;
/// More would not fit QEMU's arithmetic, and no writer comes near.
const CLUSTER_SECTORS_LIMIT: u32 = i32::MAX as u32 / 513;

/// As it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 16],
    version: U32,
    heads: U32,
    cylinders: U32,
    cluster_sectors: U32,
    entries: U32,
    sectors: U64,
    in_use: U32,
    data_offset: U32,
    flags: U32,
    extension_offset: U64,
}

/// Which of the two layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Table entries count sectors.
    First,
    /// Table entries count clusters.
    Second,
}

impl Generation {
    /// By the first bytes of a file, as far as they are there.
    pub fn of(head: &[u8]) -> Option<Self> {
        let (magic, version) = (head.get(..16)?, head.get(16..20)?);
        match magic {
            _ if version != VERSION.to_le_bytes() => None,
            _ if magic == FIRST_MAGIC => Some(Self::First),
            _ if magic == SECOND_MAGIC => Some(Self::Second),
            _ => None,
        }
    }
}

/// A header that holds no contradiction.
#[derive(Debug, Clone)]
pub struct Header {
    /// Which layout.
    pub generation: Generation,
    /// Bytes a cluster, a multiple of a sector.
    pub cluster: u64,
    /// Entries of the table; all of them lie in the file, and they cover the disk.
    pub entries: u64,
    /// Size of the disk in bytes.
    pub size: u64,
    /// Where clusters begin, by the header; behind the table.
    pub data_start: u64,
    /// Where the format extension lies, if there is one.
    pub extension: Option<u64>,
    /// Nothing was ever written.
    pub empty: bool,
    in_use: u32,
}

impl Header {
    /// Reads and checks the header of `source`.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] for another magic or version, [`Error::Corrupt`] by the
    /// field that contradicts.
    pub fn read(source: &dyn Source) -> Result<Self> {
        let raw: RawHeader = read_struct(source, 0, "header")?;
        let mut head = [0; 20];
        let (magic, version) = head.split_at_mut(16);
        magic.copy_from_slice(&raw.magic);
        version.copy_from_slice(&raw.version.get().to_le_bytes());
        let generation = Generation::of(&head).ok_or(Error::Unrecognised)?;
        let corrupt = |offset, what: String| Err(Error::corrupt_in(source.id(), offset, what));

        let sectors = raw.cluster_sectors.get();
        if !(1..=CLUSTER_SECTORS_LIMIT).contains(&sectors) {
            return corrupt(28, format!("clusters of {sectors} sectors"));
        }
        let cluster = u64::from(sectors) * SECTOR;
        let entries = u64::from(raw.entries.get());
        let table_end = HEADER_SIZE + entries * ENTRY_SIZE;
        if table_end > source.size() {
            let size = source.size();
            return corrupt(32, format!("a table of {entries} entries in a file of {size} bytes"));
        }
        // The upper half is not defined in the first generation.
        let total = match generation {
            Generation::First => raw.sectors.get() & u64::from(u32::MAX),
            Generation::Second => raw.sectors.get(),
        };
        let covered = entries * cluster;
        let Some(size) = total.checked_mul(SECTOR).filter(|size| *size <= covered) else {
            let what = format!("{total} sectors, and a table that covers {}", covered / SECTOR);
            return corrupt(36, what);
        };
        if size > i64::MAX as u64 {
            return corrupt(36, format!("a disk of {total} sectors"));
        }
        let data_start = match u64::from(raw.data_offset.get()) * SECTOR {
            0 if generation == Generation::First => table_end.next_multiple_of(SECTOR),
            start if start < table_end => {
                return corrupt(48, format!("clusters from {start} on, a table up to {table_end}"));
            }
            start => start,
        };
        let extension = match raw.extension_offset.get() {
            0 => None,
            offset => Some(offset.saturating_mul(SECTOR)),
        };
        let (empty, in_use) = (raw.flags.get() & EMPTY != 0, raw.in_use.get());
        Ok(Self { generation, cluster, entries, size, data_start, extension, empty, in_use })
    }

    /// Bytes of the file that header and table take.
    pub fn table_end(&self) -> u64 {
        HEADER_SIZE + self.entries * ENTRY_SIZE
    }

    /// Where the file holds what a table entry names; `None` where it names nothing.
    pub fn place(&self, entry: u32) -> Option<u64> {
        // Less than 2^32 times 2^31.
        (entry != 0).then(|| u64::from(entry) * self.unit())
    }

    /// Bytes in which table entries count.
    pub fn unit(&self) -> u64 {
        match self.generation {
            Generation::First => SECTOR,
            Generation::Second => self.cluster,
        }
    }

    /// Whether the image is open elsewhere, or was not closed.
    pub fn is_open(&self) -> bool {
        self.in_use == OPEN
    }

    /// Who closed the image last: four letters that differ by product.
    pub fn closed_by(&self) -> Option<String> {
        let letters = self.in_use.to_le_bytes();
        let plain = letters.iter().all(u8::is_ascii_graphic) && !self.is_open();
        let text = core::str::from_utf8(&letters).ok().filter(|_| plain);
        text.map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use fumehood_plugin::memory::MemorySource;

    use super::*;

    fn bytes(magic: &[u8; 16], in_use: u32) -> Vec<u8> {
        let mut bytes = magic.to_vec();
        for word in [2, 16, 1, 8, 4, 30, 9, in_use, 1, 0, 0, 0] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.resize(512, 0);
        bytes
    }

    #[test]
    fn the_generations_differ_in_size_and_entries() {
        let first = MemorySource::new(0, "a", bytes(FIRST_MAGIC, OPEN));
        let header = Header::read(&first).unwrap();
        assert_eq!((header.size, header.cluster), (30 * 512, 8 * 512));
        assert_eq!(header.place(3), Some(3 * 512));
        assert!(header.is_open() && header.closed_by().is_none());
        // 9 << 32 sectors more.
        let second = MemorySource::new(0, "a", bytes(SECOND_MAGIC, 0x3731_6470));
        assert!(matches!(Header::read(&second), Err(Error::Corrupt { offset: 36, .. })));
        let mut small = bytes(SECOND_MAGIC, 0x3731_6470);
        small[40] = 0;
        let header = Header::read(&MemorySource::new(0, "a", small)).unwrap();
        assert_eq!((header.place(3), header.place(0)), (Some(3 * 4096), None));
        assert_eq!(header.closed_by().as_deref(), Some("pd17"));
    }
}
