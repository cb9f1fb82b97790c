//! The conformance kit: first-party plugins pass it on images that others made, plugins
//! that misbehave fail it, and the template is a plugin like any other.

use std::process::Command;
use std::time::Duration;

use fumehood_tests::attack;
use fumehood_tests::peer::{self, root, target};
use fumehood_tests::{Bench, Bounded, bench, content};
use serde_json::Value;

/// What `plugin test --json` says of one test.
fn outcome<'a>(report: &'a Value, test: &str) -> (&'a str, &'a str) {
    let tests = report["tests"].as_array().expect("a list");
    let found = tests.iter().find(|one| one["test"] == test);
    let found = found.unwrap_or_else(|| panic!("{test} was not run: {report}"));
    (found["outcome"].as_str().expect("a word"), found["what"].as_str().expect("a text"))
}

#[test]
fn native_disks_pass() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::noise(3 << 20, 7));
    for (format, driver, options) in [
        ("qcow2", "qcow2", "cluster_size=4k"),
        ("qcow2", "qcow2", "extended_l2=on,cluster_size=16k,compression_type=zstd"),
        ("vhdx", "vhdx", "block_size=1M,log_size=1M"),
        ("vhd", "vpc", "subformat=dynamic,force_size=on"),
        ("vhd", "vpc", "subformat=fixed,force_size=on"),
        ("raw", "raw", "preallocation=off"),
    ] {
        let mut convert = bench.peer("qemu-img", ["convert", "-f", "raw", "-O", driver]);
        convert.args(["-o", options, "disk.raw", "image"]).succeed();
        let hash = content::fingerprint(&bench.path("disk.raw")).1;
        let report = bench.conforms(&[format, "--image", "image", "--sha256", &hash]);
        assert_eq!(outcome(&report, "holds what it is to hold").0, "passed", "{format} {options}");
        assert_eq!(outcome(&report, "bytes exchanged do no harm").0, "passed", "{format}");
    }
}

/// Small images of the other formats, as fuzzing begins from them: by the formats' own
/// tools, or by hand.
const SEEDS: &[(&str, &[&str])] = &[
    ("vmdk", &["stream", "sparse", "cowd", "sesparse"]),
    ("vdi", &["off"]),
    ("qed", &["cluster_size=4k,table_size=2"]),
    ("qcow", &["plain"]),
    ("parallels", &["4k", "first"]),
    ("asif", &["small"]),
    ("android-sparse", &["4096"]),
    ("dmg", &["sparse"]),
    ("partclone", &["image0", "image1", "old"]),
    ("ewf", &["libewf.Ex01", "libewf-bzip2.Ex01"]),
    ("aff4", &["0-0-0", "1-8-2", "2-8-0"]),
    ("mrimgx", &["full"]),
    ("vbk", &["9", "13"]),
    ("ova", &["ustar.ova", "pax.ova"]),
    ("compressed", &["gz", "xz", "zst", "lz4", "linked", "lzo", "bz2"]),
];

#[test]
fn images_that_fuzzing_begins_from_pass() {
    for (format, images) in SEEDS {
        let bench = Bench::new();
        let target = format.replace('-', "_");
        let script = format!(
            "set -eu; work=$PWD here={root}/tests/fuzz root={root}; mkdir -p seeds/{target}; \
             . \"$here/seeds\"; (seed_{target})",
            root = root().display()
        );
        bench.peer("sh", ["-c", &script]).succeed();
        let folder = bench.path(format!("seeds/{target}"));
        for image in *images {
            let path = folder.join(image).to_str().expect("UTF-8").to_owned();
            bench.conforms(&["--log", "error", format, "--image", &path]);
        }
    }
}

#[test]
fn a_set_of_evidence_passes() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::noise(1 << 20, 7));
    bench.acquire("disk.raw", "part", &["-c", "best"]);
    let hash = content::fingerprint(&bench.path("disk.raw")).1;
    bench.conforms(&["ewf", "--image", "part.E01", "--sha256", &hash]);
}

#[test]
fn what_misbehaves_fails_by_the_name_of_the_test() {
    let bench = Bench::new();
    bench.write("image", &content::noise(1 << 20, 3));
    let plugin = attack::module().to_str().expect("UTF-8").to_owned();
    for (attack, test, phrase) in [
        ("prepare:still", "opens in bounds", "it prepares without end"),
        ("extents:gapped", "extents agree for any window", "an extent begins at 1024"),
        ("extents:moody", "extents agree for any window", "asked about all, it is"),
        ("extents:outside-source", "extents agree for any window", "which has 1048576"),
        ("extents:panic", "extents agree for any window", "the attacker gives up"),
        ("none", "reads the same in any order", "gives other bytes than its extents"),
        ("disks:loop", "opens in bounds", "exceeded the time of one call"),
    ] {
        let option = format!("attack={attack}");
        let arguments = ["plugin", "test", &plugin, "--image", "image", "--json", "--exchanges"];
        let mut command = bench.fumehood(arguments);
        let ended =
            command.args(["20", "--option", &option]).finish_within(Duration::from_secs(120));
        assert_eq!(ended.code, Some(1), "{attack}: {}", ended.stderr);
        let report = bench::parse(&ended);
        assert_eq!(report["passed"], false, "{attack}");
        let (found, what) = outcome(&report, test);
        assert_eq!(found, "failed", "{attack}: {what}");
        assert!(what.contains(phrase), "{attack}: {what:?} does not say {phrase:?}");
    }
}

#[test]
fn a_wrong_hash_and_a_hash_without_an_image_are_told() {
    let bench = Bench::new();
    bench.create_qcow2("image", "cluster_size=64k", "1M");
    let wrong = "0".repeat(64);
    let mut command = bench.fumehood(["plugin", "test", "qcow2", "--exchanges", "1"]);
    let ended = command.args(["--image", "image", "--sha256", &wrong]).end_with(1);
    assert!(ended.stdout.contains("failed   holds what it is to hold"), "{}", ended.stdout);
    let ended = bench.fumehood(["plugin", "test", "qcow2", "--sha256", &wrong]).end_with(1);
    assert!(ended.stderr.contains("1 hashes are given for 0 images"), "{}", ended.stderr);
}

/// The template, built for a target.
fn template(triple: &str) -> String {
    let folder = target().join("template");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(root().join("examples/plugin-template"));
    build.args(["build", "--release", "--locked", "--target", triple, "--target-dir"]);
    build.arg(&folder);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
        build.env_remove(name);
    }
    let outcome = build.finish_within(Duration::from_secs(600));
    assert_eq!(outcome.code, Some(0), "{build:?}: {}", outcome.stderr);
    folder.join(triple).join("release/bochs.wasm").to_str().expect("UTF-8").to_owned()
}

/// A growing disk with some sectors, written by the format's description; `bximage`
/// makes empty ones only.
fn written(bench: &Bench) {
    let mut bximage = peer::peer("bximage");
    bximage.args(["-func=create", "-hd=16M", "-imgmode=growing", "-q", "disk.bochs"]);
    bximage.current_dir(bench.folder()).succeed();
    let mut image = bench.read("disk.bochs");
    let extent = u32::from_le_bytes(image[80..84].try_into().expect("four bytes")) as usize;
    for (number, at) in [5, 0, 700].into_iter().enumerate() {
        image[512 + 4 * at..516 + 4 * at].copy_from_slice(&(number as u32).to_le_bytes());
        image.extend([0b1010_0001, 0xff, 0, 0x80].into_iter().chain([0; 508]));
        image.extend(content::noise(extent, number as u64));
    }
    bench.write("disk.bochs", &image);
}

#[test]
fn the_template_is_a_plugin_with_the_standard_library_and_without() {
    let bench = Bench::new();
    written(&bench);
    let mut convert = bench.peer("qemu-img", ["convert", "-f", "bochs", "-O", "raw"]);
    convert.args(["disk.bochs", "disk.raw"]).succeed();
    let hash = content::fingerprint(&bench.path("disk.raw")).1;
    for triple in ["wasm32-unknown-unknown", "wasm32-wasip2"] {
        let plugin = template(triple);
        bench.conforms(&[&plugin, "--image", "disk.bochs", "--sha256", &hash]);
        let info = bench.json(&["--plugin", &plugin, "info", "--json", "disk.bochs"]);
        assert_eq!(info["format"], "bochs", "{triple}");
        let inspect = bench.fumehood(["plugin", "inspect", &plugin]).succeed();
        let is_wasi = inspect.stdout.contains("wasi:cli/environment");
        assert_eq!(is_wasi, triple == "wasm32-wasip2", "{}", inspect.stdout);
    }
}
