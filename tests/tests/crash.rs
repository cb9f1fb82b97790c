//! Crashes of the host with its plugins: what a flush promised is there, at whatever
//! point the power went, and nothing else has changed.
//!
//! A source in memory records every write and flush of a workload. Every prefix, and
//! samples of what may be lost or reordered since the last flush, is opened again,
//! compared with a model sector by sector, and given to qemu-img.

use std::sync::Arc;

use fumehood::core::{Access, Source};
use fumehood::{CreateOptions, Disk, Engine, OpenOptions};
use fumehood_plugin::simulate::{Crash, Event, crashes};
use fumehood_tests::content::Numbers;
use fumehood_tests::journal::JournalSource;
use fumehood_tests::{Bench, Bounded, content, peer};

const SECTOR: usize = 512;

/// What is tried.
struct Trial {
    format: &'static str,
    settings: &'static [(&'static str, &'static str)],
    size: usize,
    with_parent: bool,
    operations: u64,
    crashes: usize,
    /// How qemu-img calls the format, where it can check what we wrote.
    judge: Option<&'static str>,
}

#[test]
fn qcow2_with_clusters_of_64_kib() {
    run(&Trial {
        format: "qcow2",
        settings: &[],
        size: 6 << 20,
        with_parent: false,
        operations: 120,
        crashes: 700,
        judge: Some("qcow2"),
    });
}

#[test]
fn qcow2_with_subclusters_on_a_parent() {
    run(&Trial {
        format: "qcow2",
        settings: &[("cluster_size", "131072"), ("extended_l2", "on")],
        size: 6 << 20,
        with_parent: true,
        operations: 120,
        crashes: 700,
        judge: Some("qcow2"),
    });
}

#[test]
fn qcow2_with_the_smallest_clusters() {
    run(&Trial {
        format: "qcow2",
        settings: &[("cluster_size", "512")],
        size: 1 << 20,
        with_parent: false,
        operations: 100,
        crashes: 600,
        judge: Some("qcow2"),
    });
}

#[test]
fn vhdx() {
    run(&Trial {
        format: "vhdx",
        settings: &[("block_size", "1048576")],
        size: 6 << 20,
        with_parent: false,
        operations: 80,
        crashes: 300,
        judge: Some("vhdx"),
    });
}

#[test]
fn vhdx_on_a_parent() {
    run(&Trial {
        format: "vhdx",
        settings: &[("block_size", "1048576")],
        size: 6 << 20,
        with_parent: true,
        operations: 80,
        crashes: 300,
        judge: None,
    });
}

#[test]
fn vhd() {
    run(&Trial {
        format: "vhd",
        settings: &[],
        size: 8 << 20,
        with_parent: false,
        operations: 80,
        crashes: 300,
        judge: None,
    });
}

#[test]
fn vhd_on_a_parent() {
    run(&Trial {
        format: "vhd",
        settings: &[],
        size: 8 << 20,
        with_parent: true,
        operations: 80,
        crashes: 300,
        judge: None,
    });
}

/// What each sector held, and since which operation; 0 is the beginning.
struct Model {
    sectors: Vec<Vec<(u64, Vec<u8>)>>,
    flushes: Vec<u64>,
}

impl Model {
    fn new(contents: &[u8]) -> Self {
        let sectors = contents.chunks(SECTOR).map(|sector| vec![(0, sector.to_vec())]).collect();
        Self { sectors, flushes: vec![0] }
    }

    fn set(&mut self, operation: u64, first: usize, bytes: &[u8]) {
        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
            self.sectors[first + index].push((operation, sector.to_vec()));
        }
    }

    fn contents(&self) -> Vec<u8> {
        self.sectors.iter().flat_map(|values| values.last().expect("one").1.clone()).collect()
    }

    /// A sector of a crashed disk that is neither what it was at the last completed
    /// flush nor anything it was since.
    fn fault(&self, disk: &[u8], last: u64) -> Option<usize> {
        let flushed = *self.flushes.iter().rfind(|flush| **flush == 0 || **flush < last)?;
        disk.chunks(SECTOR).enumerate().position(|(number, found)| {
            let values = &self.sectors[number];
            let first = values.iter().rposition(|(since, _)| *since <= flushed).unwrap_or(0);
            let mut allowed = values[first..].iter().filter(|(since, _)| *since <= last);
            !allowed.any(|(_, bytes)| bytes == found)
        })
    }
}

fn run(trial: &Trial) {
    let bench = Bench::new();
    let engine = Engine::new().expect("an engine");
    // VHDX and VHD have parents of their own kind only.
    let kind = if trial.format == "qcow2" { "raw" } else { trial.format };
    let parent = trial.with_parent.then(|| {
        bench.write("parent.raw", &content::sample(trial.size));
        let convert = ["convert", "-f", "raw", "parent.raw", "parent", "-O", kind];
        bench.fumehood(convert).succeed();
        bench.path("parent")
    });
    let beginning = parent.as_ref().map(|_| content::sample(trial.size));

    let source = JournalSource::new(Vec::new(), Access::ReadWrite);
    let mut create = CreateOptions::new(trial.format, trial.size as u64);
    if let Some(path) = &parent {
        let raw = OpenOptions { format: Some(kind.into()), ..OpenOptions::default() };
        let image = engine.open(path, raw).expect("our parent");
        create = CreateOptions::on(trial.format, &image, 0).expect("our parent");
    }
    create.settings =
        trial.settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let place = bench.path("journal");
    let image = engine.create_source(source.clone(), &place, &create).expect("a new image");
    let (initial, _) = source.take();

    let mut model = Model::new(&beginning.unwrap_or_else(|| vec![0; trial.size]));
    let disk = image.disk(0).expect("its disk");
    work(&disk, &source, &mut model, trial);
    source.mark(trial.operations + 1);
    disk.close().expect("a proper end");
    model.flushes.push(trial.operations + 1);
    source.mark(trial.operations + 2);
    drop((disk, image));

    let (closed, events) = source.take();
    judge(&bench, trial, &closed, true);
    let last = trial.operations + 2;
    let closed = Crash { bytes: closed, mark: 0, last };
    check(&engine, &place, &options(trial), &model, &closed);
    let mut seen = 0;
    for (number, crash) in crashes(&initial, &events, 7, trial.crashes).enumerate() {
        check(&engine, &place, &options(trial), &model, &crash);
        if number % 25 == 0 {
            judge(&bench, trial, &crash.bytes, false);
        }
        seen = number;
    }
    assert!(seen > trial.crashes / 4, "{seen} crashes only");
    assert!(events.iter().filter(|event| **event == Event::Flush).count() > 10);
}

fn options(trial: &Trial) -> OpenOptions {
    OpenOptions { format: Some(trial.format.into()), ..OpenOptions::default() }
}

/// Writes, zeroes and flushes, on the disk and in the model.
fn work(disk: &Disk, source: &JournalSource, model: &mut Model, trial: &Trial) {
    let mut numbers = Numbers::new(trial.crashes as u64);
    let sectors = trial.size / SECTOR;
    for operation in 1..=trial.operations {
        source.mark(operation);
        let longest = [4, 16, 300, sectors / 3][numbers.below(4)];
        let count = 1 + numbers.below(longest);
        let first = numbers.below(sectors - count);
        let (offset, length) = ((first * SECTOR) as u64, (count * SECTOR) as u64);
        match numbers.below(8) {
            0 | 1 => {
                disk.flush().expect("a flush");
                model.flushes.push(operation);
            }
            2 | 3 => {
                model.set(operation, first, &vec![0; count * SECTOR]);
                disk.zero(offset, length, numbers.below(2) == 0).expect("zeroes");
            }
            _ => {
                let bytes = content::noise(count * SECTOR, operation);
                model.set(operation, first, &bytes);
                disk.write_at(&bytes, offset).expect("a write");
            }
        }
    }
    let mut shown = vec![0; trial.size];
    disk.read_at(&mut shown, 0).expect("a readable disk");
    assert!(shown == model.contents(), "the open disk differs from the model");
}

/// Opens a crash, read-only and for writing, and compares it.
fn check(
    engine: &Engine,
    place: &std::path::Path,
    options: &OpenOptions,
    model: &Model,
    crash: &Crash,
) {
    for access in [Access::Read, Access::ReadWrite] {
        let source: Arc<dyn Source> = JournalSource::new(crash.bytes.clone(), access);
        let image = engine.open_source(source, place, options.clone());
        let image = image.unwrap_or_else(|error| panic!("operation {}: {error}", crash.last));
        let disk = image.disk(0).unwrap_or_else(|error| panic!("{}: {error}", crash.last));
        let mut shown = vec![0; disk.size() as usize];
        let read = disk.read_at(&mut shown, 0);
        read.unwrap_or_else(|error| panic!("operation {}: {error}", crash.last));
        if let Some(sector) = model.fault(&shown, crash.last) {
            panic!("crash in operation {}: sector {sector} ({access:?})", crash.last);
        }
    }
}

/// What qemu-img finds: nothing in what was closed, nothing but leaks after a crash.
fn judge(bench: &Bench, trial: &Trial, bytes: &[u8], closed: bool) {
    let Some(format) = trial.judge else { return };
    bench.write("judged", bytes);
    let mut check = peer("qemu-img");
    check.args(["check", "-q", "-f", format]);
    if format == "vhdx" {
        // QEMU replays a log only where it may write.
        check.args(["-r", "all"]);
    }
    let outcome = check.arg(bench.path("judged")).finish();
    let code = outcome.code;
    let fine = if closed { code == Some(0) } else { matches!(code, Some(0 | 3)) };
    assert!(fine, "qemu-img check: {code:?} {} {}", outcome.stdout, outcome.stderr);
}
