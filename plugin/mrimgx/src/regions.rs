//! A disk cut into regions. What is added first has the place; what comes later fills
//! what is left, and what nothing fills is zero.

use alloc::vec::Vec;

/// A run of the disk of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region<T> {
    /// First byte.
    pub start: u64,
    /// Just past the last byte.
    pub end: u64,
    /// What it is.
    pub kind: T,
}

/// Regions in order, without overlaps.
#[derive(Debug, Clone)]
pub struct Regions<T> {
    list: Vec<Region<T>>,
    size: u64,
}

impl<T: Clone> Regions<T> {
    /// None yet, on a disk of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self { list: Vec::new(), size }
    }

    /// Adds what of the range is still free and on the disk; how many bytes that is.
    pub fn add(&mut self, start: u64, length: u64, kind: T) -> u64 {
        let end = start.saturating_add(length).min(self.size);
        let mut free = Vec::new();
        let mut at = start;
        let first = self.list.partition_point(|region| region.end <= start);
        for region in self.list.get(first..).unwrap_or_default() {
            if region.start >= end {
                break;
            }
            if region.start > at {
                free.push(Region { start: at, end: region.start, kind: kind.clone() });
            }
            at = at.max(region.end);
        }
        if at < end {
            free.push(Region { start: at, end, kind });
        }
        let added = free.iter().map(|region| region.end - region.start).sum();
        for region in free {
            let place = self.list.partition_point(|other| other.start < region.start);
            self.list.insert(place, region);
        }
        added
    }

    /// The region that holds `offset`, or the free run there.
    pub fn at(&self, offset: u64) -> Region<Option<T>> {
        let place = self.list.partition_point(|region| region.end <= offset);
        match self.list.get(place) {
            Some(region) if region.start <= offset => {
                let kind = Some(region.kind.clone());
                Region { start: region.start, end: region.end, kind }
            }
            next => {
                let before = place.checked_sub(1).and_then(|place| self.list.get(place));
                let start = before.map_or(0, |region| region.end);
                Region { start, end: next.map_or(self.size, |region| region.start), kind: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_has_the_place() {
        let mut regions = Regions::new(100);
        assert_eq!(regions.add(20, 10, 'a'), 10);
        assert_eq!(regions.add(60, 1000, 'b'), 40);
        assert_eq!(regions.add(10, 60, 'c'), 40);
        assert_eq!(regions.add(200, 10, 'd'), 0);
        assert_eq!(regions.add(u64::MAX, u64::MAX, 'd'), 0);
        let kinds: Vec<_> = (0..10).map(|at| regions.at(at * 10).kind).collect();
        let (a, b, c) = (Some('a'), Some('b'), Some('c'));
        assert_eq!(kinds, [None, c, a, c, c, c, b, b, b, b]);
        assert_eq!(regions.at(5), Region { start: 0, end: 10, kind: None });
        assert_eq!(regions.at(35), Region { start: 30, end: 60, kind: c });
    }
}
