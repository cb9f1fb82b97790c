//! The runs of all tables, sorted by where they lie on the disk.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Codec, Content, Encoded, Error, Result, Stored};

use crate::SECTOR;
use crate::trailer::Trailer;

/// Runs of one image: at 40 bytes each, what memory allows.
const MOST_RUNS: usize = 480_000;
/// The longest block that is decoded, in bytes, encoded or not.
const MOST_BLOCK: u64 = 64 << 20;
/// The last sector of a disk whose size in bytes is a number for everyone.
const MOST_SECTORS: u64 = i64::MAX as u64 / SECTOR;

/// What a run holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Zeroes, which the checksums count.
    Zero,
    /// What no one wrote: zeroes, which the checksums do not count.
    Ignored,
    /// Its sectors as they are.
    Stored,
    /// Its sectors behind a codec.
    Packed(Codec),
    /// A type that is not known.
    Unknown(u32),
}

impl Kind {
    /// The kind for a type; `None` for what is no run, a comment or the end.
    pub fn of(number: u32) -> Option<Self> {
        match number {
            0 => Some(Kind::Zero),
            1 => Some(Kind::Stored),
            2 => Some(Kind::Ignored),
            0x7fff_fffe | 0xffff_ffff => None,
            0x8000_0004 => Some(Kind::Packed(Codec::Adc)),
            0x8000_0005 => Some(Kind::Packed(Codec::Zlib)),
            0x8000_0006 => Some(Kind::Packed(Codec::Bzip2)),
            0x8000_0007 => Some(Kind::Packed(Codec::Lzfse)),
            0x8000_0008 => Some(Kind::Packed(Codec::Xz)),
            other => Some(Kind::Unknown(other)),
        }
    }
}

/// A run of sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its first sector.
    pub first: u64,
    /// How many there are, never 0.
    pub count: u64,
    /// Where it is stored, in bytes of the file.
    pub offset: u64,
    /// How many bytes are stored.
    pub length: u64,
    /// What it holds.
    pub kind: Kind,
}

impl Run {
    /// The sector behind it.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }

    /// What a disk holds there. Nothing but the run itself is damaged by what it says:
    /// the rest can be read.
    pub fn content(&self, file_size: u64) -> Content {
        if matches!(self.kind, Kind::Zero | Kind::Ignored) {
            return Content::Zero;
        }
        if let Some(flaw) = self.flaw(file_size) {
            return Content::Damaged(flaw);
        }
        match (self.kind, u32::try_from(self.length), u32::try_from(self.bytes())) {
            (Kind::Packed(codec), Ok(length), Ok(decoded)) => {
                Content::Encoded(Encoded::new(0, self.offset, length, codec, decoded))
            }
            _ => Content::Stored(Stored { source: 0, offset: self.offset, writable: false }),
        }
    }

    /// Why it cannot be read, if it cannot.
    fn flaw(&self, file_size: u64) -> Option<String> {
        let Run { first, count, offset, length, kind } = *self;
        if let Kind::Unknown(number) = kind {
            return Some(format!("a run of the unknown type {number:#x}"));
        }
        if offset.checked_add(length).is_none_or(|end| end > file_size) {
            return Some(format!(
                "the run of sector {first} is {length} bytes at {offset} of a file of {file_size}"
            ));
        }
        let bytes = self.bytes();
        let held = match kind {
            Kind::Stored if length == bytes => return None,
            Kind::Packed(_) if length > 0 && length.max(bytes) <= MOST_BLOCK => return None,
            Kind::Packed(_) if length > 0 => {
                return Some(format!(
                    "the run of sector {first} encodes {bytes} bytes in {length}; {MOST_BLOCK} \
                     are possible"
                ));
            }
            _ => length,
        };
        Some(format!("the run of sector {first} stores {held} bytes for {count} sectors"))
    }

    fn bytes(&self) -> u64 {
        self.count.saturating_mul(SECTOR)
    }
}

/// The runs of a disk, in order.
#[derive(Debug, Default)]
pub struct Runs {
    list: Vec<Run>,
}

impl Runs {
    /// Makes room for `count` runs more.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for more than memory holds.
    pub fn expect(&mut self, count: usize) -> Result<()> {
        let total = self.list.len().saturating_add(count);
        // Exactly, where it is the bulk of them: twice of that might be too much.
        let reserved = if total > MOST_RUNS {
            return Err(too_many(total));
        } else if count > self.list.len() {
            self.list.try_reserve_exact(count)
        } else {
            self.list.try_reserve(count)
        };
        reserved.map_err(|_| too_many(total))
    }

    /// Adds a run that belongs to a table read from about `at`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for one that no disk can have.
    pub fn push(&mut self, run: Run, at: u64) -> Result<()> {
        if run.first.checked_add(run.count).is_none_or(|end| end > MOST_SECTORS) {
            let what = format!("a run of {} sectors from sector {}", run.count, run.first);
            return Err(Error::corrupt(at, what));
        }
        if self.list.len() >= MOST_RUNS {
            return Err(too_many(self.list.len() + 1));
        }
        self.list.push(run);
        Ok(())
    }

    /// Sorts them, and refuses two that claim the same sector.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn sort(&mut self, trailer: &Trailer) -> Result<()> {
        self.list.sort_unstable_by_key(|run| run.first);
        for (one, next) in self.list.iter().zip(self.list.iter().skip(1)) {
            if one.end() > next.first {
                let what = format!(
                    "runs of {} sectors from sector {} and of {} from sector {} overlap",
                    one.count, one.first, next.count, next.first
                );
                return Err(Error::corrupt(trailer.offset, what));
            }
        }
        Ok(())
    }

    /// The sector behind the last run.
    pub fn end(&self) -> u64 {
        self.list.last().map_or(0, Run::end)
    }

    /// All of them.
    pub fn all(&self) -> &[Run] {
        &self.list
    }

    /// The runs from the one that holds `sector`, or is the next behind it, on.
    pub fn from(&self, sector: u64) -> &[Run] {
        let first = self.list.partition_point(|run| run.end() <= sector);
        self.list.get(first..).unwrap_or_default()
    }
}

fn too_many(count: usize) -> Error {
    Error::Unsupported(format!("{count} runs; {MOST_RUNS} are possible"))
}
