//! What is known of a whole set once it is surveyed, as its disks share it.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use fumehood_plugin::{Error, Result};

use crate::map::Entries;
use crate::plan::{Data, DiskPlan, Plan};
use crate::segments::Segments;
use crate::volume::Volume;

/// A surveyed set.
pub struct Evidence {
    /// The files; the first is the one that was opened.
    pub volumes: Vec<Volume>,
    /// What they add up to.
    pub plan: Plan,
    /// The entries of the plan's maps.
    pub maps: Vec<Entries>,
    /// The segments of the plan's streams.
    pub segments: RefCell<Segments>,
    /// What went wrong with other files of the set.
    pub notes: Vec<String>,
}

impl Evidence {
    /// A volume by its place.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where there is none.
    pub fn volume(&self, place: usize) -> Result<&Volume> {
        self.volumes.get(place).ok_or(Error::OutOfRange)
    }

    /// The size of a disk in bytes: what is stated, or where its map ends.
    ///
    /// # Errors
    /// What the source answers.
    pub fn size(&self, disk: &DiskPlan) -> Result<u64> {
        if let Some(size) = disk.size {
            return Ok(size);
        }
        match disk.data {
            Data::Stream(place) => Ok(self.plan.streams.get(place).map_or(0, |stream| stream.size)),
            Data::Map(place) => {
                let map = self.plan.maps.get(place).ok_or(Error::OutOfRange)?;
                let entries = self.maps.get(place).ok_or(Error::OutOfRange)?;
                entries.end(&*self.volume(map.volume)?.source)
            }
        }
    }
}
