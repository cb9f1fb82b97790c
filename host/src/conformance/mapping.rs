//! Extents: whatever window is asked for, a byte of the disk lies in one place.

use fumehood_core::Layer;
use fumehood_core::contract::format::{Content, Extent};

use super::Verdict;
use super::bench::{Bench, Random, passed, told};

/// The most extents of a disk that are compared.
const EXTENTS_LIMIT: usize = 200_000;
/// The longest window.
const WINDOW: u64 = 16 << 20;

/// The map of each disk, asked for from its beginning to its end, is the one that random
/// windows give. The plugin itself is asked: the host's cache is not between.
pub(super) fn agrees(bench: &Bench<'_>) -> Verdict {
    let opened = bench.open().map_err(told)?;
    let mut random = bench.random(1);
    let (mut extents, mut windows) = (0, 0);
    for number in 0..opened.image.disks().len() as u32 {
        let layer = Layer { image: opened.image.clone(), number };
        let (map, end) = whole(&layer)?;
        extents += map.len();
        if end == 0 {
            continue;
        }
        for _ in 0..bench.options.windows {
            let (offset, length) = window(end, &mut random);
            compare(&map, &layer, offset, length)?;
            windows += 1;
        }
    }
    passed(format!("{extents} extents, {windows} windows"))
}

/// The extents of a disk in order, and where they end: at its end, or where there are
/// many.
pub(super) fn whole(layer: &Layer) -> Result<(Vec<Extent>, u64), String> {
    let size = layer.image.disks()[layer.number as usize].size;
    let (mut map, mut at) = (Vec::new(), 0);
    while at < size && map.len() < EXTENTS_LIMIT {
        for extent in layer.ask(at, size - at).map_err(told)? {
            let end = extent.offset + extent.length;
            if end > at {
                at = end;
                map.push(extent);
            }
        }
    }
    Ok((map, at))
}

fn window(end: u64, random: &mut Random) -> (u64, u64) {
    let offset = random.below(end);
    let length = match random.below(4) {
        0 => 1 + random.below(512),
        1 => 4096,
        _ => 1 + random.below(WINDOW),
    };
    (offset, length.min(end - offset))
}

fn compare(map: &[Extent], layer: &Layer, offset: u64, length: u64) -> Result<(), String> {
    let (mut at, end) = (offset, offset + length);
    // What the map does not reach is not compared.
    let known_end = map.last().map_or(0, |last| last.offset + last.length);
    while at < end {
        for extent in &layer.ask(at, end - at).map_err(told)? {
            let mut from = extent.offset;
            let extent_end = extent.offset + extent.length;
            while from < extent_end.min(known_end) {
                let index = map.partition_point(|known| known.offset + known.length <= from);
                let known = map.get(index).ok_or_else(|| format!("nothing is at {from}"))?;
                let (now, then) = (place(extent, from), place(known, from));
                if now != then {
                    return Err(format!(
                        "asked about {length} bytes at {offset}, offset {from} is {now}; asked \
                         about all, it is {then}"
                    ));
                }
                from = (known.offset + known.length).min(extent_end);
            }
            at = at.max(extent_end);
        }
    }
    Ok(())
}

/// Where a byte of the disk lies, in words.
fn place(extent: &Extent, at: u64) -> String {
    let skip = at.saturating_sub(extent.offset);
    match &extent.content {
        Content::Absent => "absent".into(),
        Content::Zero => "zero".into(),
        Content::Stored(stored) => {
            let (offset, source, writable) = (stored.offset, stored.source, stored.writable);
            format!("at {} of source {source} (writable: {writable})", offset + skip)
        }
        Content::Encoded(encoded) => {
            let mut block = encoded.clone();
            block.skip = 0;
            format!("byte {} of {block:?}", u64::from(encoded.skip) + skip)
        }
        Content::Computed => "computed".into(),
        Content::Damaged(what) => format!("damaged ({what})"),
    }
}
