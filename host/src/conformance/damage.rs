//! Damage: an image cut short, or with some bytes exchanged, is an error or a disk, in
//! bounded time; never a trap, and never an answer that breaks the contract.
//!
//! A disk may then hold other bytes: payload that was changed is changed payload, and
//! most formats have no checksum over their tables. How often is counted, not judged.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::Verdict;
use fumehood_core::Layer;

use super::bench::{Bench, Random, in_time, is_clean, passed, told};
use super::contents::{Sample, sample};
use super::mapping::whole;
use super::source::Altered;
use crate::error::Error;

/// Structures lie at the ends more often than elsewhere.
const ENDS: u64 = 64 << 10;
/// Images that are larger are read in parts only, and fewer of them.
const LARGE: u64 = 64 << 20;

#[derive(Default)]
struct Counts {
    refused: u32,
    same: u32,
    other: u32,
}

/// Every length of a small image, some of a large one.
pub(super) fn cut_short(bench: &Bench<'_>) -> Verdict {
    let expected = expected(bench)?;
    let size = bench.main.size();
    let mut random = bench.random(4);
    let mut counts = Counts::default();
    let cuts = fewer(bench, bench.options.cuts);
    for number in 0..u64::from(cuts) {
        let length = match number {
            0..64 => number.min(size),
            64..128 => size.saturating_sub(number - 63),
            _ => interesting(size, &mut random),
        };
        let main = Altered::cut(bench.main.clone(), length);
        try_one(bench, main, &expected, &mut counts)
            .map_err(|error| format!("cut to {length} bytes: {error}"))?;
    }
    counts.verdict(cuts)
}

/// One to eight bytes exchanged, mostly where structures lie.
pub(super) fn exchanged(bench: &Bench<'_>) -> Verdict {
    let expected = expected(bench)?;
    let size = bench.main.size();
    let tables = looked_at(bench)?;
    let mut random = bench.random(5);
    let mut counts = Counts::default();
    let exchanges = fewer(bench, bench.options.exchanges);
    for _ in 0..exchanges {
        let mut bytes = BTreeMap::new();
        for _ in 0..1 + random.below(3) {
            let at = within(&tables, &mut random).unwrap_or_else(|| interesting(size, &mut random));
            let run = if random.below(4) == 0 { 4 } else { 1 };
            let kind = random.below(4);
            for offset in at..(at + run).min(size) {
                let byte = match kind {
                    0 => 0xff,
                    1 => 0,
                    _ => random.next() as u8,
                };
                bytes.insert(offset, byte);
            }
        }
        let shown: Vec<_> = bytes.iter().map(|(at, byte)| format!("{at}={byte:#04x}")).collect();
        let main = Altered::exchanged(bench.main.clone(), bytes);
        try_one(bench, main, &expected, &mut counts)
            .map_err(|error| format!("with the bytes {}: {error}", shown.join(" ")))?;
    }
    counts.verdict(exchanges)
}

/// What the plugin itself reads of the image, to open it and to map all of it: where its
/// structures lie.
fn looked_at(bench: &Bench<'_>) -> Result<Vec<Range<u64>>, String> {
    let main = Arc::new(Altered::whole(bench.main.clone()));
    let opened = bench.open_as(main.clone(), Arc::default()).map_err(told)?;
    for number in 0..opened.image.disks().len() as u32 {
        whole(&Layer { image: opened.image.clone(), number })?;
    }
    Ok(main.ranges())
}

/// An offset in one of the ranges, near its beginning more often than not; now and then
/// none, so that the rest of the image has its turn.
fn within(ranges: &[Range<u64>], random: &mut Random) -> Option<u64> {
    if random.below(5) == 0 || ranges.is_empty() {
        return None;
    }
    let range = &ranges[random.below(ranges.len() as u64) as usize];
    let length = range.end - range.start;
    let reach = if random.below(2) == 0 { length.min(512) } else { length };
    Some(range.start + random.below(reach))
}

fn expected(bench: &Bench<'_>) -> Result<Sample, String> {
    let opened = bench.open().map_err(told)?;
    sample(bench, &opened.image).map_err(told)
}

/// So many trials as a large image allows in the time of a small one.
fn fewer(bench: &Bench<'_>, trials: u32) -> u32 {
    if bench.main.size() > LARGE { trials.div_ceil(20) } else { trials }
}

/// An offset, more often near an end than not.
fn interesting(size: u64, random: &mut Random) -> u64 {
    let near = random.below(ENDS.min(size).max(1));
    match random.below(4) {
        0 => random.below(size.max(1)),
        1 => size.saturating_sub(1 + near),
        2 => near.min(4096),
        _ => near,
    }
}

fn try_one(
    bench: &Bench<'_>,
    main: Altered,
    expected: &Sample,
    counts: &mut Counts,
) -> Result<(), String> {
    let started = Instant::now();
    let looked = look(bench, main);
    in_time(started, "looking at it")?;
    match looked {
        Ok(found) if found == *expected => counts.same += 1,
        Ok(_) => counts.other += 1,
        Err(error) => {
            is_clean(&error)?;
            counts.refused += 1;
        }
    }
    Ok(())
}

/// Opens it, checks it, and reads what can be read.
fn look(bench: &Bench<'_>, main: Altered) -> Result<Sample, Error> {
    let opened = bench.open_as(Arc::new(main), Arc::default())?;
    for number in 0..opened.image.disks().len() as u32 {
        let disk = bench.disk(&opened.image, number)?;
        disk.check().or_else(|error| match is_clean(&error) {
            Ok(()) => Ok(Vec::new()),
            Err(_) => Err(error),
        })?;
    }
    for name in &opened.image.info().documents {
        let document = opened.image.document(name).map_err(Error::from);
        if let Err(error) = document
            && is_clean(&error).is_err()
        {
            return Err(error);
        }
    }
    sample(bench, &opened.image)
}

impl Counts {
    fn verdict(&self, trials: u32) -> Verdict {
        let Self { refused, same, other } = self;
        passed(format!(
            "{trials} images: {refused} refused, {same} with the same contents, {other} with others"
        ))
    }
}
