//! Links what was placed: entries of L2 tables, each changed part of a table in one
//! write, and after them the L1 entries of tables that are new. All that the links
//! refer to is durable when this begins, so that nothing has to be waited for.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};

use crate::l2::{Entry, Subclusters};
use crate::place::carried_over;
use crate::refcount::ClusterRun;
use crate::rooms::Room;
use crate::state::State;

/// Entries between two changed ones that are written along with them.
const GAP: u64 = 256;
/// Entries written at once.
const GROUP: u64 = 8192;

/// Subclusters of one cluster of the disk that hold their bytes now.
#[derive(Debug, Clone, Copy)]
struct Piece {
    cluster: u64,
    subclusters: u32,
}

impl State {
    /// Links placed ranges.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a range without room, or what the source answers;
    /// the same call may then be made again.
    pub fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        for (offset, length) in ranges {
            self.check_granules(*offset, *length)?;
        }
        let mut group: Vec<Piece> = Vec::new();
        let mut tables = BTreeSet::new();
        let per_table = self.map.geometry.table_entries();
        for (offset, length) in ranges {
            let (mut at, end) = (*offset, offset + length);
            while at < end {
                let (piece, next) = self.piece(at, end);
                match group.last_mut() {
                    Some(last) if last.cluster == piece.cluster => {
                        last.subclusters |= piece.subclusters;
                    }
                    _ => {
                        if !belongs(&group, piece, per_table) {
                            self.commit_group(&group)?;
                            group.clear();
                            tables.insert(piece.cluster / per_table);
                        }
                        group.push(piece);
                    }
                }
                at = next;
            }
        }
        self.commit_group(&group)?;
        tables.into_iter().try_for_each(|index| self.link_table(index))?;
        if self.space.is_crowded() { self.flush() } else { Ok(()) }
    }

    /// The part of `at..end` that lies in the cluster of `at`, and where it ends.
    fn piece(&self, at: u64, end: u64) -> (Piece, u64) {
        let geometry = self.map.geometry;
        let start = geometry.cluster_start(at);
        let next = end.min(start + geometry.cluster_size());
        let subclusters = geometry.subclusters_touched(at - start, next - start);
        (Piece { cluster: start >> geometry.cluster_bits(), subclusters }, next)
    }

    /// Writes the entries of `pieces`, which lie near each other in one L2 table.
    fn commit_group(&mut self, pieces: &[Piece]) -> Result<()> {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return Ok(()) };
        let geometry = self.map.geometry;
        let (per_table, size) = (geometry.table_entries(), geometry.entry_size());
        let table = self.l2_table(first.cluster / per_table)?.filter(|table| table.copied);
        let Some(table) = table else { return Err(Error::OutOfRange) };
        let at = table.offset + first.cluster % per_table * size;
        let length = (last.cluster - first.cluster + 1) * size;
        let mut bytes = self.tables.bytes(at, length, "L2 table")?;
        let mut dropped = Vec::new();
        for piece in pieces {
            let skip = (piece.cluster - first.cluster) * size;
            let entry = bytes.get_mut(skip as usize..(skip + size) as usize).unwrap_or_default();
            let Some(old) = self.map.rules.parse(entry) else { continue };
            let new = self.linked(old, *piece, at + skip, &mut dropped)?;
            self.map.rules.write(new, entry);
        }
        self.tables.write(at, &bytes)?;
        for piece in pieces {
            self.rooms.remove(piece.cluster, 1);
        }
        dropped.into_iter().for_each(|run| self.space.drop_reference(run));
        Ok(())
    }

    /// What the entry `old`, which stands at `at`, becomes once `piece` is linked.
    fn linked(
        &self,
        old: Entry,
        piece: Piece,
        at: u64,
        dropped: &mut Vec<ClusterRun>,
    ) -> Result<Entry> {
        let mapping = self.map.rules.decode(old, at)?;
        let own = mapping.subclusters().filter(|own| own.host.is_some() && old.copied());
        let (host, before) = match (self.rooms.get(piece.cluster), own) {
            (Some((Room::Encoded { offset, length }, _)), _) => {
                if !self.covers(piece) {
                    return Err(Error::OutOfRange);
                }
                dropped.extend(self.references(mapping));
                let entry = self.map.rules.compressed_entry(offset, length);
                return entry.ok_or(Error::OutOfRange);
            }
            (Some((Room::Plain(host), _)), own) if own.and_then(|own| own.host) != Some(host) => {
                dropped.extend(self.references(mapping));
                (Some(host), carried_over(mapping))
            }
            (_, Some(own)) => (own.host, own),
            (_, None) => return Err(Error::OutOfRange),
        };
        let allocated = before.allocated | piece.subclusters;
        let zero = before.zero & !piece.subclusters;
        Ok(self.map.rules.entry(Subclusters { host, allocated, zero }, true))
    }

    /// Whether `piece` is all of its cluster that lies on the disk.
    fn covers(&self, piece: Piece) -> bool {
        let geometry = self.map.geometry;
        let start = piece.cluster << geometry.cluster_bits();
        let length = geometry.cluster_size().min(self.map.disk_size.saturating_sub(start));
        piece.subclusters == geometry.subclusters_touched(0, length)
    }
}

/// Whether `piece` is to be written together with `group`.
fn belongs(group: &[Piece], piece: Piece, per_table: u64) -> bool {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return false };
    piece.cluster / per_table == last.cluster / per_table
        && piece.cluster > last.cluster
        && piece.cluster - last.cluster <= GAP
        && piece.cluster - first.cluster < GROUP
}
