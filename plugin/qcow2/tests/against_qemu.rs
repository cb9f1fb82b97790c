//! Images that QEMU makes, read here and by QEMU.

mod support;

use fumehood_plugin::Content;
use support::bench::Bench;
use support::open;

/// Size of the disks: two L2 tables of the smallest clusters and more.
const SIZE: u64 = 3 << 20;

fn create(bench: &Bench, name: &str, options: &str) {
    let size = SIZE.to_string();
    bench.run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", options, name, &size]);
}

/// Compares an image with what `qemu-img convert` makes of it, and its check
/// with QEMU's, which found nothing.
fn compare(bench: &Bench, name: &str, snapshot: Option<&str>, beside: &[&str]) {
    let mut arguments = vec!["convert", "-f", "qcow2", "-O", "raw"];
    let filter = snapshot.map(|snapshot| format!("snapshot.name={snapshot}"));
    if let Some(filter) = &filter {
        arguments.extend(["-l", filter]);
    }
    arguments.extend([name, "expected.raw"]);
    bench.run("qemu-img", &arguments);
    bench.run("qemu-img", &["check", "-q", name]);
    let granted: Vec<_> = beside.iter().map(|name| (*name, bench.bytes(name))).collect();
    let opened = open(&bench.bytes(name), snapshot, &granted).unwrap();
    let expected = bench.bytes("expected.raw");
    let packed = opened.image.disk(0).unwrap().extents(0, u64::MAX).unwrap();
    let packed = packed.iter().any(|extent| matches!(extent.content, Content::Encoded(_)));
    // Every window decodes the clusters it touches anew.
    for window in [if packed { 700_000 } else { 1000 }, u64::MAX] {
        assert!(opened.read_all(window).unwrap() == expected, "{name} {snapshot:?} {window}");
    }
    assert_eq!(opened.image.disk(0).unwrap().check(false).unwrap(), [], "{name}");
}

/// Runs, holes, zeroes over data, and ends that are not the clusters'.
const WRITES: &[&str] = &[
    "write -P 1 0 300k",
    "write -P 2 100k 5k",
    "write -P 3 700k 600k",
    "write -z 800k 64k",
    "write -P 4 2500k 1536",
    "write -z 2600k 128k",
    "write -P 5 3071k 1k",
];

#[test]
fn cluster_sizes_and_versions() {
    let bench = Bench::new("sizes");
    for cluster in ["512", "4k", "64k", "2M"] {
        for (version, refcount_bits) in [("0.10", "16"), ("1.1", "1"), ("1.1", "64")] {
            let name = format!("{cluster}-{version}-{refcount_bits}.qcow2");
            create(
                &bench,
                &name,
                &format!("compat={version},refcount_bits={refcount_bits},cluster_size={cluster}"),
            );
            bench.write(&name, WRITES);
            compare(&bench, &name, None, &[]);
        }
    }
}

#[test]
fn compression() {
    let bench = Bench::new("compression");
    create(&bench, "plain.qcow2", "cluster_size=64k");
    bench.write("plain.qcow2", WRITES);
    let kinds = ["compat=0.10", "compression_type=zlib", "compression_type=zstd"];
    for (number, kind) in kinds.into_iter().enumerate() {
        for cluster in ["4k", "64k", "2M"] {
            let name = format!("{number}-{cluster}.qcow2");
            let options = format!("{kind},cluster_size={cluster}");
            let arguments = ["convert", "-c", "-O", "qcow2", "-o", &options, "plain.qcow2", &name];
            bench.run("qemu-img", &arguments);
            let opened = open(&bench.bytes(&name), None, &[]).unwrap();
            let extents = opened.image.disk(0).unwrap().extents(0, SIZE).unwrap();
            assert!(extents.iter().any(|extent| matches!(extent.content, Content::Encoded(_))));
            compare(&bench, &name, None, &[]);
        }
    }
}

#[test]
fn subclusters() {
    let bench = Bench::new("subclusters");
    for cluster in ["16k", "64k", "2M"] {
        let name = format!("{cluster}.qcow2");
        create(&bench, &name, &format!("extended_l2=on,cluster_size={cluster}"));
        bench.write(&name, WRITES);
        bench.write(&name, &["write -P 9 1500k 512", "write -z 1510k 2k", "discard 20k 4k"]);
        compare(&bench, &name, None, &[]);
    }
}

#[test]
fn an_external_data_file() {
    let bench = Bench::new("data-file");
    for raw in ["off", "on"] {
        let (name, data) = (format!("{raw}.qcow2"), format!("{raw}.data"));
        create(&bench, &name, &format!("data_file={data},data_file_raw={raw}"));
        bench.write(&name, WRITES);
        compare(&bench, &name, None, &[&data]);
    }
}

#[test]
fn snapshots() {
    let bench = Bench::new("snapshots");
    for (number, options) in
        ["cluster_size=512", "compat=0.10", "extended_l2=on"].into_iter().enumerate()
    {
        let name = format!("{number}.qcow2");
        create(&bench, &name, options);
        bench.write(&name, &WRITES[..3]);
        bench.run("qemu-img", &["snapshot", "-c", "before", &name]);
        bench.write(&name, &["write -P 8 100k 1M"]);
        bench.run("qemu-img", &["snapshot", "-c", "after", &name]);
        bench.write(&name, &["write -z 0 2M"]);
        for snapshot in [None, Some("before"), Some("after")] {
            compare(&bench, &name, snapshot, &[]);
        }
        let opened = open(&bench.bytes(&name), None, &[]).unwrap();
        let names: Vec<_> = opened.image.info().snapshots;
        assert_eq!((names[0].name.as_str(), names[1].name.as_str()), ("before", "after"));
        assert!(names.iter().all(|snapshot| snapshot.disk_size == SIZE));
    }
}

#[test]
fn a_snapshot_keeps_its_own_size() {
    let bench = Bench::new("resized");
    create(&bench, "disk.qcow2", "cluster_size=4k");
    bench.write("disk.qcow2", WRITES);
    bench.run("qemu-img", &["snapshot", "-c", "small", "disk.qcow2"]);
    bench.run("qemu-img", &["resize", "-q", "disk.qcow2", "9M"]);
    let opened = open(&bench.bytes("disk.qcow2"), Some("small"), &[]).unwrap();
    assert_eq!(opened.image.disks()[0].size, SIZE);
    assert_eq!(opened.read_all(SIZE).unwrap().len() as u64, SIZE);
    compare(&bench, "disk.qcow2", None, &[]);
}

#[test]
fn preallocation_and_bitmaps() {
    let bench = Bench::new("preallocation");
    for mode in ["metadata", "falloc", "full"] {
        let name = format!("{mode}.qcow2");
        create(&bench, &name, &format!("preallocation={mode}"));
        bench.write(&name, &["write -P 6 1M 70k"]);
        compare(&bench, &name, None, &[]);
    }
    create(&bench, "bitmaps.qcow2", "cluster_size=4k");
    bench.run("qemu-img", &["bitmap", "--add", "-g", "4k", "bitmaps.qcow2", "changes"]);
    bench.write("bitmaps.qcow2", WRITES);
    compare(&bench, "bitmaps.qcow2", None, &[]);
}

/// Only the overlay's own part is here: the rest is its parent's.
#[test]
fn a_backing_file_is_named() {
    let bench = Bench::new("backing");
    create(&bench, "base.qcow2", "cluster_size=64k");
    let arguments =
        ["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "overlay.qcow2"];
    bench.run("qemu-img", &arguments);
    bench.write("overlay.qcow2", WRITES);
    compare(&bench, "overlay.qcow2", None, &[]);
    let opened = open(&bench.bytes("overlay.qcow2"), None, &[]).unwrap();
    let parent = opened.image.disks().remove(0).parent.unwrap();
    assert_eq!(
        (parent.references[0].as_str(), parent.format.as_deref()),
        ("base.qcow2", Some("qcow2"))
    );
    let extents = opened.image.disk(0).unwrap().extents(0, SIZE).unwrap();
    let has = |content: Content| extents.iter().any(|extent| extent.content == content);
    assert!(has(Content::Absent) && has(Content::Zero));
}
