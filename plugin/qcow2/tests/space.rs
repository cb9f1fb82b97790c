//! Room: encoded clusters, other sizes, growing counts, no space, and repair.

mod support;

use std::rc::Rc;

use miniz_oxide::deflate::core::{
    CompressionStrategy, CompressorOxide, TDEFLFlush, compress, create_comp_flags_from_zip_params,
};

use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Codec, Error, Source};
use support::bench::{Bench, Verdict};
use support::writer::{
    SparseFile, carry_out, create, created, open_host, open_source, options, steps,
};
use support::{put64, small_image};

const SIZE: u64 = (3 << 20) + 1536;

/// Raw deflate that any window can hold: it refers to the byte before only.
fn deflate(bytes: &[u8]) -> Vec<u8> {
    let flags = create_comp_flags_from_zip_params(6, -12, CompressionStrategy::RLE as i32);
    let mut out = vec![0; bytes.len() * 2];
    let mut compressor = CompressorOxide::new(flags);
    let (_, _, length) = compress(&mut compressor, bytes, &mut out, TDEFLFlush::Finish);
    out.truncate(length);
    out
}

fn encode(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Zstd => {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            ruzstd::encoding::compress_to_vec(bytes, level)
        }
        _ => deflate(bytes),
    }
}

#[test]
fn encoded_clusters() {
    let bench = Bench::new("encoded");
    let formats = [
        "cluster_size=512",
        "cluster_size=4k,refcount_bits=1",
        "cluster_size=64k,refcount_bits=2",
        "cluster_size=64k,compression_type=zstd",
        "cluster_size=64k,extended_l2=on",
        "cluster_size=2M",
        "compat=0.10",
    ];
    for (seed, settings) in formats.into_iter().enumerate() {
        let (mut host, source) = open_host(created(options(SIZE, settings)), &[]);
        let opened = open_source(Rc::new(source.clone())).unwrap();
        let encoding = opened.disks()[0].encoding.unwrap();
        let unit = encoding.unit as usize;
        let mut random = Random::new(seed as u64);
        let mut model: Vec<u8> =
            (0..SIZE).map(|at| (at / 96) as u8 ^ (random.below(2) as u8 * 3)).collect();
        let mut ranges = Vec::new();
        for at in (0..SIZE as usize).step_by(unit) {
            let mut cluster = model[at..(at + unit).min(model.len())].to_vec();
            let length = cluster.len();
            cluster.resize(unit, 0);
            let stored = encode(encoding.codec, &cluster);
            if stored.len() >= unit || random.one_in(9) {
                model[at..at + length].fill(0);
                continue;
            }
            let place = host.disk().place_encoded(at as u64, stored.len() as u32).unwrap();
            source.write(place.offset, &stored).unwrap();
            ranges.push((at as u64, length as u64));
        }
        assert!(!ranges.is_empty(), "{settings}");
        source.flush().unwrap();
        host.disk().commit(&ranges).unwrap();
        host.flush().unwrap();
        assert_eq!(host.disk().check(false).unwrap(), [], "{settings}");
        assert!(host.contents().unwrap() == model, "{settings}");
        let steps = steps(seed as u64, 20, SIZE);
        carry_out(&mut host, &mut model, &steps[..10]).unwrap();
        host.close().unwrap();
        std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
        assert_eq!(bench.check("disk.qcow2"), Verdict::Sound, "{settings}");
        assert!(bench.raw("disk.qcow2") == model, "{settings}");
    }
}

#[test]
fn encoded_room_that_is_never_used_is_given_back() {
    let bench = Bench::new("encoded-unused");
    let (mut host, source) = open_host(created(options(SIZE, "")), &[]);
    let disk = host.disk();
    for at in 0..6 {
        disk.place_encoded(at << 16, 20_000).unwrap();
    }
    disk.place_encoded(1 << 16, 65_536).unwrap();
    disk.place(2 << 16, 512).unwrap();
    disk.zero(3 << 16, 1 << 16, true).unwrap();
    assert_eq!(disk.commit(&[(3 << 16, 1 << 16)]), Err(Error::OutOfRange));
    assert_eq!(disk.place_encoded(512, 20), Err(Error::OutOfRange));
    assert_eq!(disk.place_encoded(0, 65_537), Err(Error::OutOfRange));
    assert_eq!(disk.check(false).unwrap(), []);
    host.close().unwrap();
    std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
    assert_eq!(bench.check("disk.qcow2"), Verdict::Sound);
}

#[test]
fn other_sizes() {
    let bench = Bench::new("sizes-written");
    for (seed, settings) in [
        "cluster_size=512",
        "cluster_size=4k,compat=0.10",
        "",
        "cluster_size=16k,extended_l2=on",
        "cluster_size=2M",
    ]
    .into_iter()
    .enumerate()
    {
        let (mut host, source) = open_host(created(options(SIZE, settings)), &[]);
        let mut model = vec![0; SIZE as usize];
        for (round, size) in
            [5 << 20, (1 << 20) + 512, 9 << 20, 512, 2 << 20].into_iter().enumerate()
        {
            let steps = steps((seed * 10 + round) as u64, 12, model.len() as u64);
            carry_out(&mut host, &mut model, &steps).unwrap();
            host.resize(size).unwrap_or_else(|e| panic!("{settings} to {size}: {e}"));
            model.resize(size as usize, 0);
            assert!(host.contents().unwrap() == model, "{settings} {size}");
            host.flush().unwrap();
            std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
            assert!(!matches!(bench.check("disk.qcow2"), Verdict::Wrong(_)), "{settings} {size}");
            assert!(bench.raw("disk.qcow2") == model, "{settings} {size}");
        }
        host.close().unwrap();
        std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
        assert_eq!(bench.check("disk.qcow2"), Verdict::Sound, "{settings}");
    }
}

#[test]
fn what_the_parent_has_behind_the_old_end_stays_hidden() {
    let bench = Bench::new("grown-parent");
    std::fs::write(bench.path("base.raw"), vec![7; 8 << 20]).unwrap();
    for compat in ["1.1", "0.10"] {
        let settings = format!("compat={compat}");
        let mut options = options(2 << 20, &settings);
        options.parent = Some(fumehood_plugin::Parent {
            references: vec!["base.raw".into()],
            identities: vec![],
            format: Some("raw".into()),
        });
        let (mut host, source) = open_host(created(options), &vec![7; 8 << 20]);
        host.resize(6 << 20).unwrap();
        host.close().unwrap();
        std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
        assert_eq!(bench.check("disk.qcow2"), Verdict::Sound);
        let disk = bench.raw("disk.qcow2");
        assert!(disk[..2 << 20].iter().all(|byte| *byte == 7) && disk.len() == 6 << 20);
        assert!(disk[2 << 20..].iter().all(|byte| *byte == 0), "{compat}");
    }
}

/// Links clusters all over a large disk; nothing is written to them.
fn fill(settings: &str, disk_size: u64, amount: u64) {
    let bench = Bench::new("large");
    let source = Rc::new(SparseFile::create(&bench.path("disk.qcow2")));
    let image = create(source.clone(), options(disk_size, settings)).unwrap();
    let mut disk = image.disk(0).unwrap();
    let step = 64 << 20;
    for at in (0..amount).step_by(step) {
        let placements = disk.place(at, step as u64).unwrap();
        let ranges: Vec<_> = placements.iter().map(|room| (room.offset, room.length)).collect();
        disk.commit(&ranges).unwrap();
        if (at / step as u64).is_multiple_of(64) {
            disk.flush().unwrap();
        }
    }
    disk.flush().unwrap();
    image.close().unwrap();
    assert!(source.size() >= amount, "{settings}");
    assert_eq!(bench.check("disk.qcow2"), Verdict::Sound, "{settings}");
    let opened = open_source(source).unwrap();
    assert_eq!(opened.disk(0).unwrap().check(false).unwrap(), [], "{settings}");
}

#[test]
fn counts_grow_with_the_file() {
    fill("cluster_size=512,refcount_bits=64", 1 << 30, 192 << 20);
    fill("cluster_size=512,refcount_bits=1", 1 << 30, 192 << 20);
    fill("cluster_size=4k", 64 << 30, 10 << 30);
    fill("", 1 << 40, 300 << 30);
    fill("cluster_size=2M,refcount_bits=64", 1 << 42, 1 << 39);
}

#[test]
fn no_space_is_tried_again() {
    let bench = Bench::new("no-space");
    for settings in ["cluster_size=4k", "", "cluster_size=16k,extended_l2=on"] {
        let (mut host, source) = open_host(created(options(8 << 20, settings)), &[]);
        let mut model = vec![0; 8 << 20];
        let mut limit = source.size();
        let mut refused = 0;
        for step in steps(5, 60, 8 << 20) {
            source.limit(limit);
            while let Err(error) = carry_out(&mut host, &mut model, &[step]) {
                assert_eq!(error, Error::NoSpace, "{settings}");
                refused += 1;
                limit += 300_000;
                source.limit(limit);
            }
        }
        assert!(refused > 5, "{settings}: refused {refused} times");
        assert!(host.contents().unwrap() == model, "{settings}");
        host.close().unwrap();
        std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
        assert_eq!(bench.check("disk.qcow2"), Verdict::Sound, "{settings}");
        assert!(bench.raw("disk.qcow2") == model, "{settings}");
    }
}

#[test]
fn free_clusters_are_used_before_the_file_grows() {
    let bench = Bench::new("reuse");
    let (mut host, source) = open_host(created(options(64 << 20, "")), &[]);
    host.write(0, &vec![1; 32 << 20]).unwrap();
    host.flush().unwrap();
    host.zero(0, 24 << 20, true).unwrap();
    host.close().unwrap();
    let before = source.size();
    // Another session, which has to find them.
    let (mut host, source) = open_host(source.bytes(), &[]);
    host.write(40 << 20, &vec![2; 20 << 20]).unwrap();
    host.close().unwrap();
    assert!(source.size() <= before + (2 << 20), "{before} grew to {}", source.size());
    std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
    assert_eq!(bench.check("disk.qcow2"), Verdict::Sound);
}

#[test]
fn wrong_counts_are_repaired() {
    let bench = Bench::new("repair");
    for settings in ["cluster_size=512", "", "cluster_size=16k,extended_l2=on"] {
        let (mut host, source) = open_host(created(options(SIZE, settings)), &[]);
        let mut model = vec![0; SIZE as usize];
        carry_out(&mut host, &mut model, &steps(9, 30, SIZE)).unwrap();
        host.close().unwrap();
        let mut bytes = source.bytes();
        let block = u64::from_be_bytes({
            let table = u64::from_be_bytes(bytes[48..56].try_into().unwrap()) as usize;
            bytes[table..table + 8].try_into().unwrap()
        }) as usize;
        // Free, leaked, and counted three times.
        bytes[block + 4 * 2 + 1] = 0;
        bytes[block + 5 * 2 + 1] = 3;
        bytes[block + 120 * 2 + 1] = 1;
        std::fs::write(bench.path("disk.qcow2"), &bytes).unwrap();
        assert!(matches!(bench.check("disk.qcow2"), Verdict::Wrong(_)), "{settings}");
        let (mut host, source) = open_host(bytes, &[]);
        let found = host.disk().check(false).unwrap();
        assert!(found.len() >= 2 && found.iter().all(|finding| !finding.repaired), "{found:?}");
        let repaired = host.disk().check(true).unwrap();
        assert_eq!(repaired.len(), found.len(), "{repaired:?}");
        assert!(repaired.iter().all(|finding| finding.repaired), "{repaired:?}");
        assert_eq!(host.disk().check(false).unwrap(), [], "{settings}");
        host.close().unwrap();
        std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
        assert_eq!(bench.check("disk.qcow2"), Verdict::Sound, "{settings}");
        assert!(bench.raw("disk.qcow2") == model, "{settings}");
    }
}

/// QEMU leaves the dirty bit and wrong counts behind when it is killed.
#[test]
fn an_image_that_was_not_closed_is_repaired_when_it_is_opened() {
    let bench = Bench::new("dirty");
    let create = ["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "disk.qcow2", "4M"];
    bench.run("qemu-img", &create);
    let write = "write -P 5 100k 900k";
    let killed = std::process::Command::new("qemu-io")
        .args(["-f", "qcow2", "-c", write, "-c", "flush", "-c", "abort", "disk.qcow2"])
        .current_dir(bench.path("."))
        .output()
        .unwrap();
    assert!(!killed.status.success());
    let bytes = bench.bytes("disk.qcow2");
    assert_eq!(bytes[79], 1, "the dirty bit");
    let (mut host, source) = open_host(bytes, &[]);
    host.write(2 << 20, &[6; 70_000]).unwrap();
    host.close().unwrap();
    let bytes = source.bytes();
    assert_eq!(bytes[79], 0, "the dirty bit");
    std::fs::write(bench.path("disk.qcow2"), bytes).unwrap();
    assert_eq!(bench.check("disk.qcow2"), Verdict::Sound);
    let disk = bench.raw("disk.qcow2");
    assert!(disk[100 << 10..1000 << 10].iter().all(|byte| *byte == 5));
    assert_eq!(disk[2 << 20..(2 << 20) + 70_000], vec![6; 70_000]);
}

#[test]
fn what_is_worse_than_counts_is_not_repaired() {
    let mut image = small_image();
    // Two clusters of the disk in one of the file.
    put64(&mut image, support::L2 + 8, (1 << 63) | (5 * 512));
    put64(&mut image, support::L2, (1 << 63) | (5 * 512));
    let (mut host, source) = open_host(image.clone(), &[]);
    let before = source.bytes();
    let found = host.disk().check(true).unwrap();
    assert!(!found.is_empty() && found.iter().all(|finding| !finding.repaired), "{found:?}");
    assert_eq!(source.bytes(), before);
    put64(&mut image, 72, 1);
    let source = fumehood_plugin::simulate::JournalSource::new(0, "dirty", image);
    assert!(matches!(open_source(Rc::new(source)).err(), Some(Error::Corrupt { offset: 72, .. })));
}
