//! VDI images: what QEMU makes reads as with QEMU; children, which it does not make,
//! are its images with a parent written into their headers.

use fumehood_tests::{Bench, Bounded, Server, content, map};
use serde_json::json;

/// More than eight blocks, and not a multiple of them.
const SIZE: usize = (8 << 20) + (300 << 10);
const MIB: usize = 1 << 20;

/// Where the header's fields lie.
const TYPE: usize = 76;
const CREATE: usize = 392;
const MODIFY: usize = 408;
const LINKAGE: usize = 424;
const MAP: usize = 512;

/// `disk.vdi` and `disk.raw`, with a hole.
fn bench(options: &str) -> Bench {
    let bench = Bench::new();
    let mut disk = content::sample(SIZE);
    disk[2 * MIB..4 * MIB].fill(0);
    bench.write("disk.raw", &disk);
    let convert = ["convert", "-f", "raw", "-O", "vdi", "-o", options, "disk.raw", "disk.vdi"];
    bench.peer("qemu-img", convert).succeed();
    bench
}

/// Writes whole blocks, filled with a byte, into a new image that differs from
/// `parent`; and into `model` too.
fn child(bench: &Bench, name: &str, parent: &str, model: &mut [u8], blocks: &[(usize, u8)]) {
    bench.peer("qemu-img", ["create", "-q", "-f", "vdi", name, &SIZE.to_string()]).succeed();
    for (block, fill) in blocks {
        let write = format!("write -P {fill} {block}M 1M");
        bench.peer("qemu-io", ["-f", "vdi", "-c", &write, name]).succeed();
        model[block * MIB..(block + 1) * MIB].fill(*fill);
    }
    let mut bytes = bench.read(name);
    bytes[TYPE] = 4;
    let ids = bench.read(parent)[CREATE..CREATE + 32].to_vec();
    bytes[LINKAGE..LINKAGE + 32].copy_from_slice(&ids);
    bench.write(name, &bytes);
}

/// `top.vdi` over `middle.vdi` over `disk.vdi`, and what that is.
fn chain() -> (Bench, Vec<u8>) {
    let bench = bench("static=off");
    let mut model = bench.read("disk.raw");
    child(&bench, "middle.vdi", "disk.vdi", &mut model, &[(0, 0xa1), (3, 0xa2), (5, 0xa3)]);
    child(&bench, "top.vdi", "middle.vdi", &mut model, &[(5, 0xb1), (6, 0xb2)]);
    (bench, model)
}

const PARENTS: [&str; 4] = ["--option", "parent=middle.vdi", "--option", "parent=disk.vdi"];

#[test]
fn both_kinds_read_as_with_qemu() {
    for options in ["static=off", "static=on"] {
        let bench = bench(options);
        let expected = bench.fingerprint("disk.raw");
        assert_eq!(bench.converted(&["disk.vdi"]), expected, "{options}");
        assert_eq!(bench.converted_by_qemu(&["-f", "vdi", "disk.vdi"]), expected, "{options}");
        let outcome = bench.fumehood(["check", "disk.vdi"]).succeed();
        assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
        let server = Server::unix(&bench, &["disk.vdi"]);
        bench.peer("nbdcopy", [server.uri(), "copied.raw"]).succeed();
        assert_eq!(bench.fingerprint("copied.raw"), expected, "{options}");
    }
}

#[test]
fn the_map_is_the_one_that_qemu_gives() {
    let bench = bench("static=off");
    let arguments = ["map", "--output=json", "-f", "vdi", "disk.vdi"];
    let expected = map::runs(&bench.peer("qemu-img", arguments).succeed().stdout);
    let mut found = map::runs(&bench.fumehood(["map", "--json", "disk.vdi"]).succeed().stdout);
    assert!(found.iter().any(|run| !run.present), "there is a hole: {found:?}");
    // To QEMU all is present in an image that can have no parent.
    found.iter_mut().for_each(|run| run.present = true);
    map::compare("disk.vdi", &found, &expected);
    assert!(found.len() < 5, "runs are joined: {found:?}");
}

#[test]
fn a_chain_of_three_reads_by_names_that_are_given() {
    let (bench, model) = chain();
    let expected = (SIZE as u64, content::hash(&model));
    assert_eq!(bench.converted(&[&PARENTS[..], &["top.vdi"]].concat()), expected);
    let info = bench.json(&[&["info", "--json"], &PARENTS[..], &["top.vdi"]].concat());
    let layer = |name: &str| json!({ "name": name, "format": "vdi" });
    let layers = [layer("top.vdi"), layer("middle.vdi"), layer("disk.vdi")];
    assert_eq!(info["disks"][0]["chain"], json!(layers));
}

#[test]
fn a_chain_of_three_reads_by_the_names_of_virtualbox() {
    let (bench, model) = chain();
    for name in ["middle.vdi", "disk.vdi"] {
        let info = bench.json(&["info", "--json", name]);
        let identity = info["disks"][0]["identity"].as_str().expect("an identity").to_owned();
        let (create, _) = identity.split_once('/').expect("two of them");
        let to = bench.path(format!("{{{create}}}.vdi"));
        std::fs::rename(bench.path(name), to).expect("our folder");
    }
    assert_eq!(bench.converted(&["top.vdi"]), (SIZE as u64, content::hash(&model)));
}

#[test]
fn a_missing_parent_is_named_with_the_way_to_give_it() {
    let (bench, _) = chain();
    let outcome = bench.fumehood(["map", "middle.vdi"]).end_with(1);
    assert!(outcome.stderr.contains("parent=FILE"), "{}", outcome.stderr);
    let outcome = bench.fumehood(["map", "--option", "parent=lost.vdi", "middle.vdi"]).end_with(1);
    assert!(outcome.stderr.contains("lost.vdi"), "{}", outcome.stderr);
    let outcome =
        bench.fumehood(["map", "--option", "parent=/etc/passwd", "middle.vdi"]).end_with(1);
    assert!(outcome.stderr.contains("--allow"), "{}", outcome.stderr);
}

#[test]
fn a_parent_that_was_changed_or_is_another_is_refused() {
    let (bench, _) = chain();
    let ids = |name: &str| {
        let info = bench.json(&["info", "--json", name]);
        info["disks"][0]["identity"].as_str().expect("an identity").to_owned()
    };
    let recorded = ids("disk.vdi");
    bench.peer("qemu-img", ["create", "-q", "-f", "vdi", "other.vdi", "8M"]).succeed();
    let outcome = bench.fumehood(["map", "--option", "parent=other.vdi", "middle.vdi"]).end_with(1);
    assert!(outcome.stderr.contains(&recorded), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&ids("other.vdi")), "{}", outcome.stderr);
    for field in [CREATE, MODIFY] {
        bench.change("disk.vdi", field, |byte| byte ^ 1);
        let outcome =
            bench.fumehood(["map", "--option", "parent=disk.vdi", "middle.vdi"]).end_with(1);
        assert!(outcome.stderr.contains(&recorded), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(&ids("disk.vdi")), "{}", outcome.stderr);
        bench.change("disk.vdi", field, |byte| byte ^ 1);
    }
    bench.fumehood(["map", "--option", "parent=disk.vdi", "middle.vdi"]).succeed();
}

#[test]
fn damage_costs_a_block_and_is_found() {
    let bench = bench("static=off");
    // The second block's entry: past the file's end.
    bench.change("disk.vdi", MAP + 5, |_| 0x10);
    let report = bench.json_of_failing(&["check", "--json", "disk.vdi"]);
    let findings = report[0]["findings"].as_array().expect("a list");
    assert!(findings.iter().any(|finding| finding["offset"] == MIB), "{report}");
    let outcome = bench.fumehood(["convert", "-O", "raw", "disk.vdi", "out.raw"]).end_with(1);
    assert!(outcome.stderr.contains("past the file's end"), "{}", outcome.stderr);
    assert!(!bench.path("out.raw").exists());
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let bench = bench("static=off");
    bench.change("disk.vdi", TYPE, |_| 3);
    let outcome = bench.fumehood(["info", "disk.vdi"]).end_with(1);
    assert!(outcome.stderr.contains("undo images"), "{}", outcome.stderr);
}
