//! The structures whose places the header names. A hostile or damaged image may map
//! a part of the disk onto them: the guest would write them, or an allocation
//! overwrite them.

use alloc::format;

use fumehood_plugin::{Error, Result};

use crate::header::Header;

/// Where they lie, as (offset, length) in bytes.
#[derive(Debug, Clone, Copy)]
pub struct FixedAreas {
    /// The first cluster.
    pub header: (u64, u64),
    /// The active L1 table.
    pub l1: (u64, u64),
    /// The refcount table.
    pub refcount_table: (u64, u64),
    /// The snapshot table.
    pub snapshots: (u64, u64),
}

impl FixedAreas {
    /// Those of `header`, whose snapshot table has `snapshots_length` bytes.
    pub fn new(header: &Header, snapshots_length: u64) -> Self {
        let snapshots = header.snapshots.map_or(0, |location| location.offset);
        Self {
            header: (0, header.geometry.cluster_size()),
            l1: (header.l1.offset(), header.l1.length()),
            refcount_table: (header.refcounts.offset, header.refcounts.length),
            snapshots: (snapshots, snapshots_length),
        }
    }

    /// The name of the one that `length` bytes at `offset` overlap.
    pub fn overlapped(&self, offset: u64, length: u64) -> Option<&'static str> {
        let areas = [
            (self.header, "header"),
            (self.l1, "L1 table"),
            (self.refcount_table, "refcount table"),
            (self.snapshots, "snapshot table"),
        ];
        let end = offset.saturating_add(length);
        let overlapped = areas.into_iter().find(|((start, length), _)| {
            offset < start.saturating_add(*length) && *start < end && *length > 0
        });
        overlapped.map(|(_, name)| name)
    }

    /// Refuses `what` at (offset, length) where it overlaps one of them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at that offset.
    pub fn keep_out(&self, (offset, length): (u64, u64), what: &str) -> Result<()> {
        match self.overlapped(offset, length) {
            None => Ok(()),
            Some(name) => {
                let what = format!("expected {what} outside the {name}, found it there");
                Err(Error::corrupt(offset, what))
            }
        }
    }
}
