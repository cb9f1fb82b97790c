//! A file inside a container as a source: what a disk of another image holds.

use std::any::Any;

use fumehood_core::{Source, SourceError};

use crate::disk::Disk;

/// A disk of an outer image whose contents are a file.
pub(crate) struct NestedSource {
    name: String,
    disk: Disk,
}

impl NestedSource {
    /// The file `name`, which `disk` holds.
    pub(crate) fn new(name: String, disk: Disk) -> Self {
        Self { name, disk }
    }

    /// The disk of the outer image.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }
}

impl Source for NestedSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        self.disk
            .read_in_order(buffer, offset)
            .map_err(|error| SourceError::Io(format!("{} at offset {offset}: {error}", self.name)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
