mod support;
use fumehood_plugin::simulate::Random;
use std::rc::Rc;
use std::time::Instant;
use support::bench::{Bench, Verdict};
use support::writer::{SparseFile, create, options};
#[test]
fn speed() {
    for (settings, size, granule) in [
        ("cluster_size=128k,extended_l2=on", 1u64 << 40, 4096u64),
        ("cluster_size=128k,extended_l2=on", 16u64 << 30, 4096u64),
        ("", 16u64 << 30, 65536u64),
    ] {
        let bench = Bench::new("speed");
        let source = Rc::new(SparseFile::create(&bench.path("disk.qcow2")));
        let image = create(source.clone(), options(size, settings)).unwrap();
        let mut disk = image.disk(0).unwrap();
        let mut random = Random::new(1);
        for _round in 0..4 {
            let offsets: Vec<u64> =
                (0..10_000).map(|_| random.below(size / granule) * granule).collect();
            let start = Instant::now();
            let mut slow = 0u128;
            for offset in &offsets {
                let one = Instant::now();
                disk.place(*offset, 4096).unwrap();
                slow = slow.max(one.elapsed().as_micros());
            }
            let placed = start.elapsed();
            let mut ranges: Vec<_> = offsets.iter().map(|at| (*at, granule)).collect();
            ranges.sort();
            ranges.dedup();
            let start = Instant::now();
            disk.commit(&ranges).unwrap();
            let committed = start.elapsed();
            let start = Instant::now();
            disk.flush().unwrap();
            println!(
                "{settings} {}G: 10000 places {placed:?} (slowest {slow} us), commit {committed:?}, flush {:?}",
                size >> 30,
                start.elapsed()
            );
        }
        let start = Instant::now();
        for at in (0..1u64 << 30).step_by(1 << 20) {
            disk.place(at, 1 << 20).unwrap();
        }
        println!("1024 sequential places of 1 MiB {:?}", start.elapsed());
        image.close().unwrap();
        assert_eq!(bench.check("disk.qcow2"), Verdict::Sound);
    }
}
