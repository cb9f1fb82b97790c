//! COWD extents (libvmdk, "COWD sparse extent data file"): deltas of ESX on VMFS up to
//! version 5. The parent that the header may name is the descriptor's to name.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, SourceHandle};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::line::SECTOR;
use crate::place::Rules;
use crate::sparse::{Sizes, Sparse, holds};

/// Entries of every table.
const ENTRIES: u64 = 4096;
/// Flag: a tool found a contradiction.
const INCONSISTENT: u32 = 4;

/// The header, as it lies on disk. Sizes and offsets are in sectors.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    version: U32,
    flags: U32,
    capacity: U32,
    grain: U32,
    directory: U32,
    directory_entries: U32,
    next_free: U32,
    /// Geometry, or the name of a parent and its generation.
    root_or_child: [u8; 1028],
    generation: U32,
    name: [u8; 60],
    description: [u8; 512],
    saved_generation: U32,
    reserved: [u8; 8],
    unclean: U32,
    padding: [u8; 396],
}

/// Opens the extent in a source that begins with the magic.
///
/// # Errors
/// As [`Sparse::open`].
pub fn open(source: SourceHandle) -> Result<Sparse> {
    let header: Header = read_struct(&*source, 0, "COWD header")?;
    let version = header.version.get();
    if version != 1 {
        return Err(Error::Unsupported(format!("a COWD extent of version {version}")));
    }
    let sizes = Sizes {
        capacity: header.capacity.get().into(),
        capacity_at: 12,
        grain: header.grain.get().into(),
        grain_at: 16,
        entries: ENTRIES,
    };
    let (capacity, grain, tables) = sizes.check(&*source)?;
    let count = u64::from(header.directory_entries.get());
    if count < tables {
        let what = format!("expected a directory of {tables} entries, found one of {count}");
        return Err(Error::corrupt_in(source.id(), 24, what));
    }
    let (directory, length) = (u64::from(header.directory.get()) * SECTOR, count * 4);
    if directory < size_of::<Header>() as u64 || !holds(&*source, directory, length) {
        let size = source.size();
        let what = format!("a directory of {length} bytes at {directory} of a file of {size}");
        return Err(Error::corrupt_in(source.id(), 20, what));
    }
    let mut warnings = Vec::new();
    let name = source.name();
    if header.unclean.get() != 0 {
        warnings.push(format!("{name} was not closed properly: its tables may be stale"));
    }
    if header.flags.get() & INCONSISTENT != 0 {
        warnings.push(format!("{name} was marked as inconsistent"));
    }
    Ok(Sparse {
        id: source.id(),
        size: source.size(),
        capacity,
        grain,
        entries: ENTRIES,
        directories: vec![directory],
        rules: Rules::Sectors { zeroes: false, data: directory + length },
        packed: false,
        descriptor: None,
        title: "COWD".to_string(),
        warnings,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_its_size() {
        assert_eq!(core::mem::offset_of!(Header, generation), 1060);
        assert_eq!(core::mem::offset_of!(Header, unclean), 1648);
        assert_eq!(size_of::<Header>(), 2048);
    }
}
