//! SEsparse extents: deltas of ESXi on VMFS 6. No public text specifies them; the
//! fields are those that QEMU reads, seen in files that ESXi wrote.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::{Error, Result, SourceHandle};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::line::SECTOR;
use crate::place::{Region, Rules};
use crate::sparse::{Sizes, Sparse, bytes, holds};

/// Begins the constant header.
pub const MAGIC: u64 = 0xcafe_babe;
/// Begins the volatile header.
const VOLATILE_MAGIC: u64 = 0xcafe_cafe;
/// The one version known.
const VERSION: u64 = 0x2_0000_0001;
/// Sectors a grain, in every extent known.
const GRAIN: u64 = 8;
/// Sectors a table, in every extent known.
const TABLE: u64 = 64;

/// A part of the file, in sectors.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Span {
    offset: U64,
    length: U64,
}

impl Span {
    fn region(&self) -> Option<Region> {
        let (offset, length) = (bytes(self.offset.get())?, bytes(self.length.get())?);
        Some(Region { offset, length })
    }
}

/// The constant header, as it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Constant {
    magic: U64,
    version: U64,
    capacity: U64,
    grain: U64,
    table: U64,
    flags: U64,
    reserved: [U64; 4],
    volatile: Span,
    journal_header: Span,
    journal: Span,
    directory: Span,
    tables: Span,
    free_map: Span,
    back_map: Span,
    grains: Span,
}

/// The volatile header, as it lies on disk.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Volatile {
    magic: U64,
    free_table: U64,
    next_transaction: U64,
    /// Not 0: changes in the journal are not in the tables yet.
    replay: U64,
}

/// Opens the extent in a source that begins with the magic.
///
/// # Errors
/// As [`Sparse::open`].
pub fn open(source: SourceHandle) -> Result<Sparse> {
    let header: Constant = read_struct(&*source, 0, "SEsparse header")?;
    check_fields(&header)?;
    check_journal(&header, &source)?;
    let entries = TABLE * SECTOR / 8;
    let sizes = Sizes {
        capacity: header.capacity.get(),
        capacity_at: 16,
        grain: GRAIN,
        grain_at: 24,
        entries,
    };
    let (capacity, grain, count) = sizes.check(&*source)?;
    let region = |span: &Span, at: u64, what: &str| {
        let text = || format!("expected {what} inside of a file of {} bytes", source.size());
        span.region().ok_or_else(|| Error::corrupt_in(source.id(), at, text()))
    };
    let directory = region(&header.directory, 128, "a grain directory")?;
    if directory.length < count * 8 || !holds(&*source, directory.offset, count * 8) {
        let (length, size) = (directory.length, source.size());
        let what = format!(
            "expected a grain directory of {} bytes, found {length} at {} of a file of {size}",
            count * 8,
            directory.offset
        );
        return Err(Error::corrupt_in(source.id(), 128, what));
    }
    let tables = region(&header.tables, 144, "grain tables")?;
    let grains = region(&header.grains, 192, "grains")?;
    Ok(Sparse {
        id: source.id(),
        size: source.size(),
        capacity,
        grain,
        entries,
        directories: vec![directory.offset],
        rules: Rules::Numbers { tables, grains },
        packed: false,
        descriptor: None,
        title: "SEsparse".to_string(),
        warnings: vec![],
        source,
    })
}

/// Other values than those known change how the rest is read.
fn check_fields(header: &Constant) -> Result<()> {
    let reserved = header.reserved.iter().any(|word| word.get() != 0);
    for (name, found, known) in [
        ("version", header.version.get(), VERSION),
        ("grain size", header.grain.get(), GRAIN),
        ("table size", header.table.get(), TABLE),
        ("flags", header.flags.get(), 0),
        ("reserved fields", u64::from(reserved), 0),
    ] {
        if found != known {
            let what = format!("an SEsparse extent with {name} {found:#x}, not {known:#x}");
            return Err(Error::Unsupported(what));
        }
    }
    Ok(())
}

fn check_journal(header: &Constant, source: &SourceHandle) -> Result<()> {
    let corrupt = |at, what: String| Err(Error::corrupt_in(source.id(), at, what));
    let Some(at) = bytes(header.volatile.offset.get()) else {
        return corrupt(80, "a volatile header outside of the file".to_string());
    };
    let volatile: Volatile = read_struct(&**source, at, "volatile header")?;
    let magic = volatile.magic.get();
    if magic != VOLATILE_MAGIC {
        return corrupt(at, format!("expected {VOLATILE_MAGIC:#x}, found {magic:#x}"));
    }
    if volatile.replay.get() != 0 {
        let what = "an SEsparse extent that was not closed: its journal is to be replayed";
        return Err(Error::Unsupported(what.into()));
    }
    Ok(())
}
