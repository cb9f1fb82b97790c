//! Reading all headers of the archive once, a bounded number of them a step, and
//! counting as the importer does:
//!
//! A disk's chunks come with ascending numbers. The offset grows by the length of each,
//! and for each number that is left out by the length of the *archive's first* chunk.
//! An empty chunk has a number all the same (it is sent when nothing else was for some
//! seconds), so a number does not tell an offset.
//!
//! Source: xen-api, `stream_vdi.ml`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::ops::ControlFlow;

use fumehood_plugin::{DigestKind, Error, Progress, Result, Source};

use crate::index::{Chunk, Index, MOST_CHUNK, Summary, Tally};
use crate::manifest::Vdi;
use crate::member::{Role, digest};
use crate::text::harmless;
use crate::walk::{Found, Next, Walk};

/// Members a step: seconds where each pair of them costs a movement of a disk's arm.
const MEMBERS: usize = 512;
/// The longest text of a checksum.
const MOST_CHECKSUM: u64 = 64;

/// A scan on its way.
pub struct Scan {
    /// What is known so far.
    pub index: Index,
    /// Likewise.
    pub summary: Summary,
    walk: Walk,
    done: bool,
    /// The next record's number.
    records: u64,
    current: Option<Current>,
    pending: Option<Pending>,
    /// Places of disks by their folders.
    places: BTreeMap<String, usize>,
}

/// The disk whose chunks come now.
struct Current {
    disk: usize,
    /// The lowest number that may come.
    next: u64,
}

/// A chunk whose checksum may come next.
struct Pending {
    disk: usize,
    number: u64,
    /// `None` for an empty one.
    chunk: Option<Chunk>,
}

impl Scan {
    /// A scan behind the manifest, which `walk` has passed.
    pub fn new(walk: Walk, vdis: &[Vdi], index: Index) -> Self {
        let tallies = vdis.iter().map(|_| Tally::default()).collect();
        let places = vdis.iter().enumerate().map(|(place, vdi)| (vdi.id.clone(), place)).collect();
        Self {
            index,
            summary: Summary { tallies, ..Summary::default() },
            walk,
            done: false,
            records: 0,
            current: None,
            pending: None,
            places,
        }
    }

    /// Goes on for a step; breaks where the scan is done.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a member contradicts the format or the manifest, and what
    /// the sources answer.
    pub fn step(&mut self, main: &dyn Source, vdis: &[Vdi]) -> Result<ControlFlow<()>> {
        for _ in 0..MEMBERS {
            if self.done {
                break;
            }
            let at = self.walk.at();
            match self.walk.next(main)? {
                Next::Member(found) => self.member(main, vdis, &found)?,
                end => {
                    self.summary.cut = (end == Next::Cut).then_some(at);
                    self.settle()?;
                    self.index.finish(&self.summary)?;
                    self.done = true;
                }
            }
        }
        Ok(if self.done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// How far it is, in bytes of the archive.
    pub fn progress(&self, main: &dyn Source) -> Progress {
        let total = main.size().saturating_add(1024);
        let done = if self.done { total } else { self.walk.at() };
        Progress { done, total }
    }

    fn member(&mut self, main: &dyn Source, vdis: &[Vdi], found: &Found) -> Result<()> {
        let role = Role::of(&found.name, found.header)?;
        let (Role::Chunk(folder, number) | Role::Checksum(folder, number, _)) = role else {
            self.summary.others += u64::from(found.is_file);
            return Ok(());
        };
        let corrupt = |what: &str| {
            let name = harmless(&found.name);
            Err(Error::corrupt(found.header, format!("member {name} {what}")))
        };
        let Some(disk) = self.places.get(folder).copied() else {
            return corrupt("is of no disk in ova.xml");
        };
        if !found.is_file {
            return corrupt("is no file");
        }
        match role {
            Role::Checksum(_, _, kind) => self.checksum(main, found, (disk, number), kind),
            _ => self.chunk(vdis, found, disk, number),
        }
    }

    /// Takes chunk `number` of a disk.
    fn chunk(&mut self, vdis: &[Vdi], found: &Found, disk: usize, number: u64) -> Result<()> {
        self.settle()?;
        let name = harmless(&found.name);
        let corrupt = |what: String| Error::corrupt(found.header, format!("chunk {name} {what}"));
        let (Some(vdi), Some(tally)) = (vdis.get(disk), self.summary.tallies.get_mut(disk)) else {
            return Err(Error::OutOfRange);
        };
        if found.size > MOST_CHUNK {
            let what = format!("a chunk of {} bytes, over {MOST_CHUNK}", found.size);
            return Err(Error::Unsupported(what));
        }
        if self.summary.chunk == 0 {
            if found.size == 0 {
                return Err(corrupt("is the first and empty".into()));
            }
            self.summary.chunk = found.size;
        }
        let next = match &self.current {
            Some(current) if current.disk == disk => current.next,
            _ if tally.seen => {
                return Err(corrupt("is not among the others of its disk".into()));
            }
            _ => {
                *tally = Tally { seen: true, first: self.records, ..Tally::default() };
                0
            }
        };
        let Some(skipped) = number.checked_sub(next) else {
            return Err(corrupt(format!("comes where {next} or a later one should")));
        };
        // Neither product nor sum can overflow: below 2^31 × 2^26, and 2^63 before.
        let offset = tally.end + skipped * self.summary.chunk;
        let end = offset + found.size;
        if end > vdi.size {
            let size = vdi.size;
            return Err(corrupt(format!("reaches to {end} of a disk of {size} bytes")));
        }
        tally.end = end;
        tally.stored += found.size;
        let length = u32::try_from(found.size).map_err(|_| Error::OutOfRange)?;
        let chunk = Chunk { offset, place: found.data, length, digest: None };
        self.current = Some(Current { disk, next: number + 1 });
        let chunk = (length > 0).then_some(chunk);
        self.pending = Some(Pending { disk, number, chunk });
        Ok(())
    }

    /// Takes the checksum of the chunk before it.
    fn checksum(
        &mut self,
        main: &dyn Source,
        found: &Found,
        (disk, number): (usize, u64),
        kind: DigestKind,
    ) -> Result<()> {
        let expected = self.pending.take();
        let expected = expected.filter(|pending| (pending.disk, pending.number) == (disk, number));
        let Some(mut pending) = expected else {
            let what = format!("checksum {} does not follow its chunk", harmless(&found.name));
            return Err(Error::corrupt(found.header, what));
        };
        let text = self.walk.read(main, found.data, found.size.min(MOST_CHECKSUM + 1))?;
        let digest = digest(kind, &text.unwrap_or_default(), found.data)?;
        if let Some(chunk) = &mut pending.chunk {
            chunk.digest = Some(digest);
        }
        self.pending = Some(pending);
        self.settle()
    }

    /// Notes the chunk whose checksum has come, or will not.
    fn settle(&mut self) -> Result<()> {
        let Some(Pending { disk, chunk: Some(chunk), .. }) = self.pending.take() else {
            return Ok(());
        };
        self.index.set(self.records, &chunk)?;
        self.records += 1;
        if let Some(tally) = self.summary.tallies.get_mut(disk) {
            tally.count += 1;
            tally.unchecked += u64::from(chunk.digest.is_none());
        }
        Ok(())
    }
}
