//! Images that QEMU makes: contents, what is said of them, and what a check finds.

mod support;

use std::fs;
use std::process::Command;

use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Content, Error, Format, Glimpse};
use fumehood_qcow::Qcow;
use fumehood_test_support::Bench;
use fumehood_test_support::tool::run;
use support::{made, open, put32, read_windows};

const WRITES: [&str; 5] = [
    "write -P 1 0 5k",
    "write -P 2 3000k 1500k",
    "write -P 3 7M 2M",
    "write -P 4 9438208 512",
    "write -P 5 4M 4k",
];

/// A disk of noise, text and zeroes, whose size is no multiple of a cluster.
fn sample() -> Vec<u8> {
    let mut random = Random::new(7);
    let mut bytes: Vec<u8> = (0..1 << 20).map(|_| random.next_word() as u8).collect();
    bytes.extend((0u32..).flat_map(|number| format!("line {number}\n").into_bytes()).take(2 << 20));
    bytes.resize(4 << 20, 0);
    bytes.extend((0..(3 << 19) + 512).map(|at: u32| (at / 700) as u8));
    bytes
}

#[test]
fn what_qemu_writes_is_read() {
    let bench = Bench::new("qemu-writes");
    for count in [0, 3, 5] {
        let bytes = made(&bench, &["9438720"], &WRITES[..count]);
        let expected = bench.by_qemu("qcow", &bytes);
        for window in [u64::MAX, 700_001] {
            assert!(read_windows(&bytes, window).unwrap() == expected, "{count}");
        }
        let image = open(&bytes).unwrap();
        assert_eq!(image.disk(0).unwrap().check(false).unwrap(), [], "{count}");
        assert_eq!(image.disks()[0].parent, None);
        assert_eq!(image.disks()[0].granularity, 4096);
    }
}

#[test]
fn what_qemu_compresses_is_read() {
    let bench = Bench::new("compressed");
    let (raw, path) = (bench.text("disk.raw"), bench.text("disk.qcow"));
    let disk = sample();
    fs::write(&raw, &disk).unwrap();
    // It fails without a word once all is written: the format's writer does not know the
    // empty write at the end. What it wrote is looked at below.
    let convert = ["convert", "-c", "-f", "raw", "-O", "qcow", &raw, &path];
    Command::new("qemu-img").args(convert).status().expect("tests/run installs it");
    let bytes = bench.read("disk.qcow");
    assert!(bench.by_qemu("qcow", &bytes) == disk);
    for window in [u64::MAX, 700_001, 4096, 1000] {
        assert!(read_windows(&bytes, window).unwrap() == disk, "{window}");
    }
    let image = open(&bytes).unwrap();
    assert_eq!(image.disk(0).unwrap().check(false).unwrap(), []);
    let extents = image.disk(0).unwrap().extents(0, u64::MAX).unwrap();
    let count =
        |kind: fn(&Content) -> bool| extents.iter().filter(|extent| kind(&extent.content)).count();
    assert!(count(|content| matches!(content, Content::Encoded(_))) > 700);
    // Noise is stored as it is, in few runs.
    assert!((1..10).contains(&count(|content| matches!(content, Content::Stored(_)))));
    assert!(count(|content| *content == Content::Absent) > 0);

    // Plain clusters among compressed ones.
    for write in &WRITES[..2] {
        run("qemu-io", &["-f", "qcow", "-c", write, &path]);
    }
    let bytes = bench.read("disk.qcow");
    assert!(read_windows(&bytes, u64::MAX).unwrap() == bench.by_qemu("qcow", &bytes));
    assert_eq!(open(&bytes).unwrap().disk(0).unwrap().check(false).unwrap(), []);
}

#[test]
fn a_compressed_cluster_that_was_written_over_is_read() {
    let bench = Bench::new("over");
    // In QEMU's hands the second takes a byte more, and the entry does not say so.
    let writes: Vec<_> = (0..=255).map(|fill| format!("write -c -P {fill} 8k 4k")).collect();
    for fills in [[0x01, 0xaa], [0xfd, 0xaa], [0xaa, 0x82]] {
        let writes: Vec<&str> = fills.iter().map(|fill| writes[*fill].as_str()).collect();
        let bytes = made(&bench, &["1M"], &writes);
        assert!(
            read_windows(&bytes, u64::MAX).unwrap() == bench.by_qemu("qcow", &bytes),
            "{fills:?}"
        );
    }
}

#[test]
fn small_clusters_over_a_backing_file_are_read() {
    let bench = Bench::new("backing");
    let base = bench.text("base.raw");
    fs::write(&base, vec![0; 1 << 20]).unwrap();
    let bytes = made(&bench, &["-b", &base, "-F", "raw", "2M"], &["write -P 1 65k 63k"]);
    let image = open(&bytes).unwrap();
    let info = image.disks().remove(0);
    assert_eq!(info.granularity, 512);
    let parent = info.parent.unwrap();
    assert_eq!((parent.references, parent.format), (vec![base], None));
    assert!(read_windows(&bytes, 4096).unwrap() == bench.by_qemu("qcow", &bytes));
    assert_eq!(image.disk(0).unwrap().check(false).unwrap(), []);
}

#[test]
fn the_time_of_the_backing_file_is_shown() {
    let bench = Bench::new("time");
    let mut bytes = made(&bench, &["1M"], &[]);
    put32(&mut bytes, 20, 1_100_000_000);
    let details = open(&bytes).unwrap().info().details;
    assert!(details.iter().any(|(_, text)| text.starts_with("1100000000")), "{details:?}");
}

#[test]
fn an_encrypted_image_is_refused_by_name() {
    let bench = Bench::new("encrypted");
    let secret = ["--object", "secret,id=key,data=word"];
    let options = ["-o", "encrypt.format=aes,encrypt.key-secret=key", "1M"];
    let bytes = made(&bench, &[&secret[..], &options].concat(), &[]);
    let Err(Error::Unsupported(what)) = open(&bytes) else { panic!("it was opened") };
    assert!(what.contains("encrypted with AES"), "{what}");
}

#[test]
fn only_version_1_is_recognised() {
    let bench = Bench::new("probe");
    let glimpse = |head: Vec<u8>| Glimpse { head, ..Glimpse::default() };
    let first = made(&bench, &["1M"], &[]);
    assert_eq!(Qcow::probe(&glimpse(first.clone())), Confidence::Certain);
    assert_eq!(Qcow::probe(&glimpse(first[..7].to_vec())), Confidence::No);
    for options in ["compat=0.10", "compat=1.1"] {
        let path = bench.text("disk.qcow2");
        run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", options, &path, "1M"]);
        let bytes = bench.read("disk.qcow2");
        assert_eq!(Qcow::probe(&glimpse(bytes.clone())), Confidence::No);
        assert!(matches!(open(&bytes), Err(Error::Unrecognised)));
    }
}
