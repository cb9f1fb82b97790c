//! The files of a set, by number. They are found by names, since a folder cannot be
//! listed, and each is known by what its own JSON says of it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Access, Error, Host, Result, SourceHandle};

use crate::layout::{Header, Layout};
use crate::metadata::read_layout;
use crate::names::{Pattern, beside};
use crate::text::brief;

/// Names that are asked for, at most.
const MOST_TRIES: usize = 4096;
/// Bytes of a path that the image tells, at most.
const MOST_PATH: usize = 1024;
/// Files of a set, at most.
const MOST_FILES: usize = 1024;
/// Counts of blocks that are kept, at most.
const MOST_COUNTS: usize = 65536;

/// A file of the set.
#[derive(Clone)]
pub struct Member {
    /// Its number.
    pub number: u32,
    /// The backup it belongs to.
    pub increment: u32,
    /// Its index is in a later file.
    pub split: bool,
    /// Its index holds changes only.
    pub delta: bool,
    /// What it is called here.
    pub name: String,
    /// Where its metadata begin, behind all blocks; 0 if that is not known.
    pub metadata: u64,
    /// Its bytes.
    pub size: u64,
    /// The file.
    pub source: SourceHandle,
}

impl Member {
    fn new(source: SourceHandle, header: &Header) -> Result<Self> {
        let delta = match (header.delta_index, header.backup_type.as_str()) {
            (Some(delta), _) => delta,
            (None, "full" | "diff") => false,
            // Then there is no telling.
            (None, _) if header.split_file => false,
            (None, kind) => {
                let what = format!("a backup of type {kind:?} without delta_index");
                return Err(Error::corrupt_in(source.id(), 0, what));
            }
        };
        Ok(Self {
            number: header.file_number.into(),
            increment: header.increment_number.into(),
            split: header.split_file,
            delta,
            name: brief(&source.name()),
            metadata: if header.split_file { 0 } else { header.index_file_position },
            size: source.size(),
            source,
        })
    }
}

/// The files found.
#[derive(Clone, Default)]
pub struct Set {
    own: BTreeMap<u32, Member>,
    /// Number ─▶ number of the file into which it was merged.
    merged: BTreeMap<u32, u32>,
    /// Disk, partition, and how many blocks that had in one of the files.
    counts: BTreeSet<(i32, i32, u64)>,
    /// What was odd about files.
    pub warnings: Vec<String>,
}

impl Set {
    /// The file with that number itself.
    pub fn own(&self, number: u32) -> Option<&Member> {
        self.own.get(&number)
    }

    /// The file that answers for a number.
    pub fn answers_for(&self, number: u32) -> Option<&Member> {
        let merged = || self.merged.get(&number).and_then(|into| self.own.get(into));
        self.own.get(&number).or_else(merged)
    }

    /// All, in order.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.own.values()
    }

    /// How many blocks a partition of a disk had in each file.
    pub fn counts(&self, (disk, partition): (i32, i32)) -> Vec<u64> {
        let counts = self.counts.range((disk, partition, 0)..=(disk, partition, u64::MAX));
        counts.map(|(_, _, count)| *count).collect()
    }

    fn take(&mut self, member: Member, layout: &Layout) {
        let number = member.number;
        if let Some(other) = self.own.get(&number) {
            let (one, two) = (&other.name, &member.name);
            self.warnings.push(format!("{one} and {two} are both number {number}; {one} is used"));
            return;
        }
        self.own.insert(number, member);
        for merged in &layout.header.merged_files.0 {
            if let Ok(merged) = u16::try_from(*merged) {
                self.merged.entry(merged.into()).or_insert(number);
            }
        }
        for disk in &layout.disks.0 {
            for own in disk.partitions.0.iter().map(|partition| &partition.header) {
                if self.counts.len() < MOST_COUNTS {
                    let disk = disk.header.disk_number;
                    self.counts.insert((disk, own.partition_number, own.block_count));
                }
            }
        }
    }
}

/// Finds the files of a set, beginning with the one that was opened.
pub struct Survey {
    host: Rc<dyn Host>,
    main: String,
    imageid: String,
    pattern: Option<Pattern>,
    history: BTreeMap<u32, BTreeSet<String>>,
    /// Names in the history.
    told: usize,
    tried: BTreeSet<String>,
    most_increment: u32,
    set: Set,
}

/// The files found, and the one whose state is shown.
pub struct Found {
    /// The files.
    pub set: Set,
    /// The number of the one whose state is shown.
    pub target: u32,
    /// What that one's JSON says.
    pub layout: Layout,
}

impl Survey {
    /// Finds the file with the index of what was opened, and all files before it.
    ///
    /// # Errors
    /// [`Error::Missing`] where the last part of a split backup is not there,
    /// [`Error::Unsupported`] for a set of too many files, [`Error::Corrupt`].
    pub fn run(main: SourceHandle, host: Rc<dyn Host>, layout: Layout) -> Result<Found> {
        let name = main.name();
        let first = Member::new(main, &layout.header)?;
        let mut survey = Self {
            host,
            pattern: Pattern::of(&name),
            tried: BTreeSet::from([name.clone()]),
            main: name,
            imageid: layout.header.imageid.clone(),
            history: BTreeMap::new(),
            told: 0,
            most_increment: first.increment,
            set: Set::default(),
        };
        let (mut target, mut hint) = (first.number, first.increment);
        let mut layout = layout;
        survey.set.take(first, &layout);
        survey.remember(&layout);
        if layout.header.split_file {
            (target, layout) = survey.find_index(target, hint)?;
        }
        if target as usize >= MOST_FILES {
            return Err(Error::Unsupported(format!("a set of more than {MOST_FILES} files")));
        }
        for number in (0..target).rev() {
            survey.find(number, hint)?;
            if let Some(member) = survey.set.own(number) {
                hint = member.increment;
            }
        }
        Ok(Found { set: survey.set, target, layout })
    }

    /// Notes the names that the image tells.
    fn remember(&mut self, layout: &Layout) {
        let partitions = layout.disks.0.iter().flat_map(|disk| &disk.partitions.0);
        for file in partitions.flat_map(|partition| &partition.header.file_history.0) {
            let Ok(number) = u16::try_from(file.file_number) else { continue };
            if self.told >= MOST_TRIES || file.file_name.len() > MOST_PATH {
                continue;
            }
            let names = self.history.entry(number.into()).or_default();
            for name in beside(&self.main, &file.file_name) {
                self.told += usize::from(names.insert(name));
            }
        }
    }

    /// The file of the same backup, after a split one, that has the index.
    fn find_index(&mut self, first: u32, increment: u32) -> Result<(u32, Layout)> {
        let mut number = first;
        loop {
            number += 1;
            self.find(number, increment)?;
            let Some(member) = self.set.own(number).filter(|it| it.increment == increment) else {
                let what = format!(
                    "file number {number} of set {}: {} is split, and its index is in a later file",
                    brief(&self.imageid),
                    self.main
                );
                return Err(Error::Missing(what));
            };
            if !member.split {
                let layout = read_layout(&*member.source)?;
                self.remember(&layout);
                return Ok((number, layout));
            }
        }
    }

    /// Looks for file `number`, which belongs to backup `increment` or one before.
    fn find(&mut self, number: u32, increment: u32) -> Result<()> {
        if self.set.own(number).is_some() {
            return Ok(());
        }
        let mut names: Vec<String> =
            self.history.get(&number).into_iter().flatten().cloned().collect();
        if let Some(pattern) = &self.pattern {
            // A file cannot belong to a later backup than its number.
            let last = increment.min(number);
            names.extend((0..=last).rev().map(|increment| pattern.name(increment, number)));
        }
        for name in names {
            if self.set.own(number).is_some() {
                break;
            }
            if self.tried.len() < MOST_TRIES && self.tried.insert(name.clone()) {
                self.try_name(&name)?;
            }
        }
        Ok(())
    }

    fn try_name(&mut self, name: &str) -> Result<()> {
        let source = match self.host.open(name, Access::Read) {
            Ok(source) => source,
            Err(Error::Missing(_)) => return Ok(()),
            Err(other) => {
                self.set.warnings.push(format!("{}: {other}", brief(name)));
                return Ok(());
            }
        };
        match read_layout(&*source)
            .and_then(|layout| Ok((Member::new(source, &layout.header)?, layout)))
        {
            Ok((_, layout)) if !layout.header.imageid.eq_ignore_ascii_case(&self.imageid) => {
                let id = brief(&layout.header.imageid);
                self.set.warnings.push(format!("{} is of another set, {id}", brief(name)));
            }
            Ok((member, layout)) if member.increment <= self.most_increment => {
                self.remember(&layout);
                self.set.take(member, &layout);
            }
            Ok(_) => (),
            Err(error @ (Error::Corrupt { .. } | Error::Unrecognised | Error::Unsupported(_))) => {
                self.set.warnings.push(format!("{}: {error}", brief(name)));
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }
}
