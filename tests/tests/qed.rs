//! QED images that QEMU makes: bytes and maps as QEMU gives them, parents by what is
//! recorded of them.

use fumehood_tests::{Bench, Bounded, Server, content, map};

const SIZE: &str = "9438720";
const WRITES: [&str; 5] = [
    "write -P 1 0 5k",
    "write -P 2 3000k 1500k",
    "write -z 3500k 256k",
    "write -P 3 7M 2M",
    "write -P 4 9438208 512",
];

/// Makes `NAME` with `options`, and writes to it.
fn create(bench: &Bench, name: &str, options: &[&str], writes: &[&str]) {
    let head = ["create", "-q", "-f", "qed"];
    bench.peer("qemu-img", [&head, options, &[name, SIZE]].concat()).succeed();
    for write in writes {
        let outcome = bench.peer("qemu-io", ["-f", "qed", "-c", write, name]).succeed();
        assert!(!outcome.stdout.contains("failed"), "{write}: {}", outcome.stdout);
    }
}

/// The test fails unless bytes and map are what QEMU says; `parents` are options for
/// the parents.
fn agrees_with_qemu(bench: &Bench, name: &str, parents: &[&str]) {
    let expected = bench.converted_by_qemu(&["-f", "qed", name]);
    assert_eq!(bench.converted(&[parents, &[name]].concat()), expected, "{name}");
    let arguments = ["map", "--output=json", "-f", "qed", name];
    let expected = map::runs(&bench.peer("qemu-img", arguments).succeed().stdout);
    let arguments = [&["map", "--json"], parents, &[name]].concat();
    let found = map::runs(&bench.fumehood(arguments).succeed().stdout);
    map::compare(name, &found, &expected);
}

#[test]
fn every_shape_reads_as_with_qemu() {
    let bench = Bench::new();
    for (cluster, table) in [("4k", "2"), ("4k", "16"), ("64k", "4"), ("1M", "2")] {
        let name = format!("{cluster}-{table}.qed");
        let options = format!("cluster_size={cluster},table_size={table}");
        create(&bench, &name, &["-o", &options], &WRITES);
        agrees_with_qemu(&bench, &name, &[]);
        let outcome = bench.fumehood(["check", &name]).succeed();
        assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
    }
}

#[test]
fn a_server_gives_the_same_bytes() {
    let bench = Bench::new();
    create(&bench, "disk.qed", &[], &WRITES);
    let server = Server::unix(&bench, &["disk.qed"]);
    bench.peer("nbdcopy", [server.uri(), "copied.raw"]).succeed();
    let expected = bench.converted_by_qemu(&["-f", "qed", "disk.qed"]);
    assert_eq!(bench.fingerprint("copied.raw"), expected);
}

#[test]
fn a_raw_parent_is_recorded_and_others_are_named() {
    let bench = Bench::new();
    bench.write("base.raw", &content::sample(3 << 20));
    create(&bench, "middle.qed", &["-b", "base.raw", "-F", "raw"], &WRITES[..1]);
    agrees_with_qemu(&bench, "middle.qed", &[]);
    let backing = ["-b", "middle.qed", "-F", "qed", "-o", "cluster_size=4k"];
    create(&bench, "top.qed", &backing, &["write -P 7 2M 10k", "write -z 1M 64k"]);
    let outcome = bench.fumehood(["map", "top.qed"]).end_with(1);
    assert!(outcome.stderr.contains("--parent-format"), "{}", outcome.stderr);
    agrees_with_qemu(&bench, "top.qed", &["--parent-format", "qed"]);
}

#[test]
fn a_parent_that_is_missing_or_elsewhere_is_named() {
    let bench = Bench::new();
    create(&bench, "top.qed", &["-u", "-b", "lost.raw", "-F", "raw"], &[]);
    let outcome = bench.fumehood(["map", "top.qed"]).end_with(1);
    assert!(outcome.stderr.contains("lost.raw"), "{}", outcome.stderr);
    create(&bench, "thief.qed", &["-u", "-b", "/etc/passwd", "-F", "raw"], &[]);
    let outcome = bench.fumehood(["map", "thief.qed"]).end_with(1);
    assert!(outcome.stderr.contains("--allow"), "{}", outcome.stderr);
}

#[test]
fn an_image_that_was_not_closed_is_read_with_a_warning() {
    /// Where the lowest byte of the features lies.
    const FEATURES: usize = 16;
    let bench = Bench::new();
    create(&bench, "disk.qed", &[], &WRITES);
    let expected = bench.converted(&["disk.qed"]);
    bench.change("disk.qed", FEATURES, |bits| bits | 2);
    let outcome = bench.fumehood(["info", "disk.qed"]).succeed();
    assert!(outcome.stdout.contains("was not closed"), "{}", outcome.stdout);
    assert_eq!(bench.converted(&["disk.qed"]), expected);
    bench.change("disk.qed", FEATURES, |bits| bits | 8);
    let outcome = bench.fumehood(["info", "disk.qed"]).end_with(1);
    assert!(outcome.stderr.contains("features 0x8"), "{}", outcome.stderr);
}
