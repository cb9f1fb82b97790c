//! VMDK images of every kind that QEMU makes, and deltas put together by hand: bytes and
//! maps as QEMU gives them, and what is said where something is wrong.

use fumehood_tests::{Bench, Bounded, Server, content, map};

/// Not a multiple of a grain.
const SIZE: usize = 9_438_720;
const SPARSE: &[&str] = &["monolithicSparse", "twoGbMaxExtentSparse", "streamOptimized"];
const FLAT: &[&str] = &["monolithicFlat", "twoGbMaxExtentFlat"];

fn create(bench: &Bench, name: &str, options: &str, size: &str) {
    let arguments = ["create", "-q", "-f", "vmdk", "-o", options, name, size];
    bench.peer("qemu-img", arguments).succeed();
}

fn write(bench: &Bench, name: &str, commands: &[&str]) {
    let mut command = bench.peer("qemu-io", ["-f", "vmdk"]);
    for line in commands {
        command.args(["-c", line]);
    }
    let outcome = command.arg(name).succeed();
    assert!(!outcome.stdout.contains("failed"), "{command:?}: {}", outcome.stdout);
}

fn by_qemu(bench: &Bench, name: &str) -> (u64, String) {
    let arguments = ["convert", "-f", "vmdk", "-O", "raw", name, "expected.raw"];
    bench.peer("qemu-img", arguments).succeed();
    bench.fingerprint("expected.raw")
}

fn bytes_agree(bench: &Bench, name: &str) {
    assert_eq!(bench.converted(&[name]), by_qemu(bench, name), "{name}");
    let outcome = bench.fumehood(["check", name]).succeed();
    assert!(outcome.stdout.contains("sound"), "{name}: {}", outcome.stdout);
}

/// Not for flat images that were not filled: QEMU asks the file system for their holes.
fn agrees_with_qemu(bench: &Bench, name: &str) {
    bytes_agree(bench, name);
    let arguments = ["map", "--output=json", "-f", "vmdk", name];
    let expected = map::runs(&bench.peer("qemu-img", arguments).succeed().stdout);
    let found = map::runs(&bench.fumehood(["map", "--json", name]).succeed().stdout);
    map::compare(name, &found, &expected);
}

#[test]
fn every_variant_reads_as_with_qemu() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(SIZE));
    for subformat in SPARSE.iter().chain(FLAT) {
        let (name, options) = (format!("{subformat}.vmdk"), format!("subformat={subformat}"));
        let convert = ["convert", "-f", "raw", "-O", "vmdk", "-o", &options, "disk.raw", &name];
        bench.peer("qemu-img", convert).succeed();
        match SPARSE.contains(subformat) {
            true => agrees_with_qemu(&bench, &name),
            false => bytes_agree(&bench, &name),
        }
        let info = bench.json(&["info", "--json", &name]);
        assert_eq!(info["format"], "vmdk", "{info}");
        assert!(info.to_string().contains(subformat), "{info}");
        let document = bench.fumehood(["info", "--document", "descriptor", &name]).succeed();
        assert!(document.stdout.contains(&format!("createType=\"{subformat}\"")));
    }
    let server = Server::unix(&bench, &["streamOptimized.vmdk"]);
    bench.peer("nbdcopy", [server.uri(), "copy.raw"]).succeed();
    assert!(bench.read("copy.raw")[..SIZE] == content::sample(SIZE));
}

#[test]
fn writes_and_zeroes_read_as_with_qemu() {
    let bench = Bench::new();
    for zeroed in ["on", "off"] {
        let name = format!("{zeroed}.vmdk");
        create(&bench, &name, &format!("zeroed_grain={zeroed}"), "40M");
        write(&bench, &name, &["write -P 1 5k 700k", "write -P 2 40959k 1k"]);
        write(&bench, &name, &["write -z 128k 128k", "write -z 33M 1M"]);
        agrees_with_qemu(&bench, &name);
    }
}

#[test]
fn extents_follow_each_other() {
    let bench = Bench::new();
    create(&bench, "disk.vmdk", "subformat=twoGbMaxExtentSparse", "4300M");
    write(&bench, "disk.vmdk", &["write -P 7 2147479552 8k", "write -P 2 4299M 1k"]);
    let server = Server::unix(&bench, &["disk.vmdk"]);
    let compare = ["compare", "-f", "raw", "-F", "vmdk", server.uri(), "disk.vmdk"];
    bench.peer("qemu-img", compare).succeed();
    let map = bench.json(&["map", "--json", "disk.vmdk"]);
    let runs = map.as_array().expect("a list").iter().filter(|run| run["data"] == true);
    assert_eq!(runs.count(), 3, "{map}");
}

/// A bench with `base.vmdk`, `middle.vmdk` and `top.vmdk`, each over the one before.
fn chain() -> Bench {
    let bench = Bench::new();
    create(&bench, "base.vmdk", "subformat=monolithicFlat", "9M");
    write(&bench, "base.vmdk", &["write -P 1 0 9M"]);
    let zeroed = "zeroed_grain=on";
    for (name, below) in [("middle.vmdk", "base.vmdk"), ("top.vmdk", "middle.vmdk")] {
        let head = ["create", "-q", "-f", "vmdk", "-o", zeroed, "-F", "vmdk", "-b", below];
        bench.peer("qemu-img", [&head[..], &[name]].concat()).succeed();
        write(&bench, name, &["write -P 2 100k 300k", "write -z 1M 512k"]);
    }
    write(&bench, "top.vmdk", &["write -P 3 300k 300k"]);
    bench
}

#[test]
fn a_chain_reads_as_with_qemu() {
    let bench = chain();
    agrees_with_qemu(&bench, "top.vmdk");
    let info = bench.json(&["info", "--json", "top.vmdk"]);
    let layers = info["disks"][0]["chain"].as_array().expect("a list");
    let names: Vec<_> = layers.iter().map(|layer| &layer["name"]).collect();
    assert_eq!(names, ["top.vmdk", "middle.vmdk", "base.vmdk"]);
}

#[test]
fn a_parent_that_is_lost_or_changed_is_refused() {
    let bench = chain();
    // QEMU gives the content a new number when it is written again.
    let before = bench.read("middle.vmdk");
    write(&bench, "middle.vmdk", &["write -P 9 5M 64k"]);
    let outcome = bench.fumehood(["map", "top.vmdk"]).end_with(1);
    for phrase in ["made on a parent", "middle.vmdk"] {
        assert!(outcome.stderr.contains(phrase), "{}", outcome.stderr);
    }
    bench.write("middle.vmdk", &before);
    bench.fumehood(["map", "top.vmdk"]).succeed();
    std::fs::remove_file(bench.path("middle.vmdk")).expect("just written");
    let outcome = bench.fumehood(["map", "top.vmdk"]).end_with(1);
    assert!(outcome.stderr.contains("middle.vmdk"), "{}", outcome.stderr);
}

#[test]
fn parts_that_are_lost_short_or_elsewhere_are_refused() {
    let bench = Bench::new();
    create(&bench, "disk.vmdk", "subformat=twoGbMaxExtentFlat", "3G");
    let descriptor = String::from_utf8(bench.read("disk.vmdk")).expect("text");
    let refused = |phrases: &[&str]| {
        let outcome = bench.fumehood(["info", "disk.vmdk"]).end_with(1);
        for phrase in phrases {
            assert!(outcome.stderr.contains(phrase), "{phrase}: {}", outcome.stderr);
        }
    };
    bench.write("disk-f002.vmdk", &[0; 4096]);
    refused(&["disk-f002.vmdk", "expected 1073741824 bytes"]);
    std::fs::remove_file(bench.path("disk-f002.vmdk")).expect("just written");
    refused(&["disk-f002.vmdk"]);
    for elsewhere in ["/etc/passwd", "../passwd", "json:{\"driver\":\"file\"}"] {
        bench.write("disk.vmdk", descriptor.replace("disk-f001.vmdk", elsewhere).as_bytes());
        refused(&[elsewhere.trim_start_matches("../").split('"').next().expect("a name")]);
    }
    bench.write("disk.vmdk", descriptor.replace("twoGbMaxExtentFlat", "fullDevice").as_bytes());
    refused(&["fullDevice"]);
    let secret = descriptor + "encryption.keySafe = \"vmware:key/list\"\n";
    bench.write("disk.vmdk", secret.as_bytes());
    refused(&["encrypted"]);
}

/// A COWD delta of 9 MiB in grains of 8 sectors, with every third grain of the first
/// half in it.
fn cowd() -> Vec<u8> {
    let put = |file: &mut Vec<u8>, at: usize, value: u32| {
        file[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    let mut file = b"COWD".to_vec();
    file.resize(5 * 512 + 4096 * 4, 0);
    for (at, value) in [(4, 1), (8, 3), (12, 18432), (16, 8), (20, 4), (24, 1), (2048, 5)] {
        put(&mut file, at, value);
    }
    for grain in (0..1152).step_by(3) {
        let sector = file.len() as u32 / 512;
        put(&mut file, 5 * 512 + grain * 4, sector);
        file.extend([grain as u8; 4096]);
    }
    file
}

#[test]
fn a_delta_of_esx_reads_as_with_qemu() {
    let bench = chain();
    let base = String::from_utf8(bench.read("base.vmdk")).expect("text");
    let number = base.lines().find_map(|line| line.strip_prefix("CID=")).expect("a number");
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=0badcafe\nparentCID={number}\n\
         createType=\"vmfsSparse\"\nparentFileNameHint=\"base.vmdk\"\n\
         RW 18432 VMFSSPARSE \"delta.vmdk\"\n"
    );
    bench.write("delta.vmdk", &cowd());
    bench.write("child.vmdk", text.as_bytes());
    agrees_with_qemu(&bench, "child.vmdk");
}

#[test]
fn a_wrong_marker_costs_one_grain_and_no_more() {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(SIZE));
    let options = "subformat=streamOptimized";
    let convert = ["convert", "-f", "raw", "-O", "vmdk", "-o", options, "disk.raw", "disk.vmdk"];
    bench.peer("qemu-img", convert).succeed();
    // The first grain's marker names sector 0; it lies behind the metadata.
    let bytes = bench.read("disk.vmdk");
    let is_marker = |at: &usize| bytes[*at..at + 8] == [0; 8] && bytes[at + 12] == 0x78;
    let marker = (65536..bytes.len()).step_by(512).find(is_marker).expect("a grain");
    bench.change("disk.vmdk", marker, |_| 5);
    let outcome = bench.fumehood(["check", "disk.vmdk"]).end_with(1);
    assert!(outcome.stdout.contains("names sector 5, not 0"), "{}", outcome.stdout);
    let report = bench.json_of_failing(&["check", "--json", "disk.vmdk"]);
    assert_eq!(report[0]["count"], 1, "{report}");
    let outcome = bench.fumehood(["convert", "-O", "raw", "disk.vmdk", "out.raw"]).end_with(1);
    assert!(outcome.stderr.contains("sector 5"), "{}", outcome.stderr);
}
