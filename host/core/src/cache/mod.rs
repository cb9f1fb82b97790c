//! The extent cache: what plugins answered, merged over the chain, by windows of
//! the disk ("pages"). Bounded in memory; a hit takes one shared lock of one of
//! [`SHARDS`] shards and no call into a plugin.

mod page;

use core::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;

pub(crate) use self::page::{Page, PageBuilder, PageContent};
use crate::plan::Pieces;
use crate::sync::RwLock;

const SHARDS: usize = 16;

/// Pages of one disk.
pub(crate) struct ExtentCache {
    shards: [RwLock<Shard>; SHARDS],
    /// Bytes a shard may take.
    shard_budget: usize,
    /// Bytes of the disk in a page: two to this.
    page_shift: u32,
}

#[derive(Default)]
struct Shard {
    pages: HashMap<u64, Slot>,
    cost: usize,
}

struct Slot {
    page: Page,
    /// Set by a hit, cleared when the page is passed over for eviction.
    used: AtomicBool,
}

impl ExtentCache {
    /// A cache of at most about `budget` bytes for a disk that is allocated in
    /// units of `granularity` bytes.
    pub(crate) fn new(budget: usize, granularity: u32) -> Self {
        let page_size = (u64::from(granularity) << 11).clamp(4 << 20, 1 << 30);
        Self {
            shards: core::array::from_fn(|_| RwLock::new(Shard::default())),
            shard_budget: budget / SHARDS,
            page_shift: page_size.ilog2(),
        }
    }

    /// The page that holds `offset`, as a range of the disk.
    pub(crate) fn window(&self, offset: u64) -> core::ops::Range<u64> {
        let start = offset >> self.page_shift << self.page_shift;
        start..start + (1 << self.page_shift)
    }

    /// Appends the pieces from `offset` to at most `end`, and says where it
    /// stopped; `None` where nothing is cached about `offset`.
    #[inline]
    pub(crate) fn pieces(&self, offset: u64, end: u64, pieces: &mut Pieces) -> Option<u64> {
        let number = offset >> self.page_shift;
        let shard = self.shard(number).read();
        let slot = shard.pages.get(&number)?;
        if !slot.page.covers(offset) {
            return None;
        }
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.page.pieces(offset, end, pieces))
    }

    /// Keeps `page` for its window, in place of what was there.
    pub(crate) fn insert(&self, offset: u64, page: Page) {
        let number = offset >> self.page_shift;
        let mut shard = self.shard(number).write();
        shard.cost += page.cost();
        let slot = Slot { page, used: AtomicBool::new(true) };
        if let Some(old) = shard.pages.insert(number, slot) {
            shard.cost -= old.page.cost();
        }
        shard.shrink(self.shard_budget, number);
    }

    /// Forgets everything about a range, because it was written.
    pub(crate) fn forget(&self, offset: u64, length: u64) {
        if length == 0 {
            return;
        }
        for number in offset >> self.page_shift..=(offset + length - 1) >> self.page_shift {
            let mut shard = self.shard(number).write();
            if let Some(old) = shard.pages.remove(&number) {
                shard.cost -= old.page.cost();
            }
        }
    }

    /// Forgets everything from `offset` on.
    pub(crate) fn forget_from(&self, offset: u64) {
        let first = offset >> self.page_shift;
        for shard in &self.shards {
            let mut shard = shard.write();
            let Shard { pages, cost } = &mut *shard;
            pages.retain(|number, slot| {
                let keep = *number < first;
                if !keep {
                    *cost -= slot.page.cost();
                }
                keep
            });
        }
    }

    fn shard(&self, number: u64) -> &RwLock<Shard> {
        &self.shards[number as usize % SHARDS]
    }
}

impl Shard {
    /// Drops pages until the shard is within its budget: those that no one used
    /// since the last time first, never the page `keep`.
    fn shrink(&mut self, budget: usize, keep: u64) {
        for second_chance in [true, false] {
            if self.cost <= budget {
                return;
            }
            let cost = &mut self.cost;
            self.pages.retain(|number, slot| {
                let spare = second_chance && slot.used.swap(false, Ordering::Relaxed);
                if *cost <= budget || *number == keep || spare {
                    return true;
                }
                *cost -= slot.page.cost();
                false
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PieceKind;

    fn page(base: u64, length: u64, pieces: u64) -> Page {
        let mut builder = PageBuilder::new(base, base);
        for index in 0..pieces {
            let offset = (pieces - index) * length;
            let content = PageContent::Stored { source: 0, offset, writable: false };
            builder.push(length / pieces, 0, content);
        }
        builder.finish()
    }

    #[test]
    fn a_hit_gives_the_pieces_of_the_range_asked() {
        let cache = ExtentCache::new(1 << 20, 4096);
        let window = cache.window(0);
        let size = window.end;
        cache.insert(0, page(0, size, 4));
        let mut pieces = Pieces::new();
        assert_eq!(cache.pieces(size / 4 - 512, size / 2, &mut pieces), Some(size / 2));
        assert_eq!(pieces.len(), 2);
        assert_eq!((pieces[0].offset, pieces[0].length), (size / 4 - 512, 512));
        let PieceKind::Stored { offset, .. } = pieces[0].kind else { panic!("not stored") };
        assert_eq!(offset, 4 * size + size / 4 - 512);
        assert_eq!(cache.pieces(size, size + 1, &mut pieces), None);
    }

    #[test]
    fn memory_stays_within_the_budget() {
        let cache = ExtentCache::new(1 << 20, 4096);
        let size = cache.window(0).end;
        for number in 0..1000 {
            cache.insert(number * size, page(number * size, size, 512));
        }
        let cost: usize = cache.shards.iter().map(|shard| shard.read().cost).sum();
        assert!(cost <= 1 << 20, "{cost}");
        assert!(cost > 1 << 19, "{cost}: most of the budget is used");
        cache.forget(0, 1000 * size);
        assert!(cache.shards.iter().all(|shard| shard.read().cost == 0));
    }
}
