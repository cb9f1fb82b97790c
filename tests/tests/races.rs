//! Writes that meet: with each other, with zeroes, with flushes, with changes of size,
//! with readers that are slow, and with an overlay that is put on top.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fumehood::core::contract::format::Parent;
use fumehood::core::{
    self, Access, Image, Layer, NewImage, OpenImage, Pieces, Source, SourceError,
};
use fumehood::export::DiskExport;
use fumehood::overlay::{self, Live};
use fumehood::{CreateOptions, Disk, Engine, OpenOptions};
use fumehood_tests::content::Numbers;
use fumehood_tests::journal::JournalSource;
use fumehood_tests::{Bench, content};

const MIB: u64 = 1 << 20;

/// A new image in memory, and its disk.
fn create(engine: &Engine, bench: &Bench, options: &CreateOptions) -> (Arc<JournalSource>, Disk) {
    let source = JournalSource::new(Vec::new(), Access::ReadWrite);
    let image = engine.create_source(source.clone(), bench.path("image"), options);
    let disk = image.expect("a new image").disk(0).expect("its disk");
    (source, disk)
}

/// What an image holds when it is opened anew.
fn reopened(engine: &Engine, bench: &Bench, format: &str, source: &JournalSource) -> Vec<u8> {
    let source = JournalSource::new(source.take().0, Access::Read);
    let options = OpenOptions { format: Some(format.into()), ..OpenOptions::default() };
    let image = engine.open_source(source, bench.path("image"), options).expect("the image");
    let disk = image.disk(0).expect("its disk");
    let mut bytes = vec![0; disk.size() as usize];
    disk.read_at(&mut bytes, 0).expect("readable");
    bytes
}

#[test]
fn room_made_in_advance_is_forgotten_when_the_size_changes() {
    let (bench, engine) = (Bench::new(), Engine::new().expect("an engine"));
    let (source, disk) = create(&engine, &bench, &CreateOptions::new("qcow2", 64 * MIB));
    let mut model = vec![0; 80 * MIB as usize];
    let mut write = |disk: &Disk, offset: u64, seed: u64| {
        let bytes = content::noise(65536, seed);
        model[offset as usize..][..65536].copy_from_slice(&bytes);
        disk.write_at(&bytes, offset).expect("a write");
    };
    for step in 0..128 {
        write(&disk, step * 65536, step);
    }
    disk.resize(80 * MIB).expect("a larger disk");
    // Elsewhere first: it takes what was given back.
    for step in 0..24 {
        write(&disk, 70 * MIB + step * 65536, 1000 + step);
    }
    for step in 128..160 {
        write(&disk, step * 65536, step);
    }
    disk.flush().expect("what was written is linked");
    disk.close().expect("a proper end");
    assert!(reopened(&engine, &bench, "qcow2", &source) == model);
}

#[test]
fn a_disk_that_ends_in_a_granule_grows_and_is_written() {
    let (bench, engine) = (Bench::new(), Engine::new().expect("an engine"));
    let size = 4 * MIB + 512;
    let (source, disk) = create(&engine, &bench, &CreateOptions::new("qcow2", size));
    // Front to back, so that room is made up to the end.
    for step in 0..63 {
        disk.write_at(&content::noise(65536, step), step * 65536).expect("a write");
    }
    disk.resize(8 * MIB).expect("a larger disk");
    let bytes = content::noise(65536, 99);
    disk.write_at(&bytes, 4 * MIB).expect("a write over the old end");
    disk.close().expect("a proper end");
    assert!(reopened(&engine, &bench, "qcow2", &source)[4 * MIB as usize..][..65536] == bytes);
}

#[test]
fn an_overlay_that_grew_keeps_what_was_written_behind_its_old_end() {
    let (bench, engine) = (Bench::new(), Engine::new().expect("an engine"));
    bench.write("base.raw", &content::sample(4 * MIB as usize));
    let raw = OpenOptions { format: Some("raw".into()), ..OpenOptions::default() };
    let base = engine.open(bench.path("base.raw"), raw).expect("the base");
    let path = bench.path("work.qcow2");
    let top = overlay::open(&engine, &path, &base, 0, "qcow2").expect("an overlay");
    let export = DiskExport::new(top.disk(0).expect("its disk"), "", "");
    let live = Live::new(top, export);
    live.export().disk().resize(8 * MIB).expect("a larger disk");
    let bytes = content::noise(65536, 7);
    live.export().disk().write_at(&bytes, 6 * MIB).expect("a write");
    live.push().expect("an overlay on top");
    let mut found = vec![0; 65536];
    live.export().disk().read_at(&mut found, 6 * MIB).expect("readable");
    assert!(found == bytes, "behind the old end there is something else");
    live.export().disk().close().expect("a proper end");
    drop((live, base));
    let options = OpenOptions { allow: vec![bench.path("base.raw")], ..OpenOptions::default() };
    let image = engine.open(&path, options).expect("the overlay");
    image.disk(0).expect("its chain").read_at(&mut found, 6 * MIB).expect("readable");
    assert!(found == bytes, "opened again, there is something else");
}

#[test]
fn much_that_is_written_is_committed_while_nobody_waits_for_it() {
    let (bench, engine) = (Bench::new(), Engine::new().expect("an engine"));
    let mut options = CreateOptions::new("qcow2", 128 * MIB);
    let small = [("cluster_size", "16384"), ("extended_l2", "on")];
    options.settings.extend(small.map(|(name, value)| (name.into(), value.into())));
    let (source, disk) = create(&engine, &bench, &options);
    // Units of 512 bytes: from 64 MiB on there is much of them, and twice that is too much.
    let written = 72;
    for step in 0..written {
        disk.write_at(&content::noise(MIB as usize, step), step * MIB).expect("a write");
    }
    let pending = || disk.core().pending().iter().map(|range| range.length).sum::<u64>();
    let started = Instant::now();
    while pending() > 16 * MIB {
        assert!(started.elapsed() < Duration::from_secs(60), "{} bytes are pending", pending());
        thread::sleep(Duration::from_millis(5));
    }
    disk.close().expect("a proper end");
    let found = reopened(&engine, &bench, "qcow2", &source);
    for (step, bytes) in found.chunks(MIB as usize).enumerate().take(written as usize) {
        assert!(bytes == content::noise(MIB as usize, step as u64), "MiB {step}");
    }
}

/// A source that can be made to wait in a read.
struct Gate {
    bytes: Vec<u8>,
    closed: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicBool,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock().expect("no panic") = closed;
        self.opened.notify_all();
    }
}

impl Source for Gate {
    fn name(&self) -> &str {
        "gate"
    }
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn access(&self) -> Access {
        Access::Read
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let mut closed = self.closed.lock().expect("no panic");
        while *closed {
            self.waiting.store(true, Ordering::SeqCst);
            closed = self.opened.wait(closed).expect("no panic");
        }
        buffer.copy_from_slice(&self.bytes[offset as usize..][..buffer.len()]);
        Ok(())
    }
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> Result<(), SourceError> {
        Err(SourceError::ReadOnly("gate".into()))
    }
    fn resize(&self, _size: u64) -> Result<(), SourceError> {
        Err(SourceError::ReadOnly("gate".into()))
    }
    fn flush(&self) -> Result<(), SourceError> {
        Ok(())
    }
    fn discard(&self, _offset: u64, _length: u64) -> Result<bool, SourceError> {
        Err(SourceError::ReadOnly("gate".into()))
    }
    fn zero(&self, _offset: u64, _length: u64) -> Result<(), SourceError> {
        Err(SourceError::ReadOnly("gate".into()))
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn a_slow_parent_does_not_bring_back_what_was_there_before_a_write() {
    const SIZE: u64 = 64 * MIB;
    let (bench, engine) = (Bench::new(), Engine::new().expect("an engine"));
    let (below, disk) = create(&engine, &bench, &CreateOptions::new("qcow2", SIZE));
    disk.write_at(&[1; 512], 0).expect("a write");
    disk.close().expect("a proper end");
    let gate = Arc::new(Gate {
        bytes: below.take().0,
        closed: Mutex::new(false),
        opened: Condvar::new(),
        waiting: AtomicBool::new(false),
    });
    let plugin = engine.plugin("qcow2").expect("a plugin");
    let parent = Image::open(plugin.clone(), OpenImage::alone(gate.clone())).expect("the parent");
    let source = JournalSource::new(Vec::new(), Access::ReadWrite);
    let named = Parent {
        references: vec!["below".into()],
        identities: Vec::new(),
        format: Some("qcow2".into()),
    };
    let new = NewImage { size: SIZE, logical_sector: 512, parent: Some(named), now: 0 };
    let settings = vec![("cluster_size".to_string(), "512".to_string())];
    let open = OpenImage { settings, ..OpenImage::alone(source) };
    let top = Image::create(plugin, open, &new).expect("a new image");
    let layer = |image| Layer { image: Arc::new(image), number: 0 };
    let disk = core::Disk::new(vec![layer(top), layer(parent)], 1 << 20).expect("a chain");

    gate.set(true);
    thread::scope(|scope| {
        // The top has nothing there, and says so; the parent is slow.
        let reader = scope.spawn(|| disk.plan_read(0, 512, &mut Pieces::new()));
        while !gate.waiting.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        disk.zero(0..512, false).expect("zeroes");
        // So much stands above the cache now that it is dropped.
        for number in 0..33_000 {
            let offset = 16 * MIB + number * 1024;
            disk.zero(offset..offset + 512, false).expect("zeroes");
        }
        gate.set(false);
        reader.join().expect("a reader").expect("a plan");
    });
    let mut pieces = Pieces::new();
    disk.plan_read(0, 512, &mut pieces).expect("a plan");
    assert!(pieces.iter().all(|piece| piece.kind.is_zero()), "{pieces:?}");
}

#[test]
fn zeroes_reach_over_a_parent_in_small_pieces() {
    const SIZE: u64 = 128 * MIB;
    let (bench, engine) = (Bench::new(), Engine::new().expect("an engine"));
    let mut options = CreateOptions::new("qcow2", SIZE);
    options.settings = vec![("cluster_size".into(), "4096".into())];
    let below = engine.create(bench.path("below.qcow2"), &options).expect("a parent");
    let disk = below.disk(0).expect("its disk");
    // The first gap is longer, so that no count of pieces ends with a cluster of the top.
    for number in 1..16_000 {
        disk.write_at(&[7; 4096], number * 8192).expect("a write");
    }
    disk.close().expect("a proper end");
    drop((disk, below));
    let options = OpenOptions::default();
    let below = engine.open(bench.path("below.qcow2"), options).expect("the parent");
    let options = CreateOptions::on("qcow2", &below, 0).expect("the parent");
    let (_, disk) = create(&engine, &bench, &options);
    disk.zero(0, SIZE, false).expect("zeroes");
    let mut found = vec![1; SIZE as usize];
    disk.read_at(&mut found, 0).expect("readable");
    assert!(found.iter().all(|byte| *byte == 0));
}

/// A chain of two VHDX files whose top was opened again, written and frozen.
#[test]
fn a_vhdx_that_was_continued_and_frozen_is_known_to_its_child() {
    let (bench, engine) = (Bench::new(), Engine::new().expect("an engine"));
    let base = engine.create(bench.path("base.vhdx"), &CreateOptions::new("vhdx", 8 * MIB));
    base.expect("a base").disk(0).expect("its disk").close().expect("a proper end");
    let base = engine.open(bench.path("base.vhdx"), OpenOptions::default()).expect("the base");
    let path = bench.path("work.vhdx");
    for round in 0..2 {
        let top = overlay::open(&engine, &path, &base, 0, "vhdx").expect("an overlay");
        let export = DiskExport::new(top.disk(0).expect("its disk"), "", "");
        let live = Live::new(top, export);
        live.export().disk().write_at(&[5; 4096], MIB).expect("a write");
        if round == 1 {
            live.push().expect("an overlay on top");
        }
        live.export().disk().close().expect("a proper end");
    }
    let image = engine.open(&path, OpenOptions::default()).expect("the overlay");
    let mut found = [0; 4096];
    image.disk(0).expect("its chain").read_at(&mut found, MIB).expect("readable");
    assert!(found == [5; 4096]);
}

/// Threads that each own every fourth unit of a disk, write, zero and read there.
fn mingle(format: &str, settings: &[(&str, &str)], unit: u64, rounds: u64) {
    const THREADS: u64 = 4;
    let (bench, engine) = (Bench::new(), Engine::new().expect("an engine"));
    let mut options = CreateOptions::new(format, 16 * MIB);
    options.settings = settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let (source, disk) = create(&engine, &bench, &options);
    let units = disk.size() / unit;
    let started = AtomicU64::new(0);
    let models: Vec<Vec<u64>> = thread::scope(|scope| {
        let work = |owner: u64| {
            let (disk, started) = (&disk, &started);
            scope.spawn(move || {
                let mut numbers = Numbers::new(owner + 5);
                let mut model = vec![0; units as usize];
                let mut found = vec![0; unit as usize];
                started.fetch_add(1, Ordering::SeqCst);
                for round in 1..=rounds {
                    let near = numbers.below(units as usize) as u64 / 64 * 64;
                    let number =
                        (near + numbers.below(64) as u64) % units / THREADS * THREADS + owner;
                    if number >= units {
                        continue;
                    }
                    let offset = number * unit;
                    match numbers.below(8) {
                        0 | 1 => {
                            disk.zero(offset, unit, round % 2 == 0).expect("zeroes");
                            model[number as usize] = 0;
                        }
                        2 if round % 16 == 0 => disk.flush().expect("a flush"),
                        3 => {
                            disk.read_at(&mut found, offset).expect("readable");
                            let expected = pattern(model[number as usize], unit);
                            assert!(found == expected, "unit {number} in round {round}");
                        }
                        _ => {
                            let mark = owner << 32 | round;
                            disk.write_at(&pattern(mark, unit), offset).expect("a write");
                            model[number as usize] = mark;
                        }
                    }
                }
                model
            })
        };
        let threads: Vec<_> = (0..THREADS).map(work).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
    });
    let mut expected = Vec::new();
    for number in 0..units {
        expected.extend(pattern(models[(number % THREADS) as usize][number as usize], unit));
    }
    let mut shown = vec![0; expected.len()];
    disk.read_at(&mut shown, 0).expect("readable");
    let wrong = |shown: &[u8]| {
        shown.chunks(unit as usize).zip(expected.chunks(unit as usize)).position(|(a, b)| a != b)
    };
    assert_eq!(wrong(&shown), None, "{format} as it is open");
    disk.close().expect("a proper end");
    let again = reopened(&engine, &bench, format, &source);
    assert_eq!(wrong(&again[..expected.len()]), None, "{format} opened again");
}

fn pattern(mark: u64, unit: u64) -> Vec<u8> {
    if mark == 0 { vec![0; unit as usize] } else { content::noise(unit as usize, mark) }
}

#[test]
fn neighbours_in_a_granule_do_not_lose_each_others_writes() {
    mingle("qcow2", &[], 512, 12_000);
}

#[test]
fn neighbours_in_a_cluster_do_not_lose_each_others_writes() {
    mingle("qcow2", &[("cluster_size", "131072"), ("extended_l2", "on")], 4096, 12_000);
}
