//! A sparse extent of any kind, once its headers are checked: what [`crate::tables`] and
//! [`crate::map`] need to know of it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result, Source, SourceHandle};

use crate::line::SECTOR;
use crate::place::{Place, Rules};
use crate::{cowd, hosted, sesparse, stream};

/// The largest grain in sectors, 1 GiB.
const GRAIN_LIMIT: u64 = 1 << 21;
/// The largest directory in entries.
const DIRECTORY_LIMIT: u64 = 32 << 20;

/// The kinds of sparse extent, by the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Magic {
    /// Of Workstation and its kin, and of exports.
    Hosted,
    /// Of ESX on VMFS up to 5.
    Cowd,
    /// Of ESXi on VMFS 6.
    SeSparse,
}

impl Magic {
    /// The kind that begins so.
    pub fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"KDMV") {
            Some(Magic::Hosted)
        } else if head.starts_with(b"COWD") {
            Some(Magic::Cowd)
        } else if head.starts_with(&sesparse::MAGIC.to_le_bytes()) {
            Some(Magic::SeSparse)
        } else {
            None
        }
    }
}

/// A sparse extent with checked headers.
pub struct Sparse {
    /// The file.
    pub source: SourceHandle,
    /// Its number and its size in bytes, kept because asking for them are calls to the
    /// host.
    pub id: u32,
    /// See [`Sparse::id`].
    pub size: u64,
    /// Bytes of the disk, not always a multiple of the grain.
    pub capacity: u64,
    /// Bytes a grain, a power of two.
    pub grain: u64,
    /// Entries a table, never 0.
    pub entries: u64,
    /// Where its directories lie, the one to trust first; at least one, each of them
    /// wholly inside the source.
    pub directories: Vec<u64>,
    /// How entries are read.
    pub rules: Rules,
    /// Whether grains are compressed, each behind a marker.
    pub packed: bool,
    /// Where a descriptor lies inside, and its length in bytes.
    pub descriptor: Option<(u64, u64)>,
    /// The kind, for people.
    pub title: String,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Sparse {
    /// Opens the extent in a source, whatever its kind; `None` for no sparse extent.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Unsupported`] by the field that says so, or what
    /// the source answers.
    pub fn open(source: SourceHandle) -> Result<Option<Self>> {
        let head = source.read(0, source.size().min(8) as usize)?;
        let Some(magic) = Magic::of(&head) else { return Ok(None) };
        match magic {
            Magic::Hosted => hosted::open(source),
            Magic::Cowd => cowd::open(source),
            Magic::SeSparse => sesparse::open(source),
        }
        .map(Some)
    }

    /// Bytes of the disk that one table covers.
    pub fn coverage(&self) -> u64 {
        self.grain.saturating_mul(self.entries)
    }

    /// Bytes of one table.
    pub fn table_length(&self) -> u64 {
        self.entries * self.rules.width()
    }

    /// Bytes of the disk that a grain holds: the last one may be cut.
    pub fn length_of(&self, grain: u64) -> u64 {
        self.grain.min(self.capacity.saturating_sub(grain.saturating_mul(self.grain)))
    }

    /// The least bytes of the file that a grain takes: of a compressed one, its marker.
    pub fn stored_length(&self, grain: u64) -> u64 {
        if self.packed { stream::MARKER } else { self.length_of(grain) }
    }

    /// What an entry says of a grain.
    pub fn place(&self, grain: u64, entry: u64) -> Place {
        self.rules.grain(entry, self.grain, self.stored_length(grain), self.size)
    }
}

/// Sizes out of a header, checked. Offsets are those of the fields.
pub struct Sizes {
    /// Sectors of the disk.
    pub capacity: u64,
    /// Where that stands.
    pub capacity_at: u64,
    /// Sectors a grain.
    pub grain: u64,
    /// Where that stands.
    pub grain_at: u64,
    /// Entries a table, which the caller has checked.
    pub entries: u64,
}

impl Sizes {
    /// Bytes of the disk, bytes a grain, and entries of the directory.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for what is not possible.
    pub fn check(&self, source: &dyn Source) -> Result<(u64, u64, u64)> {
        let corrupt = |offset, what| Err(Error::corrupt_in(source.id(), offset, what));
        let grain = self.grain;
        if !grain.is_power_of_two() || grain > GRAIN_LIMIT {
            let what =
                format!("expected a power of two up to {GRAIN_LIMIT} sectors, found {grain}");
            return corrupt(self.grain_at, format!("grain size: {what}"));
        }
        let limit = i64::MAX as u64 / SECTOR;
        let capacity = self.capacity;
        if capacity == 0 || capacity > limit {
            let what = format!("expected a capacity from 1 to {limit} sectors, found {capacity}");
            return corrupt(self.capacity_at, what);
        }
        let tables = capacity.div_ceil(grain.saturating_mul(self.entries));
        if tables > DIRECTORY_LIMIT {
            let what = format!("a capacity of {capacity} sectors needs {tables} tables");
            return corrupt(self.capacity_at, what);
        }
        Ok((capacity * SECTOR, grain * SECTOR, tables))
    }
}

/// Bytes that so many sectors are, if that is a possible place or length in a source.
pub fn bytes(sectors: u64) -> Option<u64> {
    sectors.checked_mul(SECTOR)
}

/// Whether a range lies inside a source.
pub fn holds(source: &dyn Source, offset: u64, length: u64) -> bool {
    offset.checked_add(length).is_some_and(|end| end <= source.size())
}
