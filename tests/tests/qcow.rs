//! Images of QCOW's first version, as QEMU makes them: bytes and maps as QEMU gives
//! them.

use fumehood_tests::{Bench, Bounded, Server, content, map};

const SIZE: &str = "9438720";
const WRITES: [&str; 4] =
    ["write -P 1 0 5k", "write -P 2 3000k 1500k", "write -P 3 7M 2M", "write -P 4 9438208 512"];

/// Makes `NAME` with `options`, and writes to it.
fn create(bench: &Bench, name: &str, options: &[&str], writes: &[&str]) {
    let head = ["create", "-q", "-f", "qcow"];
    bench.peer("qemu-img", [&head, options, &[name, SIZE]].concat()).succeed();
    for write in writes {
        let outcome = bench.peer("qemu-io", ["-f", "qcow", "-c", write, name]).succeed();
        assert!(!outcome.stdout.contains("failed"), "{write}: {}", outcome.stdout);
    }
}

/// The test fails unless bytes and map are what QEMU says; `parents` are options for
/// the parents.
fn agrees_with_qemu(bench: &Bench, name: &str, parents: &[&str]) {
    let expected = bench.converted_by_qemu(&["-f", "qcow", name]);
    assert_eq!(bench.converted(&[parents, &[name]].concat()), expected, "{name}");
    let arguments = ["map", "--output=json", "-f", "qcow", name];
    let expected = map::runs(&bench.peer("qemu-img", arguments).succeed().stdout);
    let arguments = [&["map", "--json"], parents, &[name]].concat();
    let found = map::runs(&bench.fumehood(arguments).succeed().stdout);
    map::compare(name, &found, &expected);
}

/// `packed.qcow`, which holds `disk.raw`, with compressed and plain clusters.
fn packed() -> Bench {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(9_438_720));
    // QEMU fails without a word once all is written; what it wrote is compared.
    let convert = ["convert", "-c", "-f", "raw", "-O", "qcow", "disk.raw", "packed.qcow"];
    bench.peer("qemu-img", convert).finish();
    let expected = bench.fingerprint("disk.raw");
    assert_eq!(bench.converted_by_qemu(&["-f", "qcow", "packed.qcow"]), expected);
    bench
}

#[test]
fn plain_clusters_read_as_with_qemu() {
    let bench = Bench::new();
    create(&bench, "disk.qcow", &[], &WRITES);
    agrees_with_qemu(&bench, "disk.qcow", &[]);
    let outcome = bench.fumehood(["check", "disk.qcow"]).succeed();
    assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
    let info = bench.json(&["info", "--json", "disk.qcow"]);
    assert_eq!(info["format"], "qcow", "and not the later versions' format");
    create(&bench, "empty.qcow", &[], &[]);
    agrees_with_qemu(&bench, "empty.qcow", &[]);
}

#[test]
fn compressed_clusters_read_as_with_qemu() {
    let bench = packed();
    assert_eq!(bench.converted(&["packed.qcow"]), bench.fingerprint("disk.raw"));
    let found = map::runs(&bench.fumehood(["map", "--json", "packed.qcow"]).succeed().stdout);
    assert!(found.iter().any(|run| run.compressed == Some(true)), "{found:?}");
    let server = Server::unix(&bench, &["packed.qcow"]);
    bench.peer("nbdcopy", [server.uri(), "copied.raw"]).succeed();
    assert_eq!(bench.fingerprint("copied.raw"), bench.fingerprint("disk.raw"));
}

#[test]
fn a_compressed_cluster_that_is_damaged_fails_with_its_place() {
    let bench = packed();
    let mut bytes = bench.read("packed.qcow");
    let length = bytes.len();
    bytes[length / 2..].fill(0xff);
    bench.write("packed.qcow", &bytes);
    let outcome = bench.fumehood(["convert", "-O", "raw", "packed.qcow", "out.raw"]).end_with(1);
    assert!(outcome.stderr.contains("offset"), "{}", outcome.stderr);
    assert!(!bench.path("out.raw").exists());
}

#[test]
fn a_chain_reads_as_with_qemu() {
    let bench = Bench::new();
    create(&bench, "base.qcow", &[], &WRITES);
    let backing = ["-b", "base.qcow", "-F", "qcow"];
    create(&bench, "top.qcow", &backing, &["write -P 7 4M 100k", "write -P 8 65k 3k"]);
    let outcome = bench.fumehood(["map", "top.qcow"]).end_with(1);
    assert!(outcome.stderr.contains("--parent-format"), "{}", outcome.stderr);
    agrees_with_qemu(&bench, "top.qcow", &["--parent-format", "qcow"]);
    std::fs::remove_file(bench.path("base.qcow")).expect("just made");
    let outcome = bench.fumehood(["map", "top.qcow"]).end_with(1);
    assert!(outcome.stderr.contains("base.qcow"), "{}", outcome.stderr);
}

#[test]
fn a_parent_elsewhere_needs_a_grant() {
    let bench = Bench::new();
    create(&bench, "thief.qcow", &["-u", "-b", "/etc/passwd", "-F", "raw"], &[]);
    let outcome = bench.fumehood(["map", "--parent-format", "raw", "thief.qcow"]).end_with(1);
    assert!(outcome.stderr.contains("--allow"), "{}", outcome.stderr);
}

#[test]
fn an_encrypted_image_is_refused_and_says_so() {
    let bench = Bench::new();
    let options = ["--object", "secret,id=key,data=word", "-o"];
    let encrypted = "encrypt.format=aes,encrypt.key-secret=key";
    create(&bench, "locked.qcow", &[&options[..], &[encrypted]].concat(), &[]);
    for command in ["info", "map", "check"] {
        let outcome = bench.fumehood([command, "locked.qcow"]).end_with(1);
        assert!(outcome.stderr.contains("encrypted with AES"), "{}", outcome.stderr);
    }
}
