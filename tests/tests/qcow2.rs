//! qcow2 images of every kind that QEMU makes: bytes, maps and facts as QEMU gives
//! them.

use fumehood_tests::{Bench, Bounded, content};
use serde_json::{Value, json};

/// Not a multiple of any cluster, and more than one L2 table of small clusters.
const SIZE: &str = "9438720";

/// Runs, holes, zeroes over data, and ends that are not the clusters'.
const WRITES: &[&str] = &[
    "write -s $noise 0 300k",
    "write -P 2 100k 5k",
    "write -s $noise 700k 600k",
    "write -z 800k 64k",
    "write -P 4 2500k 1536",
    "write -z 2600k 128k",
    "write -s $noise 4097k 2M",
    "write -z -u 5M 512k",
    "discard 4200k 128k",
    "write -P 5 9438208 512",
];

#[test]
fn every_cluster_size_and_version_reads_as_with_qemu() {
    let bench = Bench::new();
    for cluster in ["512", "4k", "64k", "2M"] {
        for version in ["0.10", "1.1"] {
            let name = format!("{version}-{cluster}.qcow2");
            let options = format!("compat={version},cluster_size={cluster}");
            bench.create_qcow2(&name, &options, SIZE);
            bench.qemu_io(&name, WRITES);
            bench.agrees_with_qemu(&name);
        }
    }
}

#[test]
fn compressed_and_plain_clusters_read_side_by_side() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(9_438_720));
    for (number, kind) in
        ["compat=0.10", "compression_type=zlib", "compression_type=zstd"].iter().enumerate()
    {
        for cluster in ["4k", "64k", "2M"] {
            let name = format!("{number}-{cluster}.qcow2");
            let options = format!("{kind},cluster_size={cluster}");
            let convert = ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o"];
            let arguments = [&convert[..], &[&options, "disk.raw", &name]].concat();
            bench.peer("qemu-img", arguments).succeed();
            bench.agrees_with_qemu(&name);
            let map = bench.json(&["map", "--json", &name]);
            assert!(list(&map).iter().any(|run| run["compressed"] == true), "{name}: {map}");
            bench.qemu_io(&name, WRITES);
            bench.agrees_with_qemu(&name);
        }
    }
}

#[test]
fn subclusters_read_as_with_qemu() {
    let bench = Bench::new();
    for cluster in ["16k", "64k", "2M"] {
        let name = format!("{cluster}.qcow2");
        bench.create_qcow2(&name, &format!("extended_l2=on,cluster_size={cluster}"), SIZE);
        bench.qemu_io(&name, WRITES);
        let small = ["write -P 9 1500k 512", "write -z 1510k 2k", "discard 20k 4k"];
        bench.qemu_io(&name, &small);
        bench.agrees_with_qemu(&name);
    }
}

#[test]
fn an_external_data_file_is_read() {
    let bench = Bench::new();
    for raw in ["off", "on"] {
        let name = format!("{raw}.qcow2");
        bench.create_qcow2(&name, &format!("data_file={raw}.data,data_file_raw={raw}"), SIZE);
        bench.qemu_io(&name, WRITES);
        bench.agrees_with_qemu(&name);
    }
}

/// A bench with `base.raw` or `base.qcow2`, smaller than `middle.qcow2`, and
/// `top.qcow2` over them, all with clusters of different sizes.
fn chain(base: &str) -> Bench {
    let bench = Bench::new();
    let format = base.rsplit('.').next().expect("an extension");
    match format {
        "raw" => bench.write(base, &content::sample(3 << 20)),
        _ => {
            bench.create_qcow2(base, "cluster_size=2M", "3M");
            bench.qemu_io(base, &["write -s $noise 64k 2500k"]);
        }
    }
    let backed = |name, options, below, format| {
        let head = ["create", "-q", "-f", "qcow2", "-o", options, "-b", below, "-F", format];
        bench.peer("qemu-img", [&head[..], &[name, SIZE]].concat()).succeed();
    };
    backed("middle.qcow2", "cluster_size=4k", base, format);
    bench.qemu_io("middle.qcow2", &WRITES[..5]);
    backed("top.qcow2", "extended_l2=on,cluster_size=64k", "middle.qcow2", "qcow2");
    let top = ["write -s $noise 77k 3k", "write -z 750k 100k", "write -P 8 9M 1k"];
    bench.qemu_io("top.qcow2", &top);
    bench
}

#[test]
fn a_chain_of_three_reads_as_with_qemu() {
    for base in ["base.qcow2", "base.raw"] {
        chain(base).agrees_with_qemu("top.qcow2");
    }
}

#[test]
fn a_chain_is_shown_from_the_top_down() {
    let bench = chain("base.raw");
    let info = bench.json(&["info", "--json", "top.qcow2"]);
    let layer = |name: &str, format: &str| json!({ "name": name, "format": format });
    let expected =
        [layer("top.qcow2", "qcow2"), layer("middle.qcow2", "qcow2"), layer("base.raw", "raw")];
    assert_eq!(info["disks"][0]["chain"], json!(expected));
    assert_eq!(info["disks"][0]["parent"]["references"][0], "middle.qcow2");
    assert_eq!(info["disks"][0]["parent"]["format"], "qcow2");
}

#[test]
fn a_missing_parent_is_named() {
    let bench = chain("base.raw");
    std::fs::remove_file(bench.path("base.raw")).expect("it was just made");
    let outcome = bench.fumehood(["map", "top.qcow2"]).end_with(1);
    assert!(outcome.stderr.contains("base.raw"), "{}", outcome.stderr);
    let info = bench.json(&["info", "--json", "top.qcow2"]);
    let error = info["disks"][0]["chain-error"].as_str().expect("a reason");
    assert!(error.contains("base.raw"), "{error}");
}

#[test]
fn a_parent_elsewhere_needs_a_grant() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("below")).expect("our folder");
    bench.create_qcow2("base.qcow2", "cluster_size=64k", "1M");
    bench.qemu_io("base.qcow2", &["write -P 3 0 1M"]);
    let head = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "../base.qcow2"];
    bench.peer("qemu-img", [&head[..], &["below/top.qcow2"]].concat()).succeed();
    let outcome = bench.fumehood(["map", "below/top.qcow2"]).end_with(1);
    assert!(outcome.stderr.contains("--allow"), "{}", outcome.stderr);
    let expected = bench.converted_by_qemu(&["below/top.qcow2"]);
    assert_eq!(bench.converted(&["--allow", "base.qcow2", "below/top.qcow2"]), expected);
}

#[test]
fn snapshots_are_read_by_name_and_by_number() {
    let bench = Bench::new();
    for options in ["cluster_size=512", "compat=0.10", "extended_l2=on"] {
        let name = format!("{}.qcow2", options.replace('=', "-"));
        bench.create_qcow2(&name, options, SIZE);
        bench.qemu_io(&name, &WRITES[..4]);
        bench.peer("qemu-img", ["snapshot", "-c", "before", &name]).succeed();
        bench.qemu_io(&name, &["write -s $noise 101k 1M"]);
        bench.peer("qemu-img", ["snapshot", "-c", "after", &name]).succeed();
        bench.qemu_io(&name, &["write -z 0 2M"]);
        bench.agrees_with_qemu(&name);
        for (snapshot, number) in [("before", "1"), ("after", "2")] {
            let expected =
                bench.converted_by_qemu(&["-l", &format!("snapshot.name={snapshot}"), &name]);
            for choice in [snapshot, number] {
                let found = bench.converted(&["--snapshot", choice, &name]);
                assert_eq!(found, expected, "{name} {choice}");
            }
        }
        let info = bench.json(&["info", "--json", &name]);
        let names: Vec<_> = list(&info["snapshots"]).iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["before", "after"]);
        let outcome = bench.fumehood(["map", "--snapshot", "other", &name]).end_with(1);
        assert!(outcome.stderr.contains("other"), "{}", outcome.stderr);
    }
}

#[test]
fn an_encrypted_image_is_refused_and_says_so() {
    let bench = Bench::new();
    let options = "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10";
    let arguments = ["create", "-q", "-f", "qcow2", "--object", "secret,id=key,data=word"];
    let rest = ["-o", options, "locked.qcow2", "1M"];
    // QEMU times the cipher first, and gives up when its clock did not advance.
    let mut create = bench.peer("qemu-img", [&arguments[..], &rest].concat());
    assert!((0..50).any(|_| create.finish().code == Some(0)), "{:?}", create.finish());
    for command in ["info", "map", "check"] {
        let outcome = bench.fumehood([command, "locked.qcow2"]).end_with(1);
        assert!(outcome.stderr.contains("encrypted"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("LUKS"), "{}", outcome.stderr);
    }
}

#[test]
fn a_dirty_or_corrupt_image_is_read_with_a_warning() {
    /// Where the lowest byte of the incompatible features lies.
    const FEATURES: usize = 79;
    let bench = Bench::new();
    for (name, bit, words) in [("dirty", 1, "was not closed"), ("corrupt", 2, "corrupt")] {
        let file = format!("{name}.qcow2");
        bench.create_qcow2(&file, "lazy_refcounts=on", SIZE);
        bench.qemu_io(&file, WRITES);
        let expected = bench.converted_by_qemu(&[&file]);
        bench.change(&file, FEATURES, |features| features | bit);
        let info = bench.json(&["info", "--json", &file]);
        let warnings = info["warnings"].to_string();
        assert!(warnings.contains(words), "{name}: {warnings}");
        assert_eq!(bench.converted(&[&file]), expected, "{name}");
        let outcome = bench.fumehood(["map", &file]).succeed();
        assert!(outcome.stderr.contains("WARN"), "{name}: {}", outcome.stderr);
    }
}

#[test]
fn facts_are_those_that_qemu_gives() {
    let bench = chain("base.qcow2");
    bench.peer("qemu-img", ["snapshot", "-c", "first", "middle.qcow2"]).succeed();
    for name in ["base.qcow2", "middle.qcow2", "top.qcow2"] {
        let outcome = bench.peer("qemu-img", ["info", "--output=json", name]).succeed();
        let theirs = fumehood_tests::bench::parse(&outcome);
        let ours = bench.json(&["info", "--json", name]);
        let disk = &ours["disks"][0];
        assert_eq!(ours["format"], "qcow2");
        assert_eq!(disk["size"], theirs["virtual-size"], "{name}");
        assert_eq!(detail(&ours, "cluster size"), theirs["cluster-size"].to_string(), "{name}");
        assert_eq!(disk["parent"]["references"][0], theirs["backing-filename"], "{name}");
        assert_eq!(disk["parent"]["format"], theirs["backing-filename-format"], "{name}");
        let extended = theirs["format-specific"]["data"]["extended-l2"] == true;
        assert_eq!(detail(&ours, "subclusters") != "no", extended, "{name}");
        let (ours, theirs) = (list(&ours["snapshots"]), list(&theirs["snapshots"]));
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(ours["name"], theirs["name"]);
            assert_eq!(ours["id"], theirs["id"]);
            assert_eq!(ours["created"], theirs["date-sec"]);
            assert_eq!(ours["vm-state-size"], theirs["vm-state-size"]);
        }
    }
}

#[test]
fn check_finds_a_wrong_reference_count() {
    let bench = Bench::new();
    bench.create_qcow2("disk.qcow2", "cluster_size=64k", SIZE);
    bench.qemu_io("disk.qcow2", WRITES);
    bench.fumehood(["check", "disk.qcow2"]).succeed();
    // The reference count of the header's own cluster, in use.
    bench.change("disk.qcow2", 2 << 16 | 1, |_| 0);
    let outcome = bench.fumehood(["check", "disk.qcow2"]).end_with(1);
    assert!(outcome.stdout.contains("counted as free"), "{}", outcome.stdout);
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn detail(info: &Value, name: &str) -> String {
    let found = list(&info["details"]).iter().find(|detail| detail["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {info}"));
    found["value"].as_str().expect("a text").to_owned()
}
