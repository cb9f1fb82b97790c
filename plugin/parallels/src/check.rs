//! What shows without payload: table entries that lie where none may, two that share
//! bytes of the file, extensions that do not match their checksums.
//!
//! A finding's offset is on the disk. Clusters of the file that nothing refers to are
//! not reported: images that give room back keep them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Finding, Result};

use crate::extension;
use crate::header::{Generation, Header};
use crate::layer::{Expanding, Layer};
use crate::map::{Map, Storage};
use crate::table::{PAGE_ENTRIES, Tables};

/// Entries of one table looked at; their places take 16 MiB.
const ENTRY_LIMIT: u64 = 4 << 20;
/// Findings an answer has at most.
const FINDING_LIMIT: usize = 1000;

struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, offset: u64, what: String) {
        if self.list.len() < FINDING_LIMIT {
            self.list.push(Finding { offset, what, repaired: false });
        }
    }

    /// Notes a contradiction; any other error stays one.
    fn tolerate(&mut self, offset: u64, name: &str, result: Result<()>) -> Result<()> {
        match result {
            Err(Error::Corrupt { offset: at, what, .. }) => {
                self.add(offset, format!("{name} at {at}: {what}"));
                Ok(())
            }
            other => other,
        }
    }
}

/// Looks at all images of the chain.
///
/// # Errors
/// What a source answers.
pub fn check(map: &Map, tables: &mut Tables) -> Result<Vec<Finding>> {
    let mut findings = Findings { list: Vec::new() };
    for storage in &map.storages {
        for layer in &storage.layers {
            match layer {
                Layer::Expanding(image) => check_image(storage, image, tables, &mut findings)?,
                Layer::Plain(source) if source.size() < storage.end - storage.start => {
                    let what = format!("{} is shorter than its storage", source.name());
                    findings.add(storage.start, what);
                }
                Layer::Plain(_) => (),
            }
        }
    }
    Ok(findings.list)
}

fn check_image(
    storage: &Storage,
    image: &Expanding,
    tables: &mut Tables,
    findings: &mut Findings,
) -> Result<()> {
    let (source, header) = (&*image.source, &image.header);
    let name = source.name();
    let verified = extension::verify(source, header);
    findings.tolerate(storage.start, &name, verified)?;
    let mut used: Vec<u32> = Vec::new();
    let looked_at = header.entries.min(ENTRY_LIMIT);
    for number in 0..looked_at.div_ceil(PAGE_ENTRIES) {
        let page = tables.page(source, header, number)?;
        for (cluster, entry) in (number * PAGE_ENTRIES..).zip(page) {
            let Some(place) = header.place(entry.get()) else { continue };
            used.push(entry.get());
            let odd = || odd_place(header, place);
            let odd = || odd().map(|what| format!("cluster {cluster} of {name} {what}"));
            if let Some(what) = image.damage(cluster, place).or_else(odd) {
                let offset = cluster.saturating_mul(header.cluster);
                let end = storage.end.saturating_sub(1);
                findings.add(storage.start.saturating_add(offset).min(end), what);
            }
        }
    }
    if looked_at < header.entries {
        let what = format!("only {looked_at} of {} entries of {name} are checked", header.entries);
        findings.add(storage.start, what);
    }
    used.sort_unstable();
    find_clashes(storage, header, &name, &used, findings);
    Ok(())
}

/// What reads well, and no writer would do.
fn odd_place(header: &Header, place: u64) -> Option<String> {
    let start = header.data_start;
    match (header.generation, place.checked_sub(start)) {
        (Generation::Second, _) => None,
        (_, None) => Some(format!("lies at {place}, before the data at {start}")),
        (_, Some(distance)) if !distance.is_multiple_of(header.cluster) => {
            Some(format!("lies at {place}, not whole clusters behind {start}"))
        }
        _ => None,
    }
}

/// Two clusters that share bytes of the file, and one that shares some with the
/// extension. `used` are table entries in order.
fn find_clashes(
    storage: &Storage,
    header: &Header,
    name: &str,
    used: &[u32],
    findings: &mut Findings,
) {
    let place = |entry: &u32| u64::from(*entry) * header.unit();
    let overlap = |one: u64, other: u64| one.abs_diff(other) < header.cluster;
    for pair in used.windows(2) {
        if let [one, other] = pair
            && overlap(place(one), place(other))
        {
            let (one, other) = (place(one), place(other));
            let what = format!("two clusters of {name} share bytes, at {one} and at {other}");
            findings.add(storage.start, what);
        }
    }
    let Some(extension) = header.extension else { return };
    let next = used.partition_point(|entry| place(entry) < extension);
    let near = used.iter().skip(next.saturating_sub(1)).take(2).map(place);
    if let Some(place) = near.into_iter().find(|place| overlap(*place, extension)) {
        let what = format!("a cluster of {name}, at {place}, lies on the format extension");
        findings.add(storage.start, what);
    }
}
