//! Scratch: what a plugin left there may be lost, cut, damaged, or another image's.

use std::sync::Arc;
use std::time::Instant;

use super::Verdict;
use super::bench::{Bench, in_time, is_clean, passed, skipped, told};
use super::contents::{Sample, sample};
use super::source::{Altered, MemoryScratch};

/// How many damaged scratches are tried.
const TRIES: u64 = 60;

/// With scratch in any state the image opens as with none, or the plugin says why not.
pub(super) fn survives(bench: &Bench<'_>) -> Verdict {
    let first = bench.open().map_err(told)?;
    let expected = sample(bench, &first.image).map_err(told)?;
    let left = first.scratch.copy();
    if left.is_empty() {
        return skipped("it leaves nothing in its scratch");
    }
    let main = Arc::new(Altered::whole(bench.main.clone()));
    let again = bench.open_as(main.clone(), first.scratch.clone()).map_err(told)?;
    let (_, bytes) = main.counts();
    if sample(bench, &again.image).map_err(told)? != expected {
        return Err("opened with its scratch, it reads as something else".into());
    }
    let mut random = bench.random(3);
    let mut refused = 0;
    if let Some(foreign) = of_another(bench) {
        refused += u32::from(!try_with(bench, foreign, &expected, TRIES)?);
    }
    for number in 0..TRIES {
        let mut bytes = left.clone();
        match number % 4 {
            0 => bytes.truncate(random.below(left.len() as u64) as usize),
            1 => bytes.iter_mut().for_each(|byte| *byte = random.next() as u8),
            2 => bytes.extend((0..100).map(|_| random.next() as u8)),
            _ => {
                for _ in 0..1 + random.below(4) {
                    let at = random.below(left.len() as u64) as usize;
                    bytes[at] ^= 1 << random.below(8);
                }
            }
        }
        refused += u32::from(!try_with(bench, bytes, &expected, number)?);
    }
    passed(format!(
        "{} bytes of it; the second open read {bytes}; {TRIES} damaged ones, {refused} refused",
        left.len()
    ))
}

/// What the plugin leaves for another image: a part of this one, if that opens.
fn of_another(bench: &Bench<'_>) -> Option<Vec<u8>> {
    let cut = Altered::cut(bench.main.clone(), bench.main.size() * 3 / 4);
    let opened = bench.open_as(Arc::new(cut), Arc::default()).ok()?;
    Some(opened.scratch.copy()).filter(|bytes| !bytes.is_empty())
}

/// Opens with this scratch; whether all of it could be read.
fn try_with(
    bench: &Bench<'_>,
    scratch: Vec<u8>,
    expected: &Sample,
    number: u64,
) -> Result<bool, String> {
    let started = Instant::now();
    let main = Arc::new(Altered::whole(bench.main.clone()));
    let scratch = Arc::new(MemoryScratch::with(scratch));
    let what = format!("with damaged scratch {number}");
    let opened = match bench.open_as(main, scratch) {
        Ok(opened) => opened,
        Err(error) => {
            is_clean(&error).map_err(|error| format!("{what}: {error}"))?;
            return Ok(false);
        }
    };
    let found = sample(bench, &opened.image).map_err(|error| format!("{what}: {error}"))?;
    in_time(started, &what)?;
    if !found.agrees_with(expected) {
        return Err(format!("{what}, it reads as something else"));
    }
    // The plugin may see it late: then a part cannot be read.
    Ok(found == *expected)
}
