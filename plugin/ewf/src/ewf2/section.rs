//! Section descriptors of version 2: what stands where in one segment. They stand behind
//! their data, so a segment is walked from its end to its beginning.
//!
//! Source: libewf, "Expert Witness Compression Format version 2", Section descriptor.

use alloc::format;
use alloc::string::{String, ToString};

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Result, Source};
use md5::{Digest, Md5};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::ewf2::header::FIRST_DATA;
use crate::media::hex;
use crate::sealed::read_sealed;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Descriptor {
    kind: U32,
    flags: U32,
    /// Offset of the descriptor before, or 0.
    previous: U64,
    /// Length of the data, padding included.
    size: U64,
    descriptor_size: U32,
    padding_size: U32,
    /// MD5 of the data, padding included.
    integrity: [u8; 16],
    reserved: [u8; 12],
    checksum: U32,
}

/// Length of a descriptor in bytes.
pub const DESCRIPTOR: u64 = size_of::<Descriptor>() as u64;

/// Data flags.
const HASHED: u32 = 1;
const ENCRYPTED: u32 = 2;

/// The longest section that is hashed: that of the longest table that is read, or any text.
const MOST_HASHED: u64 = 17 << 20;
/// Bytes hashed at once.
const STEP: u64 = 64 << 10;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was acquired.
    Device,
    /// For which case, and how.
    Case,
    /// Chunk data.
    SectorData,
    /// Places of chunks.
    SectorTable,
    /// Sectors that could not be read at acquisition.
    ErrorTable,
    /// MD5 of the media.
    Md5,
    /// SHA-1 of the media.
    Sha1,
    /// When the acquisition was begun anew.
    Restart,
    /// What encrypted sections need.
    Keys,
    /// What was learned meanwhile.
    Analysis,
    /// The segment ends and another follows.
    Next,
    /// The set ends.
    Done,
    /// Anything else; skipped.
    Other,
}

impl Kind {
    fn of(number: u32) -> Self {
        match number {
            0x1 => Self::Device,
            0x2 => Self::Case,
            0x3 => Self::SectorData,
            0x4 => Self::SectorTable,
            0x5 => Self::ErrorTable,
            0x8 => Self::Md5,
            0x9 => Self::Sha1,
            0xa => Self::Restart,
            0xb => Self::Keys,
            0xd => Self::Next,
            0xf => Self::Done,
            0x10 => Self::Analysis,
            _ => Self::Other,
        }
    }
}

/// One section; it lies wholly inside its segment, behind the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// What it holds.
    pub kind: Kind,
    /// Offset of its descriptor.
    pub descriptor: u64,
    /// Offset of its data.
    pub data: u64,
    /// Length of its data, padding included.
    pub length: u64,
    /// Offset of the descriptor before; `None` in the first section.
    pub previous: Option<u64>,
    integrity: Option<[u8; 16]>,
}

impl Section {
    /// Reads the last section of a segment.
    ///
    /// # Errors
    /// As [`Section::read`].
    pub fn read_last(source: &dyn Source) -> Result<Self> {
        let at = source.size().saturating_sub(DESCRIPTOR).max(FIRST_DATA);
        Self::read(source, at).map_err(|error| match error {
            Error::Corrupt { source_id, offset, what } if offset == at => {
                let what = format!(
                    "expected the last section descriptor of the segment, which \
                     may have been cut short; {what}"
                );
                Error::Corrupt { source_id, offset, what }
            }
            other => other,
        })
    }

    /// Reads the section whose descriptor stands at `offset`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a descriptor past the end of the segment or with a
    /// wrong checksum, and for a section that does not lie between the one before and its
    /// descriptor; [`Error::Unsupported`] for an encrypted one; or what the source answers.
    pub fn read(source: &dyn Source, offset: u64) -> Result<Self> {
        let found: Descriptor = read_sealed(source, offset, "section descriptor")?;
        let kind = Kind::of(found.kind.get());
        if kind == Kind::Keys || found.flags.get() & ENCRYPTED != 0 {
            let what = "encrypted Ex01, which its vendor does not publish; decrypt it with EnCase";
            return Err(Error::Unsupported(what.to_string()));
        }
        let corrupt = |what: String| Err(Error::corrupt_in(source.id(), offset, what));
        if u64::from(found.descriptor_size.get()) != DESCRIPTOR {
            let size = found.descriptor_size;
            return corrupt(format!("section descriptor of {size} bytes, expected {DESCRIPTOR}"));
        }
        let previous = Some(found.previous.get()).filter(|previous| *previous != 0);
        let least = previous.map_or(FIRST_DATA, |previous| previous.saturating_add(DESCRIPTOR));
        let length = found.size.get();
        let room = offset.checked_sub(least).filter(|_| least >= FIRST_DATA);
        let Some(spare) = room.and_then(|room| room.checked_sub(length)) else {
            return corrupt(format!(
                "section of {length} bytes behind {least}, expected it to end before {offset}"
            ));
        };
        // A restarted acquisition leaves chunks behind that are counted to no section. Any
        // other section would stand in two places, and tools would disagree on which.
        if spare > 0 && length > 0 && kind != Kind::SectorData {
            return corrupt(format!("section of {length} bytes in a place for {spare} more"));
        }
        let integrity = (found.flags.get() & HASHED != 0).then_some(found.integrity);
        Ok(Self { kind, descriptor: offset, data: offset - length, length, previous, integrity })
    }

    /// Compares the data with its hash, if it has one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with both hashes and for a section longer than any that is
    /// verified, or what the source answers.
    pub fn verify(&self, source: &dyn Source) -> Result<()> {
        if self.length > MOST_HASHED {
            let what = format!("section of {} bytes, expected {MOST_HASHED} at most", self.length);
            return Err(Error::corrupt_in(source.id(), self.data, what));
        }
        let Some(stated) = self.integrity else { return Ok(()) };
        let mut hash = Md5::new();
        let mut at = self.data;
        while at < self.descriptor {
            let bytes = read_bytes(source, at, STEP.min(self.descriptor - at), "section data")?;
            hash.update(&bytes);
            at += bytes.len() as u64;
        }
        let computed = hash.finalize();
        if computed[..] == stated {
            return Ok(());
        }
        let (computed, stated) = (hex(&computed), hex(&stated));
        let what = format!("section has MD5 {computed} and states {stated}");
        Err(Error::corrupt_in(source.id(), self.data, what))
    }
}
