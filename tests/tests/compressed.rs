//! Disks in compressed files of every kind: bytes as they were before, images in their
//! turn, and what is said where something is wrong.

use fumehood_tests::{Bench, Bounded, Server, content};

/// A few blocks of every kind, and no whole number of sectors.
const SIZE: usize = 9_000_123;

/// How each is made of `disk.raw`, on standard output, and whether it must be unpacked.
const KINDS: [(&str, &[&str], bool); 14] = [
    ("gz", &["gzip", "-c", "disk.raw"], false),
    ("pigz.gz", &["pigz", "-c", "-i", "-p4", "disk.raw"], false),
    ("xz", &["xz", "-c", "-0", "-T2", "--block-size=1MiB", "disk.raw"], false),
    (
        "sha.xz",
        &["xz", "-c", "-0", "-T1", "--block-size=700000", "-C", "sha256", "disk.raw"],
        false,
    ),
    ("pixz.xz", &["pixz", "-0", "-t", "disk.raw", "/dev/stdout"], false),
    ("x86.xz", &["xz", "-c", "--x86", "--lzma2=preset=0", "disk.raw"], true),
    ("zst", &["zstd", "-q", "-c", "disk.raw"], false),
    ("pzstd.zst", &["pzstd", "-q", "-c", "-p", "2", "disk.raw"], false),
    ("lz4", &["lz4", "-q", "-c", "-B5", "-BX", "disk.raw"], false),
    ("legacy.lz4", &["lz4", "-q", "-c", "-l", "disk.raw"], false),
    ("linked.lz4", &["lz4", "-q", "-c", "-B4", "-BD", "disk.raw"], true),
    ("lzo", &["lzop", "-c", "disk.raw"], false),
    ("crc.lzo", &["lzop", "-c", "--crc32", "disk.raw"], false),
    ("bz2", &["bzip2", "-c", "disk.raw"], true),
];

/// Runs a tool, and keeps what it writes.
fn pack(bench: &Bench, name: &str, command: &[&str]) {
    let script = "out=$1; shift; exec \"$@\" > \"$out\"";
    let arguments = [&["-c", script, "sh", name], command].concat();
    bench.peer("sh", arguments).succeed();
}

#[test]
fn every_kind_holds_what_was_compressed() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(SIZE));
    let expected = bench.fingerprint("disk.raw");
    for (ending, command, unpacked) in KINDS {
        let name = format!("disk.raw.{ending}");
        pack(&bench, &name, command);
        assert_eq!(bench.converted(&[&name]), expected, "{name}");
        let info = bench.json(&["info", "--json", &name]);
        assert_eq!(info["format"], "compressed/raw", "{name}: {info}");
        let warned = info["warnings"].as_array().is_some_and(|list| !list.is_empty());
        assert_eq!(warned, unpacked, "{name}: {info}");
        bench.fumehood(["check", &name]).succeed();
        bench.fumehood(["map", "--json", &name]).succeed();
    }
}

#[test]
fn an_image_in_it_is_opened_in_its_turn() {
    let bench = Bench::new();
    bench.create_qcow2("disk.qcow2", "cluster_size=64k", "64M");
    bench.qemu_io("disk.qcow2", &["write -s $noise 3M 1M", "write -P 7 40M 2M"]);
    let expected = bench.converted_by_qemu(&["disk.qcow2"]);
    for (name, command) in [
        ("disk.qcow2.gz", &["gzip", "-c", "disk.qcow2"][..]),
        ("disk.qcow2.xz", &["xz", "-c", "-0", "--block-size=500000", "disk.qcow2"]),
        ("disk.qcow2.zst", &["zstd", "-q", "-c", "disk.qcow2"]),
        ("disk.qcow2.bz2", &["bzip2", "-c", "disk.qcow2"]),
    ] {
        pack(&bench, name, command);
        assert_eq!(bench.converted(&[name]), expected, "{name}");
        let info = bench.json(&["info", "--json", name]);
        assert_eq!(info["format"], "compressed/qcow2", "{info}");
    }
    pack(&bench, "twice.gz.xz", &["xz", "-c", "-0", "disk.qcow2.gz"]);
    assert_eq!(bench.converted(&["twice.gz.xz"]), expected);
}

#[test]
fn a_part_too_long_to_be_decoded_whole_is_unpacked_once() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(SIZE));
    bench.peer("truncate", ["-s", "70M", "disk.raw"]).succeed();
    let expected = bench.fingerprint("disk.raw");
    for (name, command) in [
        ("disk.raw.zst", &["zstd", "-q", "-c", "--long=25", "disk.raw"][..]),
        ("disk.raw.xz", &["xz", "-c", "-T1", "--lzma2=preset=0,dict=24MiB", "disk.raw"]),
    ] {
        pack(&bench, name, command);
        assert_eq!(bench.converted(&[name]), expected, "{name}");
        let info = bench.json(&["info", "--json", name]);
        let warning = info["warnings"][0].as_str().unwrap_or_default();
        assert!(warning.contains("unpacked"), "{name}: {info}");
    }
}

#[test]
fn it_is_served_as_a_disk() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(SIZE / 512 * 512));
    for (ending, command, _) in KINDS.iter().filter(|(ending, ..)| matches!(*ending, "gz" | "lzo"))
    {
        let name = format!("disk.raw.{ending}");
        pack(&bench, &name, command);
        let server = Server::unix(&bench, &[&name]);
        bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
        assert_eq!(bench.fingerprint("found.raw"), bench.fingerprint("disk.raw"), "{name}");
    }
}

#[test]
fn a_cut_file_is_refused_with_its_place() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(2_000_000));
    for (ending, command, _) in KINDS.iter().filter(|(ending, ..)| *ending != "legacy.lz4") {
        let name = format!("disk.raw.{ending}");
        pack(&bench, &name, command);
        let whole = bench.read(&name);
        bench.write(&name, &whole[..whole.len() / 2]);
        let outcome = bench.fumehood(["info", &name]).end_with(1);
        assert!(outcome.stderr.contains("offset"), "{name}: {}", outcome.stderr);
    }
}

#[test]
fn a_changed_byte_is_found() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(2_000_000));
    for ending in ["gz", "xz", "lzo", "bz2"] {
        let (_, command, _) = KINDS.iter().find(|(own, ..)| *own == ending).expect("it is there");
        let name = format!("disk.raw.{ending}");
        pack(&bench, &name, command);
        bench.change(&name, 100_000, |byte| byte ^ 4);
        bench.fumehood(["convert", "-O", "raw", &name, "out.raw"]).end_with(1);
        assert!(!bench.path("out.raw").exists(), "{name}: nothing is left");
    }
}

#[test]
fn what_takes_too_much_memory_is_named_with_the_way_out() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(2_000_000));
    pack(&bench, "x.zst", &["sh", "-c", "zstd -q -c --long=27 < disk.raw"]);
    let outcome = bench.fumehood(["info", "x.zst"]).end_with(1);
    assert!(outcome.stderr.contains("--long"), "{}", outcome.stderr);
}
