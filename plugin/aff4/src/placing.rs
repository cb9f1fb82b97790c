//! Where the segments of all streams lie, and whether maps are in order: taken from the
//! scratch where an earlier open left it, otherwise learned step by step.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use fumehood_plugin::scratch::Identity;
use fumehood_plugin::{Error, Result, SourceHandle};
use md5::{Digest, Md5};

use crate::map::{Entries, Look, MOST_HELD};
use crate::names::{Segment, urn};
use crate::plan::Plan;
use crate::segments::{Segments, Summary};
use crate::volume::{Volume, Walk};

/// Placing on its way.
pub struct Placing {
    /// Where segments lie.
    pub segments: Segments,
    /// The maps looked at so far.
    pub maps: Vec<Entries>,
    identity: Identity,
    /// What the scratch says, or is to say.
    summary: Summary,
    loaded: bool,
    /// Map entries that memory still has room for.
    room: u64,
    /// The place of the volume whose directory is next, and the way through the present one.
    volume: usize,
    walk: Option<Walk>,
    look: Option<Look>,
}

impl Placing {
    /// Of the set that `digest` stands for.
    pub fn new(digest: Md5, scratch: Option<SourceHandle>, seed: &[u8; 32]) -> Self {
        let mut identity = [0; 32];
        identity[..16].copy_from_slice(&digest.finalize());
        let loaded = scratch.as_ref().and_then(|scratch| Segments::load(scratch, &identity));
        let is_loaded = loaded.is_some();
        let (segments, summary) =
            loaded.unwrap_or_else(|| (Segments::new(scratch, seed), Summary::default()));
        Self {
            segments,
            maps: Vec::new(),
            identity,
            summary,
            loaded: is_loaded,
            room: MOST_HELD,
            volume: 0,
            walk: None,
            look: None,
        }
    }

    /// Bytes of directories and entries of maps that are left, as far as they are known.
    pub fn left(&self, volumes: &[Volume]) -> u64 {
        let walk = self.walk.as_ref().map_or(0, Walk::left);
        let volumes = volumes.get(self.volume..).unwrap_or_default();
        let volumes = volumes.iter().filter(|_| !self.loaded);
        let directories: u64 = volumes.map(|volume| volume.directory.size).sum();
        walk + directories + self.look.as_ref().map_or(0, Look::left)
    }

    /// Goes on for a step; breaks where all is known.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Unsupported`] for maps that cannot be used, and what
    /// sources and scratch answer.
    pub fn step(&mut self, volumes: &[Volume], plan: &Plan) -> Result<ControlFlow<()>> {
        if !self.loaded && self.place(volumes, plan)?.is_continue() {
            return Ok(ControlFlow::Continue(()));
        }
        let number = self.maps.len();
        let Some(map) = plan.maps.get(number) else {
            if !self.loaded {
                self.segments.finish(&self.identity, &self.summary)?;
            }
            return Ok(ControlFlow::Break(()));
        };
        let volume = volumes.get(map.volume).ok_or(Error::OutOfRange)?;
        let known = self.summary.sorted.get(number).copied();
        let mut look = match self.look.take() {
            Some(look) => look,
            None => Look::new(map, volume, known)?,
        };
        if look.left() > 0 {
            look.step(map, volume)?;
            self.look = Some(look);
            return Ok(ControlFlow::Continue(()));
        }
        let (sorted, entries) = look.finish(map, volume, &mut self.room)?;
        self.maps.push(entries);
        if known.is_none() {
            self.summary.sorted.push(sorted);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Places the segments that a window of a directory names.
    fn place(&mut self, volumes: &[Volume], plan: &Plan) -> Result<ControlFlow<()>> {
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => {
                let Some(next) = volumes.get(self.volume) else {
                    return Ok(ControlFlow::Break(()));
                };
                self.volume += 1;
                Walk::new(&next.directory)
            }
        };
        let place = self.volume - 1;
        let volume = volumes.get(place).ok_or(Error::OutOfRange)?;
        let own = plan.streams.iter().filter(|stream| stream.volume == place);
        let mut streams = BTreeMap::new();
        for stream in own {
            streams.insert(stream.urn.as_str(), stream);
            streams.extend(volume.relative(&stream.urn).map(|urn| (urn, stream)));
        }
        let segments = &mut self.segments;
        walk.step(&volume.source, &mut Md5::new(), |entry| {
            let Some(urn) = urn(entry.name, "") else { return Ok(()) };
            let Some(segment) = Segment::of(&urn) else { return Ok(()) };
            match streams.get(segment.stream) {
                Some(stream) if segment.number < stream.listed => {
                    segments.add(stream.first + segment.number, segment.part, &entry.member)
                }
                _ => Ok(()),
            }
        })?;
        self.walk = (walk.left() > 0).then_some(walk);
        Ok(ControlFlow::Continue(()))
    }
}
