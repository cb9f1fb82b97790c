//! Images written here and judged by QEMU: its check finds nothing, and it reads what
//! a model says.

mod support;

use support::bench::{Bench, Verdict};
use support::writer::{carry_out, commands, created, open_host, options, steps};

use fumehood_plugin::simulate::JournalSource;
use fumehood_plugin::{Error, Parent};

const SIZE: u64 = (3 << 20) + 1536;

/// Carries out a workload on `name`, which QEMU made, here and by QEMU on a copy.
fn differ(bench: &Bench, name: &str, parent: &[u8], seed: u64) {
    let mut model = bench.raw(name);
    let steps = steps(seed, 60, model.len() as u64);
    std::fs::copy(bench.path(name), bench.path("theirs.qcow2")).unwrap();
    let theirs = commands(&steps);
    bench.write("theirs.qcow2", &theirs.iter().map(String::as_str).collect::<Vec<_>>());

    let (mut host, source) = open_host(bench.bytes(name), parent);
    assert!(host.contents().unwrap() == model, "{name}: before");
    carry_out(&mut host, &mut model, &steps).unwrap_or_else(|e| panic!("{name} {seed}: {e}"));
    assert!(host.contents().unwrap() == model, "{name} {seed}: in memory");
    assert_eq!(host.disk().check(false).unwrap(), [], "{name} {seed}");
    host.close().unwrap();
    std::fs::write(bench.path("ours.qcow2"), source.bytes()).unwrap();
    assert_eq!(bench.check("ours.qcow2"), Verdict::Sound, "{name} {seed}");
    assert!(bench.raw("ours.qcow2") == model, "{name} {seed}: ours as QEMU reads it");
    assert!(bench.raw("theirs.qcow2") == model, "{name} {seed}: QEMU's own");
    // And QEMU goes on where this plugin stopped.
    bench.write("ours.qcow2", &["write -P 77 300k 1M", "write -z 100k 100k"]);
    model[300 << 10..(300 << 10) + (1 << 20)].fill(77);
    model[100 << 10..200 << 10].fill(0);
    assert_eq!(bench.check("ours.qcow2"), Verdict::Sound, "{name} {seed}: after QEMU");
    assert!(bench.raw("ours.qcow2") == model, "{name} {seed}: after QEMU");
}

const FORMATS: [&str; 9] = [
    "cluster_size=512",
    "cluster_size=4k,refcount_bits=1",
    "cluster_size=4k,compat=0.10",
    "cluster_size=64k",
    "cluster_size=64k,lazy_refcounts=on",
    "cluster_size=2M,refcount_bits=64",
    "cluster_size=16k,extended_l2=on",
    "cluster_size=128k,extended_l2=on,refcount_bits=2",
    "cluster_size=64k,preallocation=metadata",
];

fn make(bench: &Bench, name: &str, options: &str, extra: &[&str]) {
    let size = SIZE.to_string();
    let mut arguments = vec!["create", "-q", "-f", "qcow2", "-o", options];
    arguments.extend(extra);
    arguments.extend([name, &size]);
    bench.run("qemu-img", &arguments);
}

#[test]
fn images_that_qemu_made() {
    let bench = Bench::new("made");
    for (seed, format) in FORMATS.into_iter().enumerate() {
        make(&bench, "disk.qcow2", format, &[]);
        let before = ["write -P 1 0 300k", "write -P 2 700k 600k", "write -z 800k 128k"];
        bench.write("disk.qcow2", &before);
        differ(&bench, "disk.qcow2", &[], seed as u64);
    }
}

#[test]
fn images_with_a_backing_file() {
    let bench = Bench::new("backed");
    // Shorter than the disk: zeroes follow.
    let parent: Vec<u8> = (0..2 << 20).map(|at: u32| (at / 512 % 250) as u8 + 1).collect();
    std::fs::write(bench.path("base.raw"), &parent).unwrap();
    for (seed, format) in FORMATS.into_iter().enumerate() {
        if format.contains("preallocation") {
            continue;
        }
        make(&bench, "disk.qcow2", format, &["-b", "base.raw", "-F", "raw"]);
        bench.write("disk.qcow2", &["write -P 1 0 300k", "write -z 700k 600k"]);
        differ(&bench, "disk.qcow2", &parent, 100 + seed as u64);
    }
}

#[test]
fn images_with_snapshots_keep_them() {
    let bench = Bench::new("snapshots-written");
    for (seed, format) in FORMATS.into_iter().enumerate() {
        if format.contains("refcount_bits=1") {
            continue;
        }
        make(&bench, "disk.qcow2", format, &[]);
        bench.write("disk.qcow2", &["write -P 1 0 900k", "write -P 3 1500k 200k"]);
        bench.run("qemu-img", &["snapshot", "-c", "before", "disk.qcow2"]);
        bench.write("disk.qcow2", &["write -P 2 200k 300k"]);
        bench.run("qemu-img", &["snapshot", "-c", "after", "disk.qcow2"]);
        let read = |name: &str, snapshot: &str| {
            let filter = format!("snapshot.name={snapshot}");
            bench.run("qemu-img", &["convert", "-l", &filter, "-O", "raw", name, "snapshot.raw"]);
            bench.bytes("snapshot.raw")
        };
        let expected = ["before", "after"].map(|snapshot| read("disk.qcow2", snapshot));
        differ(&bench, "disk.qcow2", &[], 200 + seed as u64);
        let found = ["before", "after"].map(|snapshot| read("ours.qcow2", snapshot));
        assert!(found == expected, "{format}: a snapshot changed");
        // Without them nothing is left over.
        bench.run("qemu-img", &["snapshot", "-d", "before", "ours.qcow2"]);
        bench.run("qemu-img", &["snapshot", "-d", "after", "ours.qcow2"]);
        assert_eq!(bench.check("ours.qcow2"), Verdict::Sound, "{format}: without snapshots");
    }
}

#[test]
fn compressed_clusters_are_written_over() {
    let bench = Bench::new("compressed-written");
    make(&bench, "plain.qcow2", "cluster_size=64k", &[]);
    bench.write("plain.qcow2", &["write -P 1 0 1300k", "write -P 2 1400k 1M"]);
    let formats = [
        "cluster_size=4k,compat=0.10",
        "cluster_size=64k,compression_type=zlib",
        "cluster_size=64k,compression_type=zstd",
        "cluster_size=64k,extended_l2=on,compression_type=zlib",
        "cluster_size=64k,extended_l2=on,compression_type=zstd",
    ];
    for (seed, format) in formats.into_iter().enumerate() {
        let arguments = ["convert", "-c", "-O", "qcow2", "-o", format, "plain.qcow2", "disk.qcow2"];
        bench.run("qemu-img", &arguments);
        differ(&bench, "disk.qcow2", &[], 300 + seed as u64);
    }
}

#[test]
fn a_bitmap_loses_its_validity() {
    let bench = Bench::new("bitmap-written");
    make(&bench, "disk.qcow2", "cluster_size=64k", &[]);
    bench.write("disk.qcow2", &["write -P 1 0 300k"]);
    bench.run("qemu-img", &["bitmap", "--add", "disk.qcow2", "changes"]);
    let (mut host, source) = open_host(bench.bytes("disk.qcow2"), &[]);
    host.write(0, &[9; 512]).unwrap();
    host.close().unwrap();
    let bytes = source.bytes();
    assert_eq!(bytes[88..96], [0; 8], "the autoclear bits");
    std::fs::write(bench.path("disk.qcow2"), bytes).unwrap();
    // The bitmap's own clusters are what is left over.
    assert!(matches!(bench.check("disk.qcow2"), Verdict::Leaks(_)));
    assert_eq!(bench.raw("disk.qcow2")[..512], [9; 512]);
}

#[test]
fn created_images_are_what_qemu_expects() {
    let bench = Bench::new("created");
    let formats = [
        ("", "\"cluster-size\": 65536"),
        ("cluster_size=512,refcount_bits=1", "\"refcount-bits\": 1"),
        ("cluster_size=2M,compression_type=zstd", "\"compression-type\": \"zstd\""),
        ("extended_l2=on,cluster_size=128k", "\"extended-l2\": true"),
        ("compat=0.10,cluster_size=4096", "\"compat\": \"0.10\""),
    ];
    for (settings, expected) in formats {
        for size in [0, SIZE, 300 << 20] {
            let bytes = created(options(size, settings));
            std::fs::write(bench.path("disk.qcow2"), &bytes).unwrap();
            assert_eq!(bench.check("disk.qcow2"), Verdict::Sound, "{settings} {size}");
            let info = bench.run("qemu-img", &["info", "--output=json", "disk.qcow2"]);
            assert!(info.contains(expected), "{settings}: {info}");
            assert!(info.contains(&format!("\"virtual-size\": {size}")), "{settings}: {info}");
        }
    }
    let settings =
        ["cluster_size=100", "lazy_refcounts=on", "data_file=x", "compat=0.10,extended_l2=on"];
    for refused in settings {
        let error = support::writer::create(
            std::rc::Rc::new(JournalSource::new(0, "new", vec![])),
            options(SIZE, refused),
        );
        assert!(matches!(error.err(), Some(Error::Unsupported(_))), "{refused}");
    }
}

#[test]
fn a_parent_is_recorded_and_replaced() {
    let bench = Bench::new("rebased");
    for name in ["base.raw", "other.raw"] {
        std::fs::write(bench.path(name), vec![name.len() as u8; 1 << 20]).unwrap();
    }
    let parent = |name: &str| Parent {
        references: vec![name.into(), "ignored".into()],
        identities: vec!["5f0c1a".into(), "sha256:77".into()],
        format: Some("raw".into()),
    };
    for settings in ["cluster_size=512", "", "compat=0.10", "cluster_size=2M"] {
        let mut options = options(SIZE, settings);
        options.parent = Some(parent("base.raw"));
        let (mut host, source) = open_host(created(options), &[8; 1 << 20]);
        let recorded = |source: &JournalSource| {
            let opened = support::open(&source.bytes(), None, &[]).unwrap();
            opened.image.disks().remove(0).parent
        };
        let mut expected = parent("base.raw");
        expected.references.truncate(1);
        assert_eq!(recorded(&source), Some(expected.clone()));
        std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
        assert_eq!(bench.raw("disk.qcow2")[..1 << 20], [8; 1 << 20]);

        host.disk().rebase(Some(parent("other.raw"))).unwrap();
        host.flush().unwrap();
        expected.references = vec!["other.raw".into()];
        assert_eq!(recorded(&source), Some(expected));
        std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
        assert_eq!(bench.check("disk.qcow2"), Verdict::Sound);
        assert_eq!(bench.raw("disk.qcow2")[..1 << 20], [9; 1 << 20]);
        let long = Parent { references: vec!["x".repeat(1000)], ..parent("") };
        match settings {
            "cluster_size=512" => {
                let error = host.disk().rebase(Some(long)).err();
                assert!(matches!(error, Some(Error::Unsupported(_))));
            }
            _ => host.disk().rebase(Some(long)).unwrap(),
        }
        host.disk().rebase(None).unwrap();
        host.close().unwrap();
        assert_eq!(recorded(&source), None);
        std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
        assert_eq!(bench.check("disk.qcow2"), Verdict::Sound);
        assert_eq!(bench.raw("disk.qcow2"), vec![0; SIZE as usize]);
    }
}

#[test]
fn images_of_qemu_are_rebased() {
    let bench = Bench::new("rebased-qemu");
    std::fs::write(bench.path("base.raw"), vec![7; 1 << 20]).unwrap();
    make(&bench, "disk.qcow2", "cluster_size=64k", &["-b", "base.raw", "-F", "raw"]);
    let (mut host, source) = open_host(bench.bytes("disk.qcow2"), &[7; 1 << 20]);
    let name = format!("{}/other.raw", "a-long-folder/.".repeat(40));
    let parent = Parent { references: vec![name.clone()], identities: vec![], format: None };
    host.disk().rebase(Some(parent)).unwrap();
    host.close().unwrap();
    std::fs::write(bench.path("disk.qcow2"), source.bytes()).unwrap();
    let info = bench.run("qemu-img", &["info", "--output=json", "disk.qcow2"]);
    assert!(info.contains(&format!("\"backing-filename\": \"{name}\"")), "{info}");
    assert!(!info.contains("backing-filename-format"), "{info}");
}
