//! The files of a set: the one that was opened, and while streams are lost, those whose
//! names continue its series. Each is listed, and its turtle read.
//!
//! Source: AFF4 Standard v1.0a, section 7.1.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use fumehood_plugin::text::brief;
use fumehood_plugin::{Access, Error, Host, Result, SourceHandle};
use md5::{Digest, Md5};

use crate::naming::Series;
use crate::plan::Plan;
use crate::volume::{Volume, Walk};

/// The most files of a set.
const MOST_VOLUMES: usize = 32;
/// Bytes that what the turtles say may cost.
const BUDGET: usize = 12 << 20;

/// Files on their way.
pub struct Gather {
    host: Rc<dyn Host>,
    /// Those that are part of the set.
    pub volumes: Vec<Volume>,
    /// What they add up to.
    pub plan: Plan,
    /// What is wrong with other files.
    pub notes: Vec<String>,
    /// Over the directories of all files.
    pub digest: Md5,
    budget: usize,
    listing: Option<(Volume, Walk)>,
    search: Option<Search>,
}

/// Where in a series the next file is looked for: upwards until one is missing, then
/// downwards.
struct Search {
    series: Series,
    next: Option<u32>,
    upwards: bool,
}

impl Gather {
    /// The files of the set that `main` belongs to.
    ///
    /// # Errors
    /// As [`Volume::open`].
    pub fn new(main: SourceHandle, host: Rc<dyn Host>) -> Result<Self> {
        let volume = Volume::open(main)?;
        let search = Series::of(&volume.name).map(|series| Search {
            next: series.number.checked_add(1),
            series,
            upwards: true,
        });
        let walk = Walk::new(&volume.directory);
        Ok(Self {
            host,
            volumes: Vec::new(),
            plan: Plan::default(),
            notes: Vec::new(),
            digest: Md5::new(),
            budget: BUDGET,
            listing: Some((volume, walk)),
            search,
        })
    }

    /// Bytes of directories that are left, as far as they are known.
    pub fn left(&self) -> u64 {
        let listed: u64 = self.volumes.iter().map(|volume| volume.directory.size).sum();
        listed
            + self.listing.as_ref().map_or(0, |(volume, walk)| volume.directory.size + walk.left())
    }

    /// Goes on for a step; breaks where all files are found.
    ///
    /// # Errors
    /// What is wrong with the main file, or with the set as a whole, and [`Error::Io`] of
    /// any file.
    pub fn step(&mut self) -> Result<ControlFlow<()>> {
        if let Some((volume, walk)) = self.listing.take() {
            let name = volume.name.clone();
            let before = self.volumes.len();
            match self.list(volume, walk) {
                // Another file does no harm; what is wrong with the main one is an error, and
                // so is one that cannot be read now, as it may be the next time.
                Err(error) if before > 0 && !matches!(error, Error::Io(_)) => {
                    self.volumes.truncate(before);
                    self.note(&name, &error);
                }
                answer => answer?,
            }
            return Ok(ControlFlow::Continue(()));
        }
        let lost = self.plan.lost().next().is_some() && self.volumes.len() < MOST_VOLUMES;
        let name = self.search.as_ref().and_then(Search::name).filter(|_| lost);
        let Some(name) = name else { return Ok(ControlFlow::Break(())) };
        let opened = self.host.open(&name, Access::Read);
        let there = opened.is_ok();
        match opened.and_then(Volume::open) {
            Ok(volume) => {
                let walk = Walk::new(&volume.directory);
                self.listing = Some((volume, walk));
            }
            Err(Error::Missing(_)) => (),
            Err(error @ Error::Io(_)) => return Err(error),
            Err(error) => self.note(&name, &error),
        }
        if let Some(search) = &mut self.search {
            search.advance(there);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn note(&mut self, name: &str, error: &Error) {
        self.notes.push(format!("{} is not used: {error}", brief(name)));
    }

    /// Lists members; behind the last one, what the volume is becomes clear.
    fn list(&mut self, mut volume: Volume, mut walk: Walk) -> Result<()> {
        if walk.left() > 0 {
            let source = volume.source.clone();
            walk.step(&source, &mut self.digest, |entry| volume.list(entry))?;
            self.listing = Some((volume, walk));
            return Ok(());
        }
        volume.learn(&mut self.budget)?;
        self.digest.update(volume.urn.as_bytes());
        self.digest.update(volume.source.size().to_le_bytes());
        let lost = self.plan.lost().count();
        self.volumes.push(volume);
        let plan = Plan::of(&self.volumes)?;
        if self.volumes.len() == 1 || plan.lost().count() < lost {
            self.plan = plan;
        } else if let Some(other) = self.volumes.pop() {
            let what = format!("{} is not used: it holds nothing of this image", other.name);
            self.notes.push(brief(&what));
        }
        Ok(())
    }
}

impl Search {
    fn name(&self) -> Option<String> {
        Some(self.series.name(self.next?))
    }

    /// Goes to the next name; the last one was `there`, or not.
    fn advance(&mut self, there: bool) {
        self.next = match (self.next, self.upwards, there) {
            (Some(number), true, true) => number.checked_add(1),
            (Some(number), false, true) => number.checked_sub(1),
            (_, true, false) => self.series.number.checked_sub(1),
            _ => None,
        };
        self.upwards &= there;
    }
}
