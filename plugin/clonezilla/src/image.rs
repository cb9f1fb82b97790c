//! The opened folder: partitions are found one by one while it is prepared, and are its
//! disks afterwards.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Ref, RefCell};

use fumehood_plugin::{
    Disk, DiskInfo, Error, Extent, Host, Image, ImageInfo, Progress, Result, Source,
};

use crate::compression::Compression;
use crate::folder::{Folder, TEXT_LIMIT};
use crate::gather::Gather;
use crate::names::shown;
use crate::plan::{Plan, Planned};
use crate::search::search;
use crate::stream::Stream;
use crate::sums::Sums;
use crate::texts::Texts;

/// Steps of progress a partition: more than it has pieces.
const WEIGHT: u64 = 20_000;
const _: () = assert!(WEIGHT > 26 * 26 * 26);

/// The most pieces of all partitions.
const PIECES_LIMIT: usize = 100_000;

/// An opened folder.
pub struct ClonezillaImage {
    folder: Folder,
    plan: Plan,
    texts: Texts,
    sums: Sums,
    state: RefCell<State>,
}

/// How far the partitions have been looked at.
#[derive(Default)]
struct State {
    /// Partitions that are done with.
    done: usize,
    /// The file of the next one, when it is found.
    gather: Option<Gather>,
    /// How the last one was compressed: others are likely to be the same.
    usual: Option<Compression>,
    streams: Vec<Rc<Stream>>,
    /// Pieces of all streams.
    pieces: usize,
    details: Vec<(String, String)>,
    /// Partitions that cannot be read, and why.
    refused: Vec<(String, Error)>,
}

impl ClonezillaImage {
    /// The folder that `main` lies in.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub fn open(main: &dyn Source, host: Rc<dyn Host>) -> Result<Self> {
        let folder = Folder::new(host);
        let plan = Plan::read(main, &folder)?;
        let texts = Texts::look(&folder, &plan.disks)?;
        let sums = Sums::read(&folder)?;
        Ok(Self { folder, plan, texts, sums, state: RefCell::default() })
    }

    /// Finds the next partition, or some more of its pieces.
    fn step(&self, state: &mut State) -> Result<()> {
        let Some(partition) = self.plan.partitions.get(state.done) else { return Ok(()) };
        match self.advance(state, partition) {
            Ok(false) => return Ok(()),
            Ok(true) => (),
            // Another time it may be read.
            Err(error @ Error::Io(_)) => return Err(error),
            Err(error) => state.refused.push((partition.name.clone(), error)),
        }
        state.gather = None;
        state.done += 1;
        Ok(())
    }

    /// Answers whether the partition is done with.
    fn advance(&self, state: &mut State, partition: &Planned) -> Result<bool> {
        let gather = match state.gather.take() {
            Some(gather) => gather,
            None => match self.begin(state, partition)? {
                Some(gather) => gather,
                None => return Ok(true),
            },
        };
        let gather = state.gather.insert(gather);
        if !gather.step(&self.folder, &self.sums)? {
            return Ok(false);
        }
        if let Some(gather) = state.gather.take() {
            state.pieces += gather.done();
            if state.pieces > PIECES_LIMIT {
                let what = format!("more than {PIECES_LIMIT} pieces in one image");
                return Err(Error::Unsupported(what));
            }
            let stream = gather.finish(partition, &self.sums);
            state.usual = Some(stream.compression);
            state.details.push((partition.name.clone(), stream.describe()));
            state.streams.push(Rc::new(stream));
        }
        Ok(true)
    }

    /// The partition's file; none where there is nothing to be read.
    fn begin(&self, state: &mut State, partition: &Planned) -> Result<Option<Gather>> {
        if partition.device.is_swap() || partition.guessed {
            if let Some(text) = self.swap(partition)? {
                state.details.push((partition.name.clone(), text));
                return Ok(None);
            }
            if partition.guessed {
                return Ok(None);
            }
        }
        let found = search(partition, state.usual, &self.folder, &self.sums)?;
        if let Some(found) = found {
            return Gather::new(found).map(Some);
        }
        match self.swap(partition)? {
            Some(text) => state.details.push((partition.name.clone(), text)),
            None => return Err(self.nothing(partition)),
        }
        Ok(None)
    }

    /// What was kept of swap space: its UUID and its label.
    fn swap(&self, partition: &Planned) -> Result<Option<String>> {
        let text = self.folder.text(&format!("swappt-{}.info", partition.name), TEXT_LIMIT)?;
        Ok(text.map(|text| {
            let values = text.lines().filter(|line| line.contains('=') && !line.ends_with("\"\""));
            let facts = partition.device.describe();
            let facts: Vec<String> = facts.into_iter().chain(values.take(4).map(shown)).collect();
            format!("swap space, of which no more was saved: {}", facts.join(", "))
        }))
    }

    fn nothing(&self, partition: &Planned) -> Error {
        let (name, kind) = (&partition.name, partition.device.file_system.as_deref());
        let kind = kind.unwrap_or("FILE-SYSTEM");
        Error::Missing(format!(
            "a file for {name}, such as {name}.{kind}-ptcl-img.gz.aa; copy the whole folder"
        ))
    }

    /// Everything was looked at: is there anything to be read?
    fn check_end(&self, state: &State) -> Result<()> {
        match (state.streams.is_empty(), state.refused.first()) {
            (false, _) => Ok(()),
            (true, Some((_, error))) => Err(error.clone()),
            (true, None) => {
                let what = "a saved partition: this folder has swap space and layers alone";
                Err(Error::Missing(what.into()))
            }
        }
    }

    fn state(&self) -> Ref<'_, State> {
        self.state.borrow()
    }
}

impl Image for ClonezillaImage {
    fn prepare(&self) -> Result<Progress> {
        let state = &mut *self.state.borrow_mut();
        self.step(state)?;
        let total = self.plan.partitions.len() as u64 * WEIGHT;
        if state.done == self.plan.partitions.len() {
            self.check_end(state)?;
            return Ok(Progress { done: total, total });
        }
        let within = state.gather.as_ref().map_or(0, Gather::done) as u64;
        Ok(Progress { done: state.done as u64 * WEIGHT + within, total })
    }

    fn info(&self) -> ImageInfo {
        let state = self.state();
        let mut details = self.plan.details.clone();
        details.extend(state.details.clone());
        for (name, size) in &self.texts.long {
            details.push(("text not shown".into(), format!("{name}, {size} bytes")));
        }
        let mut warnings: Vec<String> =
            state.streams.iter().filter_map(|stream| stream.warning()).collect();
        for (name, error) in &state.refused {
            warnings.push(format!("{name} cannot be read and has no disk here: {error}"));
        }
        let documents = self.texts.names.clone();
        ImageInfo { details, documents, snapshots: Vec::new(), warnings }
    }

    fn disks(&self) -> Vec<DiskInfo> {
        self.state().streams.iter().map(|stream| stream.info()).collect()
    }

    fn disk(&self, number: u32) -> Result<Box<dyn Disk>> {
        let stream = self.state().streams.get(number as usize).cloned();
        let stream = stream.ok_or(Error::OutOfRange)?;
        Ok(Box::new(StreamDisk { stream }))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let text = self.texts.read(&self.folder, name)?;
        text.ok_or_else(|| Error::Missing(name.to_string()))
    }
}

/// A stream as a disk.
struct StreamDisk {
    stream: Rc<Stream>,
}

impl Disk for StreamDisk {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        self.stream.extents(offset, length)
    }
}
