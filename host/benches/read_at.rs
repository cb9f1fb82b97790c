//! `Disk::read_at` in process, beside `pread` of the same bytes: what a plan, its
//! look-up in the extent cache, and the mover add. Run by `cargo bench`; the last
//! lines are the ratios that the design asks for (at most 1.15).

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use criterion::Criterion;
use fumehood::{Disk, Engine, OpenOptions};

const SIZE: u64 = 256 << 20;
const BLOCK: usize = 4096;

/// Pseudo-random block offsets, the same for every side.
struct Offsets(u64);

impl Offsets {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % (SIZE / BLOCK as u64) * BLOCK as u64
    }
}

fn make_raw(folder: &Path) -> PathBuf {
    let path = folder.join("disk.raw");
    let mut file = File::create(&path).expect("the temporary folder is writable");
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| (at / 3) as u8 | 1).collect();
    for _ in 0..SIZE >> 20 {
        file.write_all(&block).expect("there is room for the image");
    }
    path
}

fn open(engine: &Engine, path: &Path, format: &str) -> Disk {
    let options = OpenOptions { format: Some(format.into()), ..OpenOptions::default() };
    let image = engine.open(path, options).expect("the image opens");
    image.disk(0).expect("it has a disk")
}

/// Nanoseconds a read, the best of many short runs: the noise is only ever added.
fn best(mut read: impl FnMut(u64, &mut [u8])) -> f64 {
    let mut buffer = vec![0; BLOCK];
    let mut offsets = Offsets(1);
    let mut best = Duration::MAX;
    for _ in 0..200 {
        let started = Instant::now();
        for _ in 0..1000 {
            read(offsets.next(), &mut buffer);
        }
        best = best.min(started.elapsed());
    }
    best.as_nanos() as f64 / 1000.0
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let raw = make_raw(folder.path());
    let qcow2 = folder.path().join("disk.qcow2");
    let made = Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .args([&raw, &qcow2])
        .status();
    assert!(made.is_ok_and(|status| status.success()), "qemu-img makes the qcow2 image");

    let engine = Engine::new().expect("the engine starts");
    let file = File::open(&raw).expect("the raw image opens");
    let pread = |offset, buffer: &mut [u8]| {
        file.read_exact_at(buffer, offset).expect("the file is whole");
    };
    let disks = [("raw", open(&engine, &raw, "raw")), ("qcow2", open(&engine, &qcow2, "qcow2"))];

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("random 4 KiB");
    let mut buffer = vec![0; BLOCK];
    let mut offsets = Offsets(1);
    group.bench_function("pread", |b| b.iter(|| pread(offsets.next(), black_box(&mut buffer))));
    for (name, disk) in &disks {
        let read = |offset, buffer: &mut [u8]| disk.read_at(buffer, offset).expect("it reads");
        group.bench_function(*name, |b| b.iter(|| read(offsets.next(), black_box(&mut buffer))));
    }
    group.finish();
    criterion.final_summary();

    let base = best(pread);
    for (name, disk) in &disks {
        let ours = best(|offset, buffer| disk.read_at(buffer, offset).expect("it reads"));
        println!("{name}: {ours:.0} ns, pread: {base:.0} ns, ratio {:.2}", ours / base);
    }
}
