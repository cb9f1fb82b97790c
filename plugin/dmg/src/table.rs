//! A block table, "mish": where the sectors of one partition, or of the room between two,
//! are stored.
//!
//! Source: libmodi, "Universal Disk Image Format", Block table.

use alloc::format;
use alloc::string::String;

use fumehood_plugin::{Error, Result};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, transmute};

use crate::data::Data;
use crate::runs::{Kind, Run, Runs};
use crate::trailer::{Checksum, Place, RawChecksum};

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawTable {
    signature: [u8; 4],
    version: U32,
    first: U64,
    sectors: U64,
    data_offset: U64,
    buffers: U32,
    number: U32,
    reserved: [u8; 24],
    checksum: RawChecksum,
    count: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawRun {
    kind: U32,
    comment: U32,
    first: U64,
    count: U64,
    offset: U64,
    length: U64,
}

/// What is kept of a table besides its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name, such as "disk image (Apple_HFS : 4)"; may be empty.
    pub name: String,
    /// Its first sector on the disk.
    pub first: u64,
    /// How many it describes.
    pub sectors: u64,
    /// Over the decoded bytes of its runs, those of [`Kind::Ignored`] left out.
    pub checksum: Checksum,
    /// What that is taken over, where it is one piece of the disk.
    pub summed: Summed,
}

/// What a table's checksum is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summed {
    /// Nothing at all.
    Nothing,
    /// All sectors from the first number up to the second.
    Piece(u64, u64),
    /// Several pieces.
    Pieces,
}

impl Summed {
    fn and(self, run: &Run) -> Self {
        match (self, run.kind) {
            (summed, Kind::Ignored) => summed,
            (Summed::Nothing, _) => Summed::Piece(run.first, run.end()),
            (Summed::Piece(first, end), _) if end == run.first => Summed::Piece(first, run.end()),
            _ => Summed::Pieces,
        }
    }
}

impl Table {
    /// Reads a table from its resource, and adds its runs to `runs`. What it says of
    /// offsets is relative to `fork`; `at` is where errors are placed.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it is no table, or shorter than it says.
    pub fn read(
        mut data: Data<'_>,
        name: &str,
        fork: Place,
        runs: &mut Runs,
        at: u64,
    ) -> Result<Self> {
        let corrupt = |what: String| Error::corrupt(at, format!("block table {name:?}: {what}"));
        let raw: RawTable = match data.array::<{ size_of::<RawTable>() }>() {
            Some(bytes) => transmute!(bytes),
            None => return Err(corrupt("it is too short, or no base64".into())),
        };
        if &raw.signature != b"mish" || raw.version.get() != 1 {
            let (signature, version) = (raw.signature.escape_ascii(), raw.version.get());
            return Err(corrupt(format!("expected \"mish\" 1, found \"{signature}\" {version}")));
        }
        let (first, sectors, count) = (raw.first.get(), raw.sectors.get(), raw.count.get());
        if u64::from(count) * size_of::<RawRun>() as u64 > data.most() {
            return Err(corrupt(format!("{count} runs in {} bytes", data.most())));
        }
        runs.expect(count as usize)?;
        let base = fork.offset.saturating_add(raw.data_offset.get());
        let mut summed = Summed::Nothing;
        for number in 0..count {
            let entry: RawRun = match data.array::<{ size_of::<RawRun>() }>() {
                Some(bytes) => transmute!(bytes),
                None => return Err(corrupt(format!("it ends before run {number} of {count}"))),
            };
            let Some(run) = entry.run(first, base).map_err(corrupt)? else { continue };
            summed = summed.and(&run);
            runs.push(run, at)?;
        }
        let checksum = raw.checksum.get();
        Ok(Self { name: name.into(), first, sectors, checksum, summed })
    }

    /// The sector behind it.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.sectors)
    }
}

impl RawRun {
    /// The run on the disk, if it is one and has sectors.
    fn run(&self, table: u64, base: u64) -> core::result::Result<Option<Run>, String> {
        let count = self.count.get();
        let Some(kind) = Kind::of(self.kind.get()).filter(|_| count > 0) else { return Ok(None) };
        let first = table.checked_add(self.first.get());
        let first = first.ok_or_else(|| format!("a run at sector {table} + {}", self.first))?;
        // An offset beyond the end of the world is one beyond the end of the file.
        let offset = base.saturating_add(self.offset.get());
        Ok(Some(Run { first, count, offset, length: self.length.get(), kind }))
    }
}
