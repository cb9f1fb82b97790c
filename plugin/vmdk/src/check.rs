//! What a check finds: entries that lie where none may, copies of tables that differ,
//! grains that overlap ([`crate::overlap`]). Markers and zlib streams are looked at when
//! grains are read.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Finding, Result};

use crate::overlap::Taken;
use crate::part::{Holding, Part};
use crate::place::Place;
use crate::sparse::Sparse;
use crate::tables::{Found, Tables};

/// The most findings listed.
const FINDING_LIMIT: usize = 1000;
/// The most entries looked at, which bounds the time of the call: 2 TiB in grains of
/// 64 KiB, more where whole tables are absent.
const ENTRY_LIMIT: u64 = 32 << 20;
/// A table counts as so many entries, even where it is absent.
const TABLE_COST: u64 = 8;

/// What came of a look.
pub struct Report {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Whether all of it was looked at.
    pub complete: bool,
}

/// A look at all the tables of the sparse parts, each of them once.
struct Look<'a> {
    tables: &'a mut Tables,
    entries: u64,
    findings: Vec<Finding>,
}

/// A part with grains, and its number.
#[derive(Clone, Copy)]
struct Grains<'a> {
    number: usize,
    part: &'a Part,
    sparse: &'a Sparse,
}

/// The contradictions in the tables of `parts`, up to a limit.
///
/// # Errors
/// What the sources answer.
pub fn check(parts: &[Part], tables: &mut Tables) -> Result<Report> {
    let mut look = Look { tables, entries: ENTRY_LIMIT, findings: Vec::new() };
    for (number, part) in parts.iter().enumerate() {
        if let Holding::Sparse(sparse) = &part.holding {
            look.part(Grains { number, part, sparse })?;
        }
    }
    look.findings.truncate(FINDING_LIMIT);
    Ok(Report { findings: look.findings, complete: look.entries > 0 })
}

impl Look<'_> {
    fn is_over(&self) -> bool {
        self.findings.len() >= FINDING_LIMIT || self.entries == 0
    }

    fn find(&mut self, offset: u64, what: String) {
        if self.findings.len() < FINDING_LIMIT {
            self.findings.push(Finding { offset, what, repaired: false });
        }
    }

    fn part(&mut self, of: Grains) -> Result<()> {
        let Grains { part, sparse, .. } = of;
        // What compressed grains take shows in their markers, which name their grains.
        let mut taken = (!sparse.packed).then(|| Taken::new(sparse.size, sparse.grain));
        let grains = part.length.div_ceil(sparse.grain);
        let (mut grain, mut differing) = (0, None);
        while grain < grains && !self.is_over() {
            let (table, first) = (grain / sparse.entries, grain % sparse.entries);
            let offset = part.start + grain * sparse.grain;
            let (found, differ) = self.look_up(of, table, first)?;
            if differ && differing != Some(table) {
                differing = Some(table);
                self.find(offset, format!("table {table} and its redundant copy differ"));
            }
            grain = match found {
                Found::All(place) => {
                    if let Place::Bad(what) = place {
                        self.find(offset, format!("table {table}: {what}"));
                    }
                    (table + 1) * sparse.entries
                }
                Found::Entries(entries) => {
                    self.grains(of, grain, &entries, taken.as_mut());
                    grain + entries.len() as u64
                }
            };
        }
        for (place, offset) in taken.iter_mut().flat_map(Taken::clashes) {
            self.find(offset, overlap(place));
        }
        Ok(())
    }

    /// What the first readable copy of a table says, and whether another one differs.
    fn look_up(&mut self, of: Grains, table: u64, first: u64) -> Result<(Found, bool)> {
        let Grains { number, sparse, .. } = of;
        self.entries = self.entries.saturating_sub(TABLE_COST);
        let [one, other] = sparse.directories[..] else {
            return self.tables.look_up(number, sparse, table, first).map(|found| (found, false));
        };
        let mut found = self.tables.look_up_in(number, sparse, one, table, first)?;
        let mut copy = self.tables.look_up_in(number, sparse, other, table, first)?;
        // Pages end where they end: what both say is compared.
        if let (Found::Entries(found), Found::Entries(copy)) = (&mut found, &mut copy) {
            let length = found.len().min(copy.len());
            found.truncate(length);
            copy.truncate(length);
        }
        let differ = found != copy;
        let bad = matches!(found, Found::All(Place::Bad(_)));
        Ok((if bad { copy } else { found }, differ))
    }

    /// Looks at the entries of grains from one on.
    fn grains(&mut self, of: Grains, first: u64, entries: &[u64], mut taken: Option<&mut Taken>) {
        let Grains { part, sparse, .. } = of;
        self.entries = self.entries.saturating_sub(entries.len() as u64);
        let grains = part.length.div_ceil(sparse.grain);
        for (grain, entry) in (first..grains).zip(entries).filter(|(_, entry)| **entry != 0) {
            let offset = part.start + grain * sparse.grain;
            match sparse.place(grain, *entry) {
                Place::Bad(what) => self.find(offset, what),
                Place::At(place) => {
                    if let Some(taken) = taken.as_deref_mut()
                        && !taken.take(place, offset)
                    {
                        self.find(offset, overlap(place));
                    }
                }
                Place::Absent | Place::Zero => {}
            }
        }
    }
}

fn overlap(place: u64) -> String {
    format!("the grain at byte {place} overlaps another one")
}
