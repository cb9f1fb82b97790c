//! Archives of Proxmox VE: bytes as they went into the generator, which another reader
//! was compared with, and clear words where an archive is not whole.

use fumehood_tests::client::Client;
use fumehood_tests::{Bench, Bounded, Server, content};

#[path = "../../plugin/vma/tests/common/generator.rs"]
mod generator;

use generator::{Archive, BLOCK, CLUSTER, Slot, disk, shuffled, slots_of};

/// No cluster, no block divides the last.
const SIZES: [usize; 3] = [12 << 20, (5 << 20) + 3 * BLOCK, (2 << 20) + 512];

/// Three disks, the state of memory between them, and a configuration.
fn archive() -> Archive {
    let disks: Vec<_> = SIZES.iter().zip(1..).map(|(size, seed)| disk(*size, seed)).collect();
    let lists: Vec<Vec<Slot>> = (1..).zip(&disks).map(|(id, disk)| slots_of(id, disk)).collect();
    let mut archive = Archive::new()
        .config("qemu-server.conf", b"name: web\nscsi0: local:disk\n")
        .config("qemu-server.fw", b"[OPTIONS]\nenable: 1\n")
        .device(9, "vmstate", 1 << 30);
    for (number, size) in (0..).zip(SIZES) {
        archive = archive.device(number + 1, &format!("drive-scsi{number}"), size as u64);
    }
    archive.slots(slots_of(9, &disk(CLUSTER, 9))).slots(shuffled(&lists, 3))
}

/// A bench with the archive, and what its disks hold.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("vm.vma", &archive().bytes());
    for (number, size) in SIZES.iter().enumerate() {
        bench.write(&format!("{number}.raw"), &disk(*size, number as u64 + 1));
    }
    bench
}

#[test]
fn every_disk_is_converted() {
    let bench = bench();
    // The second time from the scratch.
    for _ in 0..2 {
        for number in ["0", "1", "2"] {
            let found = bench.converted(&["--disk", number, "vm.vma"]);
            assert_eq!(found, bench.fingerprint(&format!("{number}.raw")), "{number}");
        }
    }
    let outcome = bench.fumehood(["check", "vm.vma"]).succeed();
    assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
}

#[test]
fn the_archive_is_shown() {
    let bench = bench();
    let info = bench.json(&["info", "--json", "vm.vma"]);
    let disks = info["disks"].as_array().expect("a list");
    let names: Vec<_> = disks.iter().map(|disk| &disk["name"]).collect();
    assert_eq!(names, ["drive-scsi0", "drive-scsi1", "drive-scsi2"], "{info}");
    let shown = info.to_string();
    for part in ["01234567-89ab-cdef-fedc-ba9876543210", "2023-11-14", "vmstate"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(info["documents"], serde_json::json!(["qemu-server.conf", "qemu-server.fw"]));
    let arguments = ["info", "--document", "qemu-server.conf", "vm.vma"];
    let outcome = bench.fumehood(arguments).succeed();
    assert_eq!(outcome.stdout, "name: web\nscsi0: local:disk\n");
}

#[test]
fn the_map_tells_zeroes_from_data() {
    let bench = bench();
    let expected = bench.read("2.raw");
    let map = bench.json(&["map", "--json", "--disk", "2", "vm.vma"]);
    let mut at = 0;
    for run in map.as_array().expect("a list") {
        let length = run["length"].as_u64().expect("a number") as usize;
        let part = &expected[at..at + length];
        for block in part.chunks(BLOCK) {
            assert_eq!(run["zero"] == true, block.iter().all(|byte| *byte == 0), "{at}");
        }
        at += length;
    }
    assert_eq!(at, SIZES[2]);
}

#[test]
fn a_served_disk_is_copied() {
    let bench = bench();
    let server = Server::unix(&bench, &["--disk", "1", "vm.vma"]);
    bench.peer("nbdcopy", [server.uri(), "copy.raw"]).succeed();
    assert_eq!(bench.fingerprint("copy.raw"), bench.fingerprint("1.raw"));
}

#[test]
fn a_cut_archive_gives_what_it_has() {
    let bench = Bench::new();
    let expected = content::noise(100 * CLUSTER, 5);
    let archive = Archive::new()
        .device(1, "drive-scsi0", expected.len() as u64)
        .slots(slots_of(1, &expected));
    let bytes = archive.bytes();
    bench.write("vm.vma", &bytes[..bytes.len() - 1]);
    let info = bench.json(&["info", "--json", "vm.vma"]);
    let warnings = info["warnings"].to_string();
    assert!(warnings.contains("1 of 100 clusters"), "{warnings}");
    assert!(warnings.contains("is 99, at offset 6488064"), "{warnings}");
    let report = bench.json_of_failing(&["check", "--json", "vm.vma"]);
    assert_eq!(report[0]["findings"][0]["offset"], 99 * CLUSTER, "{report}");
    let arguments = ["convert", "-O", "raw", "vm.vma", "out.raw"];
    let outcome = bench.fumehood(arguments).end_with(1);
    assert!(outcome.stderr.contains("incomplete"), "{}", outcome.stderr);
    let server = Server::unix(&bench, &["vm.vma"]);
    let mut client = Client::connect(server.socket()).expect("it listens");
    let last = 98 * CLUSTER as u64;
    let part = &expected[last as usize..][..CLUSTER];
    assert!(client.read(last, CLUSTER as u32).as_deref() == Ok(part));
    assert_eq!(client.read(last + CLUSTER as u64, 512), Err(5));
}

#[test]
fn archives_that_cannot_be_are_refused() {
    let bench = Bench::new();
    let bytes = archive().bytes();
    let first = 12288 + 512;
    let other = Archive { uuid: [7; 16], ..archive() }.bytes();
    let mut header = bytes.clone();
    header[9] ^= 1;
    let mut extent = bytes.clone();
    extent[first + 100] ^= 1;
    let twice = [&bytes[..], &bytes[first..]].concat();
    let joined = [&bytes[..], &other[first..]].concat();
    for (bytes, phrase) in [
        (header, "the MD5 of the header"),
        (extent, "the MD5 of the extent"),
        (twice, "occurs twice"),
        (joined, "another archive"),
        (Archive { version: 2, ..archive() }.bytes(), "version 2"),
    ] {
        bench.write("bad.vma", &bytes);
        let outcome = bench.fumehood(["info", "bad.vma"]).end_with(1);
        assert!(outcome.stderr.contains(phrase), "{phrase}: {}", outcome.stderr);
    }
}

#[test]
fn the_plugin_conforms() {
    let bench = bench();
    bench.conforms(&["vma", "--image", "vm.vma"]);
}
