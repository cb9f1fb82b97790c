//! The disk: from parts and grains to extents.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use fumehood_plugin::{
    Content, Disk, Error, Extent, Extents, Finding, Host, Level, Result, Stored,
};

use crate::check;
use crate::part::{Holding, Part};
use crate::place::Place;
use crate::sparse::Sparse;
use crate::stream::Stream;
use crate::tables::{Found, Tables};

/// An answer stops short at this many extents.
const EXTENT_LIMIT: usize = 16_384;
/// An answer stops short after this many entries; a run of absent grains counts as one.
const ENTRY_LIMIT: u64 = 1 << 18;
/// A table counts as so many entries, for it may have to be read.
const TABLE_COST: u64 = 64;
/// An answer stops short after this many compressed grains, for each has a marker to be
/// read.
const PACKED_LIMIT: u64 = 512;

/// An opened disk.
pub struct Map {
    host: Rc<dyn Host>,
    parts: Rc<[Part]>,
    tables: Tables,
    stream: Stream,
}

/// An answer as far as it has come, and what it may still cost.
struct Answer {
    extents: Extents,
    entries: u64,
    packed: u64,
}

impl Answer {
    fn is_full(&self) -> bool {
        self.extents.len() >= EXTENT_LIMIT || self.entries == 0 || self.packed == 0
    }

    fn spend(&mut self, entries: u64) {
        self.entries = self.entries.saturating_sub(entries);
    }
}

/// A part with grains, and its number.
#[derive(Clone, Copy)]
struct Grains<'a> {
    number: usize,
    part: &'a Part,
    sparse: &'a Sparse,
}

impl Map {
    /// The disk of these parts; reads nothing yet.
    pub fn new(parts: Rc<[Part]>, host: Rc<dyn Host>) -> Self {
        Self { host, parts, tables: Tables::default(), stream: Stream::default() }
    }

    /// Appends what a sparse part holds between two of its own offsets.
    fn add_grains(&mut self, of: Grains, from: u64, to: u64, answer: &mut Answer) -> Result<()> {
        let Grains { number, part, sparse } = of;
        let mut at = from / sparse.grain * sparse.grain;
        while at < to && !answer.is_full() {
            let grain = at / sparse.grain;
            let (table, first) = (grain / sparse.entries, grain % sparse.entries);
            let found = self.tables.look_up(number, sparse, table, first)?;
            answer.spend(TABLE_COST);
            at = match found {
                Found::All(place) => {
                    let end = (table + 1).saturating_mul(sparse.coverage()).min(part.length);
                    let content = whole(place, table);
                    answer.extents.push(part.start + at, end - at, content);
                    end
                }
                Found::Entries(entries) => self.add_entries(of, grain, &entries, to, answer)?,
            };
        }
        Ok(())
    }

    /// Appends grains from `grain` on, whose entries these are, up to an offset of the
    /// part; answers the offset that it came to.
    fn add_entries(
        &mut self,
        of: Grains,
        grain: u64,
        entries: &[u64],
        to: u64,
        answer: &mut Answer,
    ) -> Result<u64> {
        let Grains { number, part, sparse } = of;
        let mut at = grain * sparse.grain;
        let mut rest = entries;
        while let Some(entry) = rest.first()
            && at < to
            && !answer.is_full()
        {
            let grain = at / sparse.grain;
            // Most of a large disk is absent, in long runs.
            let absent = rest.iter().take_while(|entry| **entry == 0).count();
            let count = absent.max(1);
            let content = match sparse.place(grain, *entry) {
                Place::Absent => Content::Absent,
                Place::Zero => Content::Zero,
                Place::Bad(what) => Content::Damaged(what),
                Place::At(_) if sparse.packed => {
                    answer.packed = answer.packed.saturating_sub(1);
                    let next = (grain..).zip(rest);
                    let next =
                        next.filter_map(|(grain, entry)| match sparse.place(grain, *entry) {
                            Place::At(place) => Some(place),
                            _ => None,
                        });
                    self.stream.content(number, sparse, grain, next)?
                }
                Place::At(offset) => stored(sparse.id, offset),
            };
            let end = at.saturating_add(count as u64 * sparse.grain).min(part.length);
            answer.extents.push(part.start + at, end - at, content);
            answer.spend(1);
            at = end;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(at)
    }
}

impl Disk for Map {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let parts = Rc::clone(&self.parts);
        let size = parts.last().map_or(0, Part::end);
        if offset >= size {
            return Err(Error::OutOfRange);
        }
        let to = offset.saturating_add(length.max(1)).min(size);
        let extents = Extents::new();
        let mut answer = Answer { extents, entries: ENTRY_LIMIT, packed: PACKED_LIMIT };
        let first = parts.partition_point(|part| part.end() <= offset);
        for (number, part) in parts.iter().enumerate().skip(first) {
            if part.start >= to || answer.is_full() {
                break;
            }
            let content = match &part.holding {
                Holding::Zero => Content::Zero,
                Holding::Forbidden => {
                    Content::Damaged(format!("the descriptor allows no access to extent {number}"))
                }
                Holding::Flat { source, offset } => stored(*source, *offset),
                Holding::Sparse(sparse) => {
                    let of = Grains { number, part, sparse };
                    let from = offset.saturating_sub(part.start);
                    let end = to.min(part.end()) - part.start;
                    self.add_grains(of, from, end, &mut answer)?;
                    continue;
                }
            };
            answer.extents.push(part.start, part.length, content);
            answer.spend(1);
        }
        Ok(answer.extents.finish())
    }

    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        if repair {
            return Err(Error::ReadOnly);
        }
        let report = check::check(&self.parts, &mut self.tables)?;
        if !report.complete {
            let what = "the tables are too large to be checked in one go: their end was not";
            self.host.log(Level::Warn, what);
        }
        Ok(report.findings)
    }
}

fn stored(source: u32, offset: u64) -> Content {
    Content::Stored(Stored { source, offset, writable: false })
}

/// What is to say of all that a table covers.
fn whole(place: Place, table: u64) -> Content {
    match place {
        Place::Absent => Content::Absent,
        Place::Zero => Content::Zero,
        Place::Bad(what) => Content::Damaged(format!("table {table}: {what}")),
        Place::At(_) => Content::Damaged(format!("table {table} was not read")),
    }
}
