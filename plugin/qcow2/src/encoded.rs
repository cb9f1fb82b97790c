//! Room for compressed clusters (specification, "Compressed Clusters Descriptor"):
//! packed byte by byte, so that several share a host cluster, which is counted once
//! for each.

use fumehood_plugin::{Error, Result, Stored};

use crate::geometry::Geometry;
use crate::refcount::ClusterRun;
use crate::rooms::Room;
use crate::state::State;

/// The rest of the host cluster that was last packed; empty where there is none.
/// While it is not, one count of that cluster is the packing's own.
#[derive(Debug, Default)]
pub struct Packing {
    at: u64,
    end: u64,
}

impl Packing {
    /// The host cluster that it counts.
    pub fn cluster(&self, geometry: Geometry) -> Option<u64> {
        (self.at < self.end).then(|| self.at >> geometry.cluster_bits())
    }
}

impl State {
    /// Room for `length` bytes that hold the whole cluster of the disk at `offset`.
    ///
    /// # Errors
    /// [`Error::NoSpace`]; [`Error::OutOfRange`] for what is no cluster or longer than
    /// one.
    pub fn place_encoded(&mut self, offset: u64, length: u32) -> Result<Stored> {
        let geometry = self.map.geometry;
        self.check_range(offset, 1)?;
        let size = geometry.cluster_size();
        if !geometry.is_aligned(offset) || length == 0 || u64::from(length) > size {
            return Err(Error::OutOfRange);
        }
        self.prepare()?;
        let cluster = offset >> geometry.cluster_bits();
        self.forget_rooms(cluster, 1);
        self.ensure_table(cluster / geometry.table_entries())?;
        self.open_packing(u64::from(length))?;
        let at = self.packing.at;
        if self.map.rules.compressed_entry(at, length).is_none() {
            return Err(Error::NoSpace);
        }
        self.count_packed(at + u64::from(length))?;
        self.rooms.insert(cluster, 1, Room::Encoded { offset: at, length });
        Ok(Stored { source: 0, offset: at, writable: true })
    }

    /// Makes sure that the packing has this much room left.
    fn open_packing(&mut self, length: u64) -> Result<()> {
        if length <= self.packing.end - self.packing.at {
            return Ok(());
        }
        let geometry = self.map.geometry;
        let taken = self.space.take(&mut self.tables, 1)?;
        let start = taken.run.first << geometry.cluster_bits();
        let continues = self.packing.at < self.packing.end && self.packing.end == start;
        if !continues {
            self.close_packing();
            self.packing.at = start;
        }
        self.packing.end = start + geometry.cluster_size();
        Ok(())
    }

    /// Counts the compressed cluster that is packed up to `to`. Of a host cluster that
    /// is full now it takes over the packing's own count, and likewise where a count
    /// can be no higher.
    fn count_packed(&mut self, to: u64) -> Result<()> {
        let geometry = self.map.geometry;
        if geometry.is_aligned(to) {
            self.packing.at = to;
            return Ok(());
        }
        let last = self.cluster_run(to);
        let refcounts = self.space.refcounts;
        if refcounts.count(&mut self.tables, last.first)? >= refcounts.most() {
            self.packing = Packing::default();
            return Ok(());
        }
        refcounts.change(&mut self.tables, last, &mut |_, count| count.saturating_add(1))?;
        self.packing.at = to;
        Ok(())
    }

    /// Packs no more into the host cluster that was last packed.
    pub fn close_packing(&mut self) {
        let packing = core::mem::take(&mut self.packing);
        if let Some(first) = packing.cluster(self.map.geometry) {
            self.space.drop_reference(ClusterRun { first, count: 1 });
        }
    }
}
