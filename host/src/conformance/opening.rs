//! Opening: in bounds, by what the image looks like, and the same each time.

use std::sync::Arc;

use fumehood_core::contract::format::Confidence;

use super::Verdict;
use super::bench::{Bench, PATIENCE, passed, told};
use super::source::Altered;
use crate::image::glimpse_of;

/// Opening may read this much of a source of any size without scratch to remember it in:
/// a scan of headers reads a part in a thousand, and reads it once.
const BYTES_LIMIT: u64 = 64 << 20;

/// It opens, and does not read all of a large image to do so.
pub(super) fn opens(bench: &Bench<'_>) -> Verdict {
    let main = Arc::new(Altered::whole(bench.main.clone()));
    let opened = bench.open_as(main.clone(), Arc::default()).map_err(told)?;
    let (reads, bytes) = main.counts();
    if opened.elapsed > PATIENCE {
        return Err(format!("opening took {:.1} s", opened.elapsed.as_secs_f64()));
    }
    let scratch = opened.scratch.copy().len();
    // What fills its scratch may have to read everything, once.
    if scratch == 0 && bytes > BYTES_LIMIT.max(bench.main.size() / 50) {
        return Err(format!("opening read {bytes} bytes of {}", bench.main.size()));
    }
    let disks = opened.image.disks().len();
    if disks == 0 {
        return Err("it opens, and holds no disk".into());
    }
    let millis = opened.elapsed.as_secs_f64() * 1000.0;
    passed(format!(
        "{disks} disk(s) in {millis:.1} ms, {reads} reads of {bytes} bytes, {scratch} of scratch"
    ))
}

/// Its plugin is certain about it, or it is a format that cannot be recognised.
pub(super) fn recognises(bench: &Bench<'_>) -> Verdict {
    let glimpse = glimpse_of(&*bench.main).map_err(told)?;
    match bench.plugin.probe(&glimpse).map_err(told)? {
        Confidence::Certain => passed("certain".into()),
        Confidence::Maybe => passed("maybe: it must be named".into()),
        Confidence::No => Err("it opens the image, but says that it is none of its own".into()),
    }
}

/// What it says of the image and its disks is the same at every open, with scratch and
/// without.
pub(super) fn is_stable(bench: &Bench<'_>) -> Verdict {
    let first = bench.open().map_err(told)?;
    let said = |image: &fumehood_core::Image| format!("{:?} {:?}", image.info(), image.disks());
    let main = || Arc::new(Altered::whole(bench.main.clone()));
    let with_scratch = bench.open_as(main(), first.scratch.clone()).map_err(told)?;
    let without = bench.open().map_err(told)?;
    for (other, how) in [(&with_scratch, "with its scratch"), (&without, "anew")] {
        if said(&first.image) != said(&other.image) {
            return Err(format!("opened {how}, it says another thing of the image or its disks"));
        }
    }
    for name in &first.image.info().documents {
        let document = first.image.document(name).map_err(told)?;
        if without.image.document(name).map_err(told)? != document {
            return Err(format!("the document {name:?} is another at another open"));
        }
    }
    let documents = first.image.info().documents.len();
    passed(format!("three opens, {documents} document(s)"))
}
