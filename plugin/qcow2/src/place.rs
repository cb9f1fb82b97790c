//! Room for writes. A cluster that is nobody else's is written in place; anything
//! else gets a new host cluster, whose count is written now and whose link is written
//! by [`crate::commit`].

use alloc::vec::Vec;

use fumehood_plugin::{Error, Placement, Result, Stored};

use crate::geometry::Geometry;
use crate::l2::{ALL, Mapping, Subclusters};
use crate::rooms::Room;
use crate::state::{State, Window};

/// Room made in advance for a disk that is written from front to back: this part of
/// what was written so, and at most this many bytes.
const AHEAD_PART: u64 = 4;
const AHEAD_LIMIT: u64 = 4 << 20;

/// How far the disk has been written in one go, in clusters.
#[derive(Debug, Default)]
pub struct Sequence {
    next: u64,
    length: u64,
}

impl Sequence {
    /// Notes that `first..end` is written; how many clusters more will probably be.
    fn follow(&mut self, first: u64, end: u64, geometry: Geometry) -> u64 {
        self.length = if first == self.next { self.length + (end - first) } else { 0 };
        (self.length / AHEAD_PART).min(AHEAD_LIMIT >> geometry.cluster_bits())
    }
}

/// Where writes to a cluster of the disk go.
enum Target {
    /// To the host cluster it has, part of which may not be linked yet.
    Own(Subclusters),
    /// To a new host cluster.
    New,
    /// To a new host cluster that first gets what this one holds, as the host fills
    /// subclusters only and the new link is for all of them.
    Copy(Mapping),
}

/// Placements in order, joined where they continue each other.
struct Answer {
    list: Vec<Placement>,
    disk_size: u64,
}

impl Answer {
    fn push(&mut self, offset: u64, length: u64, host: u64, (fresh, zeroed): (bool, bool)) {
        let length = length.min(self.disk_size.saturating_sub(offset));
        if length == 0 {
            return;
        }
        if let Some(last) = self.list.last_mut()
            && (last.fresh, last.zeroed) == (fresh, zeroed)
            && last.stored.offset + last.length == host
        {
            last.length += length;
            return;
        }
        let stored = Stored { source: 0, offset: host, writable: true };
        self.list.push(Placement { offset, length, stored, fresh, zeroed });
    }
}

impl State {
    /// Room for a write, in whole clusters.
    ///
    /// # Errors
    /// [`Error::NoSpace`]; what was placed until then is placed again when asked.
    pub fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        self.check_range(offset, length)?;
        self.prepare()?;
        let geometry = self.map.geometry;
        let mut answer = Answer { list: Vec::new(), disk_size: self.map.disk_size };
        let (first, end) = (offset >> geometry.cluster_bits(), geometry.clusters(offset + length));
        let mut at = first;
        while at < end {
            at += self.place_some(at, end, &mut answer)?;
        }
        let ahead = self.sequence.follow(first, end, geometry);
        self.sequence.next = end + self.place_ahead(end, ahead, &mut answer);
        Ok(answer.list)
    }

    /// Places clusters from `at` to at most `end`; how many.
    fn place_some(&mut self, at: u64, end: u64, answer: &mut Answer) -> Result<u64> {
        let bits = self.map.geometry.cluster_bits();
        match self.rooms.get(at) {
            Some((Room::Plain(host), clusters)) => {
                let clusters = clusters.min(end - at);
                answer.push(at << bits, clusters << bits, host, (true, false));
                return Ok(clusters);
            }
            Some((Room::Encoded { .. }, _)) => self.forget_rooms(at, 1),
            None => {}
        }
        let end = self.rooms.next(at).map_or(end, |next| next.min(end));
        let window = self.window(at, end - at)?;
        let mut done = 0;
        while let Some(target) = self.target(&window, done)? {
            match target {
                Target::Own(own) => {
                    self.place_own(at + done, own, answer)?;
                    done += 1;
                }
                Target::New => {
                    let mut clusters = 1;
                    while matches!(self.target(&window, done + clusters), Ok(Some(Target::New))) {
                        clusters += 1;
                    }
                    self.place_new(at + done, clusters, answer)?;
                    done += clusters;
                }
                Target::Copy(old) => {
                    self.place_copy(at + done, old, answer)?;
                    done += 1;
                }
            }
        }
        Ok(done)
    }

    /// Where writes to the `number`-th cluster of `window` go; `None` behind the last.
    fn target(&self, window: &Window, number: u64) -> Result<Option<Target>> {
        let geometry = self.map.geometry;
        let Some(entry) = window.entries.get(number as usize).copied() else { return Ok(None) };
        let mapping = self.map.rules.decode(entry, window.at + number * geometry.entry_size())?;
        let target = match mapping.subclusters() {
            Some(own) if own.host.is_some() && window.owns(entry) => Target::Own(own),
            Some(old) if old.allocated == 0 => Target::New,
            _ if geometry.extended() => Target::Copy(mapping),
            _ => Target::New,
        };
        Ok(Some(target))
    }

    fn place_own(&mut self, cluster: u64, own: Subclusters, answer: &mut Answer) -> Result<()> {
        let geometry = self.map.geometry;
        let Some(host) = own.host else { return Err(Error::OutOfRange) };
        self.complete_host(host)?;
        let own = self.unhide(cluster, own)?;
        let start = cluster << geometry.cluster_bits();
        let size = geometry.granularity();
        for number in 0..geometry.cluster_size() / size {
            let fresh = own.allocated >> number & 1 == 0;
            let skip = number * size;
            answer.push(start + skip, size, host + skip, (fresh, false));
        }
        Ok(())
    }

    /// Shows what was hidden since the last flush again, as zeroes in place: until a
    /// flush a crash may show its old bytes, so that it is no fresh room.
    fn unhide(&mut self, cluster: u64, own: Subclusters) -> Result<Subclusters> {
        let Some(host) = own.host else { return Ok(own) };
        let hidden = self.hidden.get(&host).copied().unwrap_or(0) & !own.allocated;
        if hidden == 0 {
            return Ok(own);
        }
        let size = self.map.geometry.granularity();
        for number in 0..self.map.geometry.cluster_size() / size {
            if hidden >> number & 1 != 0 {
                self.tables.zero(host + number * size, size)?;
            }
        }
        let (allocated, zero) = (own.allocated | hidden, own.zero & !hidden);
        let shown = Subclusters { host: Some(host), allocated, zero };
        let window = self.window(cluster, 1)?;
        self.write_entry(window.at, self.map.rules.entry(shown, true))?;
        self.hidden.remove(&host);
        Ok(shown)
    }

    /// Makes sure that a host cluster can be written: it lies in the file, which may
    /// have ended before it, and is no table.
    fn complete_host(&mut self, host: u64) -> Result<()> {
        let size = self.map.geometry.cluster_size();
        self.space.fixed.keep_out((host, size), "a data cluster")?;
        if host + size <= self.tables.file_size() {
            return Ok(());
        }
        self.space.grow_to(&mut self.tables, host)
    }

    fn place_new(&mut self, first: u64, clusters: u64, answer: &mut Answer) -> Result<()> {
        let geometry = self.map.geometry;
        let bits = geometry.cluster_bits();
        self.ensure_table(first / geometry.table_entries())?;
        let mut done = 0;
        while done < clusters {
            let taken = self.space.take(&mut self.tables, clusters - done)?;
            let (at, host) = (first + done, taken.run.first << bits);
            self.rooms.insert(at, taken.run.count, Room::Plain(host));
            answer.push(at << bits, taken.run.count << bits, host, (true, taken.zeroed));
            done += taken.run.count;
        }
        Ok(())
    }

    fn place_copy(&mut self, cluster: u64, old: Mapping, answer: &mut Answer) -> Result<()> {
        let geometry = self.map.geometry;
        self.ensure_table(cluster / geometry.table_entries())?;
        let host = self.take_copy(old)?;
        self.rooms.insert(cluster, 1, Room::Plain(host));
        let start = cluster << geometry.cluster_bits();
        answer.push(start, geometry.cluster_size(), host, (true, false));
        Ok(())
    }

    /// A new host cluster that holds what `old` maps; its offset.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or what the source answers; nothing is taken then.
    pub fn take_copy(&mut self, old: Mapping) -> Result<u64> {
        let taken = self.space.take(&mut self.tables, 1)?;
        let host = taken.run.first << self.map.geometry.cluster_bits();
        match self.copy_cluster(old, host) {
            Ok(()) => Ok(host),
            Err(error) => {
                self.space.give_back(taken.run);
                Err(error)
            }
        }
    }

    /// Makes room behind a run of writes, where that is simple. It is a favour:
    /// without it there is a call more. How many clusters were placed.
    fn place_ahead(&mut self, at: u64, clusters: u64, answer: &mut Answer) -> u64 {
        let geometry = self.map.geometry;
        let end = (at + clusters).min(geometry.clusters(self.map.disk_size));
        let end = self.rooms.next(at).map_or(end, |next| next.min(end));
        if at >= end || at.is_multiple_of(geometry.table_entries()) {
            return 0;
        }
        let Ok(window) = self.window(at, end - at) else { return 0 };
        let absent = window.entries.iter().take_while(|entry| **entry == crate::l2::Entry::ABSENT);
        let clusters = absent.count() as u64;
        match self.place_new(at, clusters, answer) {
            Ok(()) => clusters,
            Err(_) => 0,
        }
    }
}

/// Subclusters that the link to a new host cluster says are in it, besides those that
/// are committed: [`State::take_copy`] has put them there.
pub fn carried_over(old: Mapping) -> Subclusters {
    old.subclusters().unwrap_or(Subclusters { host: None, allocated: ALL, zero: 0 })
}
