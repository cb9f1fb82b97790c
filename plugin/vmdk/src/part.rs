//! The parts that a disk is made of, in order: opening what the extent lines name.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Access, Error, Host, Result, Source};

use crate::descriptor::Descriptor;
use crate::line::{Kind, Line, Permission, SECTOR};
use crate::place::Rules;
use crate::sparse::{Sparse, holds};

/// The smallest granule stated; nothing smaller is allocated anywhere.
const LEAST_GRANULE: u64 = SECTOR;
/// The largest granule stated: flat parts have none, and large grains gain nothing.
const MOST_GRANULE: u64 = 1 << 20;
/// Keeps what the host hands over of flat disks reasonably whole.
const FLAT_GRANULE: u64 = 4096;

/// A run of the disk from one extent line.
pub struct Part {
    /// Its first byte on the disk.
    pub start: u64,
    /// Its bytes, never 0.
    pub length: u64,
    /// What they are.
    pub holding: Holding,
}

impl Part {
    /// The offset just past it.
    pub fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// What a part holds.
pub enum Holding {
    /// Zeroes.
    Zero,
    /// Nothing that may be read.
    Forbidden,
    /// Its bytes as they are, all inside of the source.
    Flat {
        /// Number of the source.
        source: u32,
        /// Where they begin.
        offset: u64,
    },
    /// Grains. The extent has at least the part's bytes.
    Sparse(Sparse),
}

/// The one part of a disk that a sparse extent is.
pub fn single(sparse: Sparse) -> Vec<Part> {
    vec![Part { start: 0, length: sparse.capacity, holding: Holding::Sparse(sparse) }]
}

/// The parts that the descriptor in `main` names.
///
/// # Errors
/// What the host answers where it does not grant a file; [`Error::Corrupt`] for one that
/// is too short or not what the line says; as [`Sparse::open`].
pub fn open_all(descriptor: &Descriptor, main: &dyn Source, host: &dyn Host) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut start = 0u64;
    for line in &descriptor.lines {
        let length = line.sectors.checked_mul(SECTOR);
        let end = length.and_then(|length| start.checked_add(length));
        let end = end
            .filter(|end| *end <= i64::MAX as u64)
            .ok_or_else(|| Error::corrupt_in(main.id(), 0, "extents of more than 2^63 bytes"))?;
        let length = end - start;
        parts.push(Part { start, length, holding: open(line, length, host)? });
        start = end;
    }
    if parts.is_empty() {
        return Err(Error::corrupt_in(main.id(), 0, "a descriptor without extent lines"));
    }
    Ok(parts)
}

fn open(line: &Line, length: u64, host: &dyn Host) -> Result<Holding> {
    match line.kind {
        _ if line.permission == Permission::None => Ok(Holding::Forbidden),
        Kind::Zero => Ok(Holding::Zero),
        Kind::Flat { first } => open_flat(line, first, length, host),
        Kind::Sparse | Kind::SeSparse => open_sparse(line, length, host),
    }
}

fn open_flat(line: &Line, first: u64, length: u64, host: &dyn Host) -> Result<Holding> {
    let source = host.open(&line.file, Access::Read)?;
    let offset = first.checked_mul(SECTOR).filter(|offset| holds(&*source, *offset, length));
    let offset = offset.ok_or_else(|| {
        let what = format!(
            "expected {length} bytes from sector {first} on, found a file of {}",
            source.size()
        );
        Error::corrupt_in(source.id(), source.size(), what)
    })?;
    Ok(Holding::Flat { source: source.id(), offset })
}

fn open_sparse(line: &Line, length: u64, host: &dyn Host) -> Result<Holding> {
    let source = host.open(&line.file, Access::Read)?;
    let wanted = line.kind == Kind::SeSparse;
    let corrupt = |offset, what: String| Err(Error::corrupt_in(source.id(), offset, what));
    let Some(sparse) = Sparse::open(source.clone())? else {
        return corrupt(0, "expected a sparse extent, found another file".into());
    };
    if matches!(sparse.rules, Rules::Numbers { .. }) != wanted {
        let what = format!("expected the kind of extent in its line, found {}", sparse.title);
        return corrupt(0, what);
    }
    if sparse.capacity < length {
        let what = format!("expected an extent of {length} bytes, found {}", sparse.capacity);
        return corrupt(12, what);
    }
    Ok(Holding::Sparse(sparse))
}

/// Bytes of a granule of the disk: of a size and alignment by which no granule lies in
/// two grains or parts.
pub fn granularity(parts: &[Part]) -> u32 {
    let mut granule = FLAT_GRANULE;
    let sparse = |part: &Part| match &part.holding {
        Holding::Sparse(sparse) => Some(sparse.grain),
        _ => None,
    };
    if let Some(grain) = parts.iter().filter_map(sparse).min() {
        granule = grain.min(MOST_GRANULE);
    }
    for part in parts {
        while granule > LEAST_GRANULE && !part.start.is_multiple_of(granule) {
            granule /= 2;
        }
    }
    // At most MOST_GRANULE.
    granule as u32
}
