//! What the entries of directories and tables mean, kind by kind. Where entries lie is
//! [`crate::sparse`]'s, and reading them [`crate::tables`]'s.

use alloc::format;
use alloc::string::String;

use crate::line::SECTOR;

/// What an entry says of a table or of a grain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Not here: in the parent, if anywhere.
    Absent,
    /// Zeroes.
    Zero,
    /// At this byte of the source, all of it inside.
    At(u64),
    /// The entry contradicts the format; says how.
    Bad(String),
}

/// How entries are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// Sectors of the source, 32 bits; in hosted and COWD extents.
    Sectors {
        /// Whether 1 stands for zeroes.
        zeroes: bool,
        /// The first byte at which a grain may lie.
        data: u64,
    },
    /// Numbers of tables and of grains, with a kind in the highest bits; in SEsparse
    /// extents.
    Numbers {
        /// Where tables lie.
        tables: Region,
        /// Where grains lie.
        grains: Region,
    },
}

/// A part of a source, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Where it begins.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

impl Region {
    /// The item of a number among items of one length, if it lies inside.
    fn item(&self, number: u64, length: u64) -> Option<u64> {
        let start = number.checked_mul(length)?;
        let end = start.checked_add(length)?;
        if end <= self.length { self.offset.checked_add(start) } else { None }
    }
}

/// Highest half of a directory entry that names a table, in an SEsparse extent.
const TABLE_MARK: u64 = 0x1000_0000;

impl Rules {
    /// Bytes an entry.
    pub fn width(&self) -> u64 {
        match self {
            Rules::Sectors { .. } => 4,
            Rules::Numbers { .. } => 8,
        }
    }

    /// What a directory's entry says of a table of `length` bytes in a source of `size`.
    pub fn table(&self, entry: u64, length: u64, size: u64) -> Place {
        match self {
            _ if entry == 0 => Place::Absent,
            Rules::Sectors { zeroes: true, .. } if entry == 1 => Place::Zero,
            Rules::Sectors { .. } => inside(entry.checked_mul(SECTOR), length, size, "table"),
            Rules::Numbers { tables, .. } if entry >> 32 == TABLE_MARK => {
                let offset = tables.item(entry & 0xffff_ffff, length);
                inside(offset, length, size, "table")
            }
            Rules::Numbers { .. } => {
                Place::Bad(format!("expected a table's number, found the entry {entry:#x}"))
            }
        }
    }

    /// What a table's entry says of a grain that takes at least `length` bytes, where
    /// numbered ones begin every `stride`.
    pub fn grain(&self, entry: u64, stride: u64, length: u64, size: u64) -> Place {
        match self {
            _ if entry == 0 => Place::Absent,
            Rules::Sectors { zeroes: true, .. } if entry == 1 => Place::Zero,
            Rules::Sectors { data, .. } => match entry.checked_mul(SECTOR) {
                Some(offset) if offset < *data => Place::Bad(format!(
                    "a grain at byte {offset}, where there is metadata up to {data}"
                )),
                offset => inside(offset, length, size, "grain"),
            },
            Rules::Numbers { grains, .. } => numbered(entry, grains, stride, length, size),
        }
    }
}

/// An entry of an SEsparse table: the kind of grain in the highest 4 bits; of a grain's
/// number, the lowest 12 bits below them and the rest at the bottom.
fn numbered(entry: u64, grains: &Region, stride: u64, length: u64, size: u64) -> Place {
    let number = (entry >> 48 & 0xfff) | (entry & 0xffff_ffff_ffff) << 12;
    match entry >> 60 {
        // Unmapped by the guest, or written with zeroes.
        1 | 2 => Place::Zero,
        3 => inside(grains.item(number, stride), length, size, "grain"),
        _ => Place::Bad(format!("expected a kind of grain from 0 to 3, found {entry:#x}")),
    }
}

fn inside(offset: Option<u64>, length: u64, size: u64, what: &str) -> Place {
    let end = |offset: &u64| offset.checked_add(length).is_some_and(|end| end <= size);
    match offset.filter(end) {
        Some(offset) => Place::At(offset),
        None => Place::Bad(match offset {
            Some(offset) => format!("a {what} at byte {offset} of a file that ends at {size}"),
            None => format!("a {what} outside of its region"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_checked_on_all_sides() {
        let rules = Rules::Sectors { zeroes: true, data: 4096 };
        assert_eq!(rules.grain(0, 4096, 4096, 16384), Place::Absent);
        assert_eq!(rules.grain(1, 4096, 4096, 16384), Place::Zero);
        assert_eq!(rules.grain(8, 4096, 4096, 16384), Place::At(4096));
        assert_eq!(rules.grain(24, 4096, 4096, 16384), Place::At(12288));
        assert!(matches!(rules.grain(7, 4096, 4096, 16384), Place::Bad(_)));
        assert!(matches!(rules.grain(25, 4096, 4096, 16384), Place::Bad(_)));
        assert!(matches!(rules.grain(u64::from(u32::MAX), 4096, 4096, 16384), Place::Bad(_)));
        assert_eq!(rules.table(1, 2048, 16384), Place::Zero);
        assert_eq!(rules.table(28, 2048, 16384), Place::At(14336));
        assert!(matches!(rules.table(29, 2048, 16384), Place::Bad(_)));
        let plain = Rules::Sectors { zeroes: false, data: 4096 };
        assert!(matches!(plain.grain(1, 4096, 4096, 16384), Place::Bad(_)));
    }

    #[test]
    fn numbers_are_put_together_and_checked() {
        let tables = Region { offset: 1 << 20, length: 64 << 10 };
        let grains = Region { offset: 2 << 20, length: u64::MAX >> 8 };
        let rules = Rules::Numbers { tables, grains };
        let size = 1 << 50;
        assert_eq!(rules.table(0x1000_0000_0000_0001, 32768, size), Place::At((1 << 20) + 32768));
        assert!(matches!(rules.table(0x1000_0000_0000_0002, 32768, size), Place::Bad(_)));
        assert!(matches!(rules.table(0x1000_0001_0000_0000, 32768, size), Place::Bad(_)));
        assert!(matches!(rules.table(1, 32768, size), Place::Bad(_)));
        // Number 0x5123: 0x123 below the kind, 5 at the bottom.
        let entry = 0x3123_0000_0000_0005;
        assert_eq!(rules.grain(entry, 4096, 4096, size), Place::At((2 << 20) + 0x5123 * 4096));
        // The disk's last grain may be cut; its number counts whole ones.
        assert_eq!(rules.grain(entry, 4096, 512, size), Place::At((2 << 20) + 0x5123 * 4096));
        assert_eq!(rules.grain(0x1000_0000_0000_0000, 4096, 4096, size), Place::Zero);
        assert_eq!(rules.grain(0x2000_0000_0000_0000, 4096, 4096, size), Place::Zero);
        for bad in [1, 0x4000_0000_0000_0000, u64::MAX, 0x3fff_ffff_ffff_ffff] {
            assert!(matches!(rules.grain(bad, 4096, 4096, size), Place::Bad(_)), "{bad:#x}");
        }
    }
}
