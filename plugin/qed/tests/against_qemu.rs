//! Images that QEMU makes: contents, what is said of them, and what a check finds.

mod support;

use std::fs;

use fumehood_plugin::{Confidence, Content, Format, Glimpse};
use fumehood_qed::Qed;
use fumehood_test_support::Bench;
use fumehood_test_support::tool::run;
use support::{made, open, read_windows};

const WRITES: [&str; 6] = [
    "write -P 1 0 5k",
    "write -P 2 3000k 1500k",
    "write -z 3500k 256k",
    "write -P 3 7M 2M",
    "write -P 4 9438208 512",
    "write -z 0 1M",
];

#[test]
fn what_qemu_writes_is_read() {
    let bench = Bench::new("qemu-writes");
    // QEMU does not open what it makes with tables of one cluster, or clusters of 16 MiB.
    for (cluster, table) in [("4096", "2"), ("4096", "16"), ("64k", "4"), ("1M", "2"), ("4M", "2")]
    {
        let options = format!("cluster_size={cluster},table_size={table}");
        for count in [0, 3, 5, 6] {
            let size = if cluster == "4096" { "9438720" } else { "12M" };
            let bytes = made(&bench, &["-o", &options, size], &WRITES[..count]);
            let expected = bench.by_qemu("qed", &bytes);
            for window in [u64::MAX, 700_001] {
                let found = read_windows(&bytes, window).unwrap();
                assert!(found == expected, "{options} {count}");
            }
            let image = open(&bytes).unwrap();
            assert_eq!(image.disk(0).unwrap().check(false).unwrap(), [], "{options} {count}");
            assert_eq!(image.info().warnings, [""; 0]);
            assert_eq!(image.disks()[0].parent, None);
        }
    }
}

#[test]
fn runs_are_joined() {
    let bench = Bench::new("runs");
    let raw = bench.text("disk.raw");
    fs::write(&raw, vec![5; 8 << 20]).unwrap();
    let path = bench.text("disk.qed");
    run("qemu-img", &["convert", "-f", "raw", "-O", "qed", &raw, &path]);
    let bytes = bench.read("disk.qed");
    let extents = open(&bytes).unwrap().disk(0).unwrap().extents(1 << 20, u64::MAX).unwrap();
    assert!(extents.len() < 3, "{extents:?}");
}

#[test]
fn zero_clusters_hide_a_backing_file() {
    let bench = Bench::new("zero");
    let bytes = made(&bench, &["4M"], &["write -P 1 0 64k", "write -z 1M 64k"]);
    let extents = open(&bytes).unwrap().disk(0).unwrap().extents(0, u64::MAX).unwrap();
    let kinds: Vec<_> = extents.iter().map(|extent| (extent.offset, &extent.content)).collect();
    assert_eq!(kinds.len(), 4);
    assert!(matches!(kinds[0], (0, Content::Stored(_))));
    assert_eq!(kinds[1], (64 << 10, &Content::Absent));
    assert_eq!(kinds[2], (1 << 20, &Content::Zero));
    assert_eq!(kinds[3], ((1 << 20) + (64 << 10), &Content::Absent));
}

#[test]
fn a_backing_file_is_named_and_raw_where_that_is_recorded() {
    let bench = Bench::new("backing");
    fs::write(bench.text("base.raw"), vec![3; 1 << 20]).unwrap();
    run("qemu-img", &["create", "-q", "-f", "qed", &bench.text("base.qed"), "1M"]);
    for (name, format, recorded) in [("base.raw", "raw", Some("raw")), ("base.qed", "qed", None)] {
        let base = bench.text(name);
        let bytes = made(&bench, &["-b", &base, "-F", format, "2M"], &["write -P 1 64k 64k"]);
        let parent = open(&bytes).unwrap().disks()[0].parent.clone().unwrap();
        assert_eq!(parent.references, [base]);
        assert_eq!(parent.format.as_deref(), recorded);
        assert_eq!(parent.identities, [""; 0]);
    }
}

#[test]
fn images_are_recognised_by_their_magic() {
    let glimpse = |head: &[u8]| Glimpse { head: head.to_vec(), ..Glimpse::default() };
    assert_eq!(Qed::probe(&glimpse(b"QED\0\0\0")), Confidence::Certain);
    assert_eq!(Qed::probe(&glimpse(b"QED")), Confidence::No);
    assert_eq!(Qed::probe(&glimpse(b"QEDX\0")), Confidence::No);
}
