//! What a storage device may hold after a crash: all up to the last flush, and of
//! what came after it any part, in sectors of 512 bytes.

use alloc::vec::Vec;

use super::journal::{Event, fill, overwrite};
use super::random::Random;

const SECTOR: u64 = 512;

/// One state after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// What the source holds.
    pub bytes: Vec<u8>,
    /// The last [`Event::Mark`] before the last completed flush; 0 without one.
    pub mark: u64,
    /// The last [`Event::Mark`] at the crash; 0 without one.
    pub last: u64,
}

/// The states that [`crashes`] gives.
pub struct Crashes<'a> {
    events: &'a [Event],
    random: Random,
    /// How many events had begun at each crash still to come, in ascending order.
    points: Vec<usize>,
    variants: usize,
    /// What is durable for sure, the events up to `flushed`.
    durable: Vec<u8>,
    flushed: usize,
    mark: u64,
    next_point: usize,
    next_variant: usize,
}

/// States of a source after a crash, at most about `limit` of them in the order of
/// `events`, which were done to a source that held `initial`. At each point the
/// first state has all that was written, and the others a part of what was written
/// since the last [`Event::Flush`]: each change whole, not at all, or in some of its
/// sectors. Size changes are kept up to one of them.
///
/// With room for at least two states an event, every point is visited; else the
/// points are spread evenly.
pub fn crashes<'a>(initial: &[u8], events: &'a [Event], seed: u64, limit: usize) -> Crashes<'a> {
    let changes = |at: &usize| *at == events.len() || !matches!(events[*at], Event::Mark(_));
    let mut points: Vec<usize> = (0..=events.len()).filter(changes).collect();
    let mut random = Random::new(seed);
    let variants = (limit / points.len().max(1)).max(2);
    let most = (limit / variants).max(1);
    if points.len() > most {
        let (count, shift) = (points.len(), random.below(points.len() as u64) as usize);
        points = (0..most).map(|number| points[(number * count + shift) / most % count]).collect();
        points.sort_unstable();
    }
    let durable = initial.to_vec();
    let (flushed, mark) = (0, 0);
    let (next_point, next_variant) = (0, 0);
    Crashes { events, random, points, variants, durable, flushed, mark, next_point, next_variant }
}

impl Iterator for Crashes<'_> {
    type Item = Crash;

    fn next(&mut self) -> Option<Crash> {
        let point = *self.points.get(self.next_point)?;
        self.advance(point);
        let pending = &self.events[self.flushed..point];
        let mut bytes = self.durable.clone();
        if self.next_variant == 0 {
            pending.iter().for_each(|event| event.apply(&mut bytes));
        } else {
            apply_some(pending, &mut bytes, &mut self.random);
        }
        let last = last_mark(&self.events[..point]).unwrap_or(0);
        self.next_variant += 1;
        if self.next_variant == self.variants {
            self.next_variant = 0;
            self.next_point += 1;
        }
        Some(Crash { bytes, mark: self.mark, last })
    }
}

impl Crashes<'_> {
    /// Makes durable what was flushed before `point`.
    fn advance(&mut self, point: usize) {
        let since = &self.events[self.flushed..point];
        let Some(flush) = since.iter().rposition(|event| *event == Event::Flush) else { return };
        let durable = &since[..=flush];
        durable.iter().for_each(|event| event.apply(&mut self.durable));
        self.mark = last_mark(durable).unwrap_or(self.mark);
        self.flushed += durable.len();
    }
}

fn last_mark(events: &[Event]) -> Option<u64> {
    events.iter().rev().find_map(|event| match event {
        Event::Mark(mark) => Some(*mark),
        _ => None,
    })
}

/// Applies a part of `events`.
fn apply_some(events: &[Event], bytes: &mut Vec<u8>, random: &mut Random) {
    let resizes = events.iter().filter(|event| matches!(event, Event::Resize(_))).count() as u64;
    let mut resizes_kept = random.below(resizes + 1);
    // How much survives differs from crash to crash: nearly nothing, half, nearly all.
    let lost = [8, 2, 1][random.below(3) as usize];
    for event in events {
        match event {
            Event::Resize(_) if resizes_kept == 0 => {}
            Event::Resize(_) => {
                resizes_kept -= 1;
                event.apply(bytes);
            }
            _ if random.one_in(4) => apply_sectors(event, bytes, random),
            _ if random.below(lost + 2) < lost => event.apply(bytes),
            _ => {}
        }
    }
}

/// Applies some of the sectors that `event` touches: each by chance, or a run of them.
fn apply_sectors(event: &Event, bytes: &mut Vec<u8>, random: &mut Random) {
    let (offset, length) = match event {
        Event::Write { offset, bytes } => (*offset, bytes.len() as u64),
        Event::Zero { offset, length } | Event::Discard { offset, length } => (*offset, *length),
        _ => return,
    };
    let end = offset + length;
    let sectors = end.div_ceil(SECTOR) - offset / SECTOR;
    let (from, to) = (random.below(sectors + 1), random.below(sectors + 1));
    let by_chance = random.one_in(2);
    for number in 0..sectors {
        let kept = if by_chance { random.one_in(2) } else { from <= number && number < to };
        if kept {
            let sector = (offset / SECTOR + number) * SECTOR;
            let (start, stop) = (sector.max(offset), (sector + SECTOR).min(end));
            match event {
                Event::Write { bytes: new, .. } => {
                    let part = (start - offset) as usize..(stop - offset) as usize;
                    overwrite(bytes, start, &new[part]);
                }
                Event::Zero { .. } => fill(bytes, start, stop - start, true),
                _ => fill(bytes, start, stop - start, false),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::simulate::JournalSource;
    use crate::source::Source;

    #[test]
    fn flushed_bytes_are_in_every_crash_and_later_ones_in_some() {
        let source = JournalSource::new(0, "journal", vec![]);
        source.write(0, &[1; 1024]).unwrap();
        source.mark(7);
        source.flush().unwrap();
        source.write(512, &[2; 1536]).unwrap();
        source.mark(8);
        source.resize(4096).unwrap();
        let events = source.events();
        let all: Vec<Crash> = crashes(&[], &events, 1, 400).collect();
        assert!(all.len() > 300 && all.len() <= 400);
        let after: Vec<&Crash> = all.iter().filter(|crash| crash.mark == 7).collect();
        assert!(after.iter().all(|crash| crash.bytes[..512] == [1; 512]));
        assert!(after.iter().all(|crash| [1, 2].contains(&crash.bytes[600])));
        let torn = |crash: &&&Crash| crash.bytes[600] == 1 && crash.bytes.get(1500) == Some(&2);
        assert!(after.iter().any(|crash| torn(&crash)));
        assert!(after.iter().any(|crash| crash.bytes.len() == 1024));
        assert!(after.iter().any(|crash| crash.bytes.len() == 4096 && crash.last == 8));
        assert!(all.iter().any(|crash| crash.bytes.is_empty() && crash.mark == 0));
    }
}
