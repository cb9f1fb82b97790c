//! Section descriptors: what stands where in one segment. Which sections a set
//! must have, and in what order, is [`crate::evidence`]'s.
//!
//! Source: libewf, "Expert Witness Compression Format", Section descriptor and
//! Section types.

use alloc::format;

use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::sealed::read_sealed;

/// The start of every section.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Descriptor {
    kind: [u8; 16],
    next: U64,
    size: U64,
    padding: [u8; 40],
    checksum: U32,
}

const DESCRIPTOR: u64 = size_of::<Descriptor>() as u64;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Case notes, one byte a character.
    Header,
    /// Case notes in UTF-16.
    Header2,
    /// Case notes in XML (EWF-X).
    XmlHeader,
    /// Digests in XML (EWF-X).
    XmlHash,
    /// The media's measures; `volume` and `disk` mean the same.
    Volume,
    /// A copy of the measures.
    Data,
    /// Chunk data.
    Sectors,
    /// Chunk offsets.
    Table,
    /// A mirror of the table before.
    Table2,
    /// MD5 of the media.
    Hash,
    /// MD5 and SHA-1 of the media.
    Digest,
    /// Sectors that could not be read at acquisition.
    Error2,
    /// The segment ends and another follows.
    Next,
    /// The set ends.
    Done,
    /// Anything else; skipped.
    Other,
}

impl Kind {
    fn of(name: &[u8; 16]) -> Self {
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        match name.get(..length).unwrap_or_default() {
            b"header" => Self::Header,
            b"header2" => Self::Header2,
            b"xheader" => Self::XmlHeader,
            b"xhash" => Self::XmlHash,
            b"volume" | b"disk" => Self::Volume,
            b"data" => Self::Data,
            b"sectors" => Self::Sectors,
            b"table" => Self::Table,
            b"table2" => Self::Table2,
            b"hash" => Self::Hash,
            b"digest" => Self::Digest,
            b"error2" => Self::Error2,
            b"next" => Self::Next,
            b"done" => Self::Done,
            _ => Self::Other,
        }
    }

    /// Whether the segment ends with this section.
    pub fn ends_segment(self) -> bool {
        matches!(self, Self::Next | Self::Done)
    }
}

/// One section; it lies wholly inside its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// What it holds.
    pub kind: Kind,
    /// Offset of its descriptor in the segment.
    pub start: u64,
    /// Offset just past it, where the next descriptor stands.
    pub end: u64,
    /// The size it states besides; 0 where it states none.
    size: u64,
}

impl Section {
    /// Reads the descriptor at `start`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a descriptor past the end of the segment or with a
    /// wrong checksum, and for a section that ends before it began or outside
    /// the segment; or what the source answers.
    pub fn read(source: &dyn Source, start: u64) -> Result<Self> {
        let descriptor: Descriptor = read_sealed(source, start, "section descriptor")?;
        let kind = Kind::of(&descriptor.kind);
        let least = start.saturating_add(DESCRIPTOR);
        // The last section of a segment points at itself or just past itself.
        let end = if kind.ends_segment() { least } else { descriptor.next.get() };
        if end < least || end > source.size() {
            let size = source.size();
            let what = format!("section ends at {end}, expected between {least} and {size}");
            return Err(Error::corrupt_in(source.id(), start, what));
        }
        Ok(Self { kind, start, end, size: descriptor.size.get() })
    }

    /// Refuses a section whose two statements of its length differ: with such
    /// sections one file can hold two images, and tools would disagree on which.
    ///
    /// # Errors
    /// [`Error::Corrupt`] in the source numbered `source_id`.
    pub fn require_one_length(&self, source_id: u32) -> Result<()> {
        let length = self.end - self.start;
        if self.size == 0 || self.size == length || self.kind.ends_segment() {
            return Ok(());
        }
        let what = format!("section states a size of {} and ends after {length}", self.size);
        Err(Error::corrupt_in(source_id, self.start, what))
    }

    /// Offset of what follows the descriptor.
    pub fn payload(&self) -> u64 {
        self.start + DESCRIPTOR
    }

    /// Length in bytes of what follows the descriptor.
    pub fn payload_length(&self) -> u64 {
        self.end - self.payload()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use fumehood_plugin::memory::MemorySource;

    use super::*;

    fn descriptor(name: &str, next: u64, size: u64) -> Vec<u8> {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(16, 0);
        bytes.extend(next.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.resize(72, 0);
        bytes.extend(adler2::adler32_slice(&bytes).to_le_bytes());
        bytes
    }

    fn read(name: &str, next: u64, size: u64) -> Result<Section> {
        let mut bytes = descriptor(name, next, size);
        bytes.resize(200, 0);
        let source = MemorySource::new(0, "x", bytes);
        let section = Section::read(&source, 0)?;
        section.require_one_length(0).map(|()| section)
    }

    #[test]
    fn sections_lie_inside_and_move_on() {
        let table = read("table", 200, 0).unwrap();
        assert_eq!((table.kind, table.payload(), table.payload_length()), (Kind::Table, 76, 124));
        assert!(read("disk", 200, 200).is_ok());
        assert!(read("disk", 200, 199).is_err());
        for next in [0, 75, 201, u64::MAX] {
            assert!(matches!(read("table", next, 0), Err(Error::Corrupt { offset: 0, .. })));
        }
        for (next, size) in [(0, 0), (0, 76), (76, 76)] {
            assert_eq!(read("done", next, size).unwrap().end, 76);
        }
        assert_eq!(read("novel", 100, 100).unwrap().kind, Kind::Other);
    }
}
