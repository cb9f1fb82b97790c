//! The segments ("bevies") of all streams, in a table in the scratch: an image of 4 TiB
//! has 131072 of them, and the directory of the zip lists them in any order.
//!
//! Source: AFF4 Standard v1.0a, sections 3 and 6.2.

use alloc::vec::Vec;

use fumehood_plugin::scratch::{Identity, Table};
use fumehood_plugin::{DigestKind, Result, SourceHandle};
use serde::{Deserialize, Serialize};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::names::Part;
use crate::zip::{Member, Method};

/// Of the records and the summary.
const VERSION: u8 = 1;

/// What [`Record::flags`] says: which members there are.
const CHUNKS: u32 = 1;
const INDEX: u32 = 1 << 1;
const OLD_INDEX: u32 = 1 << 2;
const INDEX_DEFLATED: u32 = 1 << 3;
const MD5: u32 = 1 << 4;
const SHA1: u32 = 1 << 5;
const SHA256: u32 = 1 << 6;
const HASHES: u32 = MD5 | SHA1 | SHA256;

#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Record {
    chunks_header: U64,
    chunks_size: U64,
    index_header: U64,
    index_stored: U32,
    index_size: U32,
    hashes_header: U64,
    hashes_size: U32,
    flags: U32,
}

/// The members of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Members {
    /// The chunks.
    pub chunks: Member,
    /// Where each lies, and whether in the way of before the standard.
    pub index: Option<(Member, bool)>,
    /// A digest of each.
    pub hashes: Option<(Member, DigestKind)>,
}

/// What is known besides the records, when all is done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Summary {
    /// For each map, whether its entries are in order as they are stored.
    pub sorted: Vec<bool>,
}

/// The table. Segments have numbers through all streams.
pub struct Segments {
    table: Table<Record>,
}

impl Segments {
    /// An empty one.
    pub fn new(scratch: Option<SourceHandle>, seed: &[u8; 32]) -> Self {
        Self { table: Table::new(scratch, seed) }
    }

    /// The one that an earlier open left in the scratch.
    pub fn load(scratch: &SourceHandle, identity: &Identity) -> Option<(Self, Summary)> {
        let (table, summary) = Table::load(scratch, VERSION, identity)?;
        Some((Self { table }, summary))
    }

    /// Leaves it in the scratch.
    ///
    /// # Errors
    /// What the scratch answers.
    pub fn finish(&mut self, identity: &Identity, summary: &Summary) -> Result<()> {
        self.table.finish(VERSION, identity, summary)
    }

    /// Notes a member of the segment `number`. Members that are stored as nothing here
    /// can read are left out, as if they were not there.
    ///
    /// # Errors
    /// What the scratch answers.
    pub fn add(&mut self, number: u64, part: Part, member: &Member) -> Result<()> {
        let mut record = self.table.get(number)?;
        let flags = record.flags.get();
        let stored = member.method == Method::Stored;
        let size = u32::try_from(member.size).ok();
        let added = match (part, size) {
            (Part::Chunks, _) if stored => {
                record.chunks_header = member.header.into();
                record.chunks_size = member.size.into();
                CHUNKS
            }
            (Part::Index | Part::OldIndex, Some(size)) => {
                let Ok(in_archive) = u32::try_from(member.stored) else { return Ok(()) };
                let deflated = match member.method {
                    Method::Stored => 0,
                    Method::Deflated => INDEX_DEFLATED,
                    Method::Other(_) => return Ok(()),
                };
                record.index_header = member.header.into();
                record.index_stored = in_archive.into();
                record.index_size = size.into();
                deflated | if part == Part::OldIndex { OLD_INDEX } else { INDEX }
            }
            (Part::Hashes(kind), Some(size)) if stored => {
                let flag = flag_of(kind);
                // The cheapest counts.
                if flags & HASHES & (flag | (flag - 1)) != 0 {
                    return Ok(());
                }
                record.hashes_header = member.header.into();
                record.hashes_size = size.into();
                record.flags = U32::new(flags & !HASHES);
                flag
            }
            _ => return Ok(()),
        };
        record.flags = U32::new(record.flags.get() | added);
        self.table.set(number, &record)
    }

    /// The members of the segment `number`; `None` where its chunks are not there.
    ///
    /// # Errors
    /// What the scratch answers.
    pub fn get(&mut self, number: u64) -> Result<Option<Members>> {
        let record = self.table.get(number)?;
        let flags = record.flags.get();
        if flags & CHUNKS == 0 {
            return Ok(None);
        }
        let chunks = member(record.chunks_header, record.chunks_size.get());
        let index = (flags & (INDEX | OLD_INDEX) != 0).then(|| {
            let deflated = flags & INDEX_DEFLATED != 0;
            let index = Member {
                header: record.index_header.get(),
                stored: record.index_stored.get().into(),
                size: record.index_size.get().into(),
                method: if deflated { Method::Deflated } else { Method::Stored },
            };
            (index, flags & INDEX == 0)
        });
        let hashes = kind_of(flags)
            .map(|kind| (member(record.hashes_header, record.hashes_size.get().into()), kind));
        Ok(Some(Members { chunks, index, hashes }))
    }

    /// The first number from `number` on before which no segment is there.
    pub fn skip_missing(&self, number: u64) -> u64 {
        self.table.next_used(number).unwrap_or(u64::MAX)
    }
}

/// A member that is stored as it is.
fn member(header: U64, size: u64) -> Member {
    Member { header: header.get(), stored: size, size, method: Method::Stored }
}

fn flag_of(kind: DigestKind) -> u32 {
    match kind {
        DigestKind::Md5 => MD5,
        DigestKind::Sha1 => SHA1,
        _ => SHA256,
    }
}

fn kind_of(flags: u32) -> Option<DigestKind> {
    let kinds = [(MD5, DigestKind::Md5), (SHA1, DigestKind::Sha1), (SHA256, DigestKind::Sha256)];
    kinds.into_iter().find(|(flag, _)| flags & flag != 0).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_its_members() {
        let mut segments = Segments::new(None, &[0; 32]);
        let part = |header, size| member(U64::new(header), size);
        let index = Member { method: Method::Deflated, stored: 7, ..part(50, 12) };
        segments.add(3, Part::Index, &index).unwrap();
        assert_eq!(segments.get(3).unwrap(), None);
        for (kind, header) in
            [(DigestKind::Sha1, 60), (DigestKind::Md5, 70), (DigestKind::Sha256, 80)]
        {
            segments.add(3, Part::Hashes(kind), &part(header, 16)).unwrap();
        }
        segments.add(3, Part::Chunks, &index).unwrap();
        assert_eq!(segments.get(3).unwrap(), None, "deflated chunks are not there");
        segments.add(3, Part::Chunks, &part(0, 100)).unwrap();
        let expected = Members {
            chunks: part(0, 100),
            index: Some((index, false)),
            hashes: Some((part(70, 16), DigestKind::Md5)),
        };
        assert_eq!(segments.get(3).unwrap(), Some(expected));
        assert_eq!(segments.get(4).unwrap(), None);
        assert_eq!(segments.skip_missing(1 << 20), u64::MAX);
    }
}
