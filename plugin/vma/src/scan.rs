//! Reading all extents' headers once, a bounded number of them a step.

use alloc::format;
use core::ops::ControlFlow;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Error, Progress, Result, Source};

use crate::extent::{EXTENT_HEADER, Extent, Slot};
use crate::header::{Device, Header, Kind};
use crate::index::{Cluster, Index, Summary, Tally};

/// Headers a step: seconds where each of them costs a movement of a disk's arm.
const HEADERS: usize = 256;
/// Pages of the index that a step moves before it ends.
const MOVES: u64 = 1024;
/// Records a step looks at for the first that is missing.
const RECORDS: u64 = 1 << 18;

/// A scan on its way.
pub struct Scan {
    /// What is known so far.
    pub index: Index,
    /// Likewise.
    pub summary: Summary,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next extent begins where the summary ends.
    Extents,
    /// Looking for the first missing cluster of a device.
    Gaps(usize),
    Done,
}

impl Scan {
    /// A scan of the archive with this header, from its first extent on.
    pub fn new(header: &Header, index: Index) -> Self {
        let tallies = header.devices.iter().map(|_| Tally::default()).collect();
        let summary = Summary { extents: 0, end: header.size, tallies };
        Self { index, summary, phase: Phase::Extents }
    }

    /// Goes on for a step; breaks where the scan is done.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where an extent contradicts the format or the header, and what
    /// the sources answer.
    pub fn step(&mut self, main: &dyn Source, header: &Header) -> Result<ControlFlow<()>> {
        match self.phase {
            Phase::Extents => {
                let moved = self.index.moved();
                for _ in 0..HEADERS {
                    if self.extent(main, header)?.is_break() {
                        self.check_end(main, header)?;
                        self.phase = Phase::Gaps(0);
                        break;
                    }
                    if self.index.moved() - moved > MOVES {
                        break;
                    }
                }
                Ok(ControlFlow::Continue(()))
            }
            Phase::Gaps(number) => {
                let Some(device) = header.devices.get(number) else {
                    self.index.finish(&self.summary)?;
                    self.phase = Phase::Done;
                    return Ok(ControlFlow::Break(()));
                };
                if self.gap(number, device)?.is_break() {
                    self.phase = Phase::Gaps(number + 1);
                }
                Ok(ControlFlow::Continue(()))
            }
            Phase::Done => Ok(ControlFlow::Break(())),
        }
    }

    /// How far it is: bytes of the archive, then devices and their clusters. Grows with
    /// every step.
    pub fn progress(&self, main: &dyn Source, header: &Header) -> Progress {
        let size = main.size();
        let clusters =
            |devices: &[Device]| devices.iter().map(|device| device.clusters() + 1).sum();
        let behind = |number: usize| -> u64 { header.devices.get(..number).map_or(0, clusters) };
        let total = size.saturating_add(behind(header.devices.len())).saturating_add(2);
        let done = match self.phase {
            Phase::Extents => self.summary.end,
            Phase::Gaps(number) => {
                let here = self.summary.tallies.get(number).map_or(0, |tally| tally.first_missing);
                size.saturating_add(1).saturating_add(behind(number)).saturating_add(here)
            }
            Phase::Done => total,
        };
        Progress { done, total }
    }

    /// Takes one extent; breaks where there is none, or no whole one.
    fn extent(&mut self, main: &dyn Source, header: &Header) -> Result<ControlFlow<()>> {
        let (at, size) = (self.summary.end, main.size());
        if size.saturating_sub(at) < EXTENT_HEADER {
            return Ok(ControlFlow::Break(()));
        }
        let bytes = read_bytes(main, at, EXTENT_HEADER, "extent header")?;
        // What a power failure may leave of a file's end.
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(ControlFlow::Break(()));
        }
        let extent = Extent::parse(bytes, at, &header.uuid)?;
        for slot in &extent.slots {
            // Of a cut extent, what comes before the cut counts.
            if slot.end() <= size {
                self.cluster(header, at, slot)?;
            }
        }
        if extent.end > size {
            return Ok(ControlFlow::Break(()));
        }
        self.summary.extents += 1;
        self.summary.end = extent.end;
        Ok(ControlFlow::Continue(()))
    }

    /// Takes a cluster of the extent at `at`.
    fn cluster(&mut self, header: &Header, at: u64, slot: &Slot) -> Result<()> {
        let (id, number) = (slot.device, slot.cluster);
        let mut pairs = header.devices.iter().zip(&mut self.summary.tallies);
        let Some((device, tally)) = pairs.find(|(device, _)| device.id == id) else {
            let what = format!("cluster {number} of device {id}, which the archive has not");
            return Err(Error::corrupt(at, what));
        };
        if let Kind::Disk(first) = device.kind {
            let name = &device.name;
            let clusters = device.clusters();
            if u64::from(number) >= clusters {
                let what = format!("cluster {number} of {name}, which has only {clusters}");
                return Err(Error::corrupt(at, what));
            }
            let cluster = Cluster { offset: slot.offset, mask: slot.mask };
            if !self.index.add(first + u64::from(number), cluster)? {
                let what = format!("cluster {number} of {name} occurs twice");
                return Err(Error::corrupt(at, what));
            }
        } else {
            tally.disordered |= u64::from(number) != tally.found;
        }
        tally.found += 1;
        tally.blocks += u64::from(slot.mask.count_ones());
        Ok(())
    }

    /// Behind a complete archive there is nothing. The machine's memory is complete
    /// nobody knows when.
    fn check_end(&self, main: &dyn Source, header: &Header) -> Result<()> {
        let (end, size) = (self.summary.end, main.size());
        let complete = |(device, tally): (&Device, &Tally)| match device.kind {
            Kind::Disk(_) => tally.found == device.clusters(),
            Kind::State => false,
        };
        if end < size && header.devices.iter().zip(&self.summary.tallies).all(complete) {
            let what = format!("{} bytes behind the last extent of a complete archive", size - end);
            return Err(Error::corrupt(end, what));
        }
        Ok(())
    }

    /// Goes on looking for the first missing cluster; breaks where it is found.
    fn gap(&mut self, number: usize, device: &Device) -> Result<ControlFlow<()>> {
        let Some(tally) = self.summary.tallies.get_mut(number) else {
            return Ok(ControlFlow::Break(()));
        };
        let Kind::Disk(first) = device.kind else { return Ok(ControlFlow::Break(())) };
        if tally.found == device.clusters() {
            tally.first_missing = tally.found;
            return Ok(ControlFlow::Break(()));
        }
        for _ in 0..RECORDS {
            let missing = self.index.get(first + tally.first_missing)?.is_none();
            if missing || tally.first_missing >= device.clusters() {
                return Ok(ControlFlow::Break(()));
            }
            tally.first_missing += 1;
        }
        Ok(ControlFlow::Continue(()))
    }
}
