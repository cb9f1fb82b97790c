//! The index: for each chunk with data, where it belongs and where it lies. Disks follow
//! each other, and each one's chunks are in order. A chunk needs 44 bytes, so that a
//! disk of 2 TiB needs 88 MiB of scratch; few of its pages are in memory.

use alloc::vec::Vec;

use fumehood_plugin::scratch::{Identity, Table};
use fumehood_plugin::{Digest, DigestKind, DigestValue, Result, SourceHandle};
use serde::{Deserialize, Serialize};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Of the records and the summary.
const VERSION: u8 = 1;
/// The longest chunk in bytes.
pub const MOST_CHUNK: u64 = 64 << 20;

#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Record {
    offset: U64,
    place: U64,
    length: U32,
    digest_kind: u8,
    reserved: [u8; 3],
    digest: [u8; 20],
}

/// Values of `digest_kind`, and bytes of the digest.
const DIGESTS: [(u8, DigestKind, usize); 2] =
    [(1, DigestKind::Sha1, 20), (2, DigestKind::Xxh64, 8)];

/// A chunk with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its first byte on the disk.
    pub offset: u64,
    /// Its first byte in the archive.
    pub place: u64,
    /// Bytes of it.
    pub length: u32,
    /// Over all of it.
    pub digest: Option<Digest>,
}

impl Chunk {
    /// Where it ends on the disk.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }

    fn record(&self) -> Record {
        let mut record = Record {
            offset: U64::new(self.offset),
            place: U64::new(self.place),
            length: U32::new(self.length),
            digest_kind: 0,
            reserved: [0; 3],
            digest: [0; 20],
        };
        if let Some(Digest { kind, value: DigestValue::Given(value), .. }) = &self.digest
            && let Some((code, _, length)) = DIGESTS.iter().find(|(_, known, _)| known == kind)
            && let Some(place) = record.digest.get_mut(..*length)
            && place.len() == value.len()
        {
            place.copy_from_slice(value);
            record.digest_kind = *code;
        }
        record
    }

    fn of(record: &Record) -> Self {
        let known = DIGESTS.iter().find(|(code, _, _)| *code == record.digest_kind);
        let digest = known.map(|(_, kind, length)| {
            let value = record.digest.get(..*length).unwrap_or_default().to_vec();
            Digest { kind: *kind, value: DigestValue::Given(value), over_decoded: true }
        });
        Self {
            offset: record.offset.get(),
            place: record.place.get(),
            length: record.length.get(),
            digest,
        }
    }
}

/// What is known of one disk when all members have been seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Whether it has any chunk, and be it an empty one.
    pub seen: bool,
    /// The number of its first record.
    pub first: u64,
    /// How many records it has.
    pub count: u64,
    /// Up to where its contents are known.
    pub end: u64,
    /// Bytes of all its chunks.
    pub stored: u64,
    /// Chunks with data that have no checksum.
    pub unchecked: u64,
}

/// What is known of the archive when all members have been seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Where it ends in the middle of a member, if it does.
    pub cut: Option<u64>,
    /// Members that are neither chunks nor checksums nor the manifest.
    pub others: u64,
    /// The length of the archive's first chunk.
    pub chunk: u64,
    /// By disk, in the order of the manifest.
    pub tallies: Vec<Tally>,
}

/// The index of an archive.
pub struct Index {
    table: Table<Record>,
    identity: Identity,
    /// Length of the archive, which is not asked for again with every chunk.
    size: u64,
}

impl Index {
    /// An empty index of the archive of `size` bytes that is identified so.
    pub fn new(
        (identity, size): (Identity, u64),
        scratch: Option<SourceHandle>,
        seed: &[u8; 32],
    ) -> Self {
        Self { table: Table::new(scratch, seed), identity, size }
    }

    /// The index that an earlier open left in the scratch, for disks of these sizes.
    pub fn load(
        (identity, size): (Identity, u64),
        scratch: &SourceHandle,
        sizes: &[u64],
    ) -> Option<(Self, Summary)> {
        let (table, summary): (_, Summary) = Table::load(scratch, VERSION, &identity)?;
        let sane = |(tally, size): (&Tally, &u64)| {
            tally.end <= *size && tally.first.checked_add(tally.count).is_some()
        };
        let fits =
            summary.tallies.len() == sizes.len() && summary.tallies.iter().zip(sizes).all(sane);
        fits.then_some((Self { table, identity, size }, summary))
    }

    /// Leaves it in the scratch.
    ///
    /// # Errors
    /// What the scratch answers.
    pub fn finish(&mut self, summary: &Summary) -> Result<()> {
        self.table.finish(VERSION, &self.identity, summary)
    }

    /// Notes a chunk under the next number.
    ///
    /// # Errors
    /// What the scratch answers; [`fumehood_plugin::Error::Unsupported`] for an index
    /// that has no room.
    pub fn set(&mut self, number: u64, chunk: &Chunk) -> Result<()> {
        self.table.set(number, &chunk.record())
    }

    /// The chunk under a number, which belongs to a disk of `size` bytes.
    ///
    /// # Errors
    /// What the scratch answers; [`fumehood_plugin::Error::Io`] where it cannot be
    /// believed.
    pub fn get(&mut self, number: u64, size: u64) -> Result<Chunk> {
        let chunk = Chunk::of(&self.table.get(number)?);
        let length = u64::from(chunk.length);
        let end = chunk.place.checked_add(length);
        let fits = end.is_some_and(|end| end <= self.size) && chunk.end() <= size;
        if fits && (1..=MOST_CHUNK).contains(&length) { Ok(chunk) } else { Err(self.distrust()) }
    }

    /// Says that a record contradicts others; see [`Table::distrust`].
    pub fn distrust(&mut self) -> fumehood_plugin::Error {
        self.table.distrust()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_a_chunk() {
        assert_eq!(size_of::<Record>(), 44);
        for (kind, length) in [(DigestKind::Sha1, 20), (DigestKind::Xxh64, 8)] {
            let value = DigestValue::Given((0..length).collect());
            let digest = Some(Digest { kind, value, over_decoded: true });
            let chunk = Chunk { offset: 1 << 40, place: 3 << 40, length: 9, digest };
            assert_eq!(Chunk::of(&chunk.record()), chunk);
        }
        let chunk = Chunk { offset: 0, place: 512, length: 1, digest: None };
        assert_eq!(Chunk::of(&chunk.record()), chunk);
    }
}
