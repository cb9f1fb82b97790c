//! Exports of XenServer and XCP-ng: bytes as they went into the generator, which another
//! reader was compared with; checksums; clear words where an export is not whole.

use fumehood_tests::client::Client;
use fumehood_tests::{Bench, Bounded, Server};

#[path = "../../plugin/xva/tests/common/generator.rs"]
mod generator;

use generator::{CHUNK, Sum, Tar, Vdi, disk, manifest};

/// No chunk divides the first.
const SIZES: [usize; 2] = [7 * CHUNK + 12_800, 4 * CHUNK];

/// A bench with `vm.xva`, and what its disks hold. Numbers in `pauses` are those of empty
/// chunks.
fn bench(sum: Sum, pauses: &[u64]) -> Bench {
    let bench = Bench::new();
    let mut tar = Tar::new();
    let disks =
        [Vdi("Ref:1", "system", SIZES[0] as u64, "0"), Vdi("Ref:12", "data", SIZES[1] as u64, "1")];
    tar.file("ova.xml", manifest(&disks).as_bytes());
    for (number, (Vdi(id, ..), size)) in disks.iter().zip(SIZES).enumerate() {
        let disk = disk(size, CHUNK, number as u64 + 4);
        tar.disk(id, &disk, sum, pauses);
        bench.write(&format!("{number}.raw"), &disk);
    }
    bench.write("vm.xva", &tar.end());
    bench
}

#[test]
fn every_disk_is_converted() {
    for (sum, pauses) in [(Sum::None, &[1][..]), (Sum::Sha1, &[2, 3]), (Sum::Xxhash, &[])] {
        let bench = bench(sum, pauses);
        // The second time from the scratch.
        for _ in 0..2 {
            for number in ["0", "1"] {
                let found = bench.converted(&["--disk", number, "vm.xva"]);
                let expected = bench.fingerprint(&format!("{number}.raw"));
                assert_eq!(found, expected, "{sum:?} {number}");
            }
        }
        let outcome = bench.fumehood(["check", "vm.xva"]).succeed();
        assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
    }
}

#[test]
fn the_export_is_shown() {
    let bench = bench(Sum::Xxhash, &[]);
    let info = bench.json(&["info", "--json", "vm.xva"]);
    let disks = info["disks"].as_array().expect("a list");
    let names: Vec<_> = disks.iter().map(|disk| &disk["name"]).collect();
    assert_eq!(names, ["system", "data"], "{info}");
    let shown = info.to_string();
    for part in ["XCP-ng", "8.3.0", "machine", "Ref:12", "uuid-1"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let outcome = bench.fumehood(["info", "--document", "ova.xml", "vm.xva"]).succeed();
    assert!(outcome.stdout.contains("<name>virtual_size</name>"), "{}", outcome.stdout);
}

#[test]
fn the_map_tells_zeroes_from_data() {
    let bench = bench(Sum::Xxhash, &[2]);
    let map = bench.json(&["map", "--json", "vm.xva"]);
    let runs = map.as_array().expect("a list").iter();
    let mut holes: Vec<_> = runs.filter(|run| run["zero"] == true).collect();
    // Of the chunks 1, 2, 5 and 6; the last is stored, whatever it holds.
    holes.retain(|run| run["length"] == 2 * CHUNK);
    let starts: Vec<_> = holes.iter().map(|run| run["start"].as_u64()).collect();
    assert_eq!(starts, [Some(CHUNK as u64), Some(5 * CHUNK as u64)], "{map}");
}

#[test]
fn a_served_disk_is_copied() {
    let bench = bench(Sum::Sha1, &[1]);
    let server = Server::unix(&bench, &["vm.xva"]);
    bench.peer("nbdcopy", [server.uri(), "copy.raw"]).succeed();
    assert_eq!(bench.fingerprint("copy.raw"), bench.fingerprint("0.raw"));
}

#[test]
fn a_changed_byte_costs_one_chunk_and_no_more() {
    for sum in [Sum::Sha1, Sum::Xxhash] {
        let bench = bench(sum, &[]);
        let expected = bench.read("0.raw");
        // In the noise of the disk's chunk 4.
        let noise = &expected[4 * CHUNK..][..64];
        let place = bench.read("vm.xva").windows(64).position(|part| part == noise);
        bench.change("vm.xva", place.expect("it is stored") + 9, |byte| byte ^ 1);
        let report = bench.json_of_failing(&["check", "--json", "vm.xva"]);
        let findings = report[0]["findings"].as_array().expect("a list");
        assert_eq!(findings.len(), 1, "{report}");
        assert_eq!(findings[0]["offset"], 4 * CHUNK, "{report}");
        let server = Server::unix(&bench, &["vm.xva"]);
        let mut client = Client::connect(server.socket()).expect("it listens");
        assert_eq!(client.read(4 * CHUNK as u64, 4096), Err(5));
        let before = &expected[4 * CHUNK - 4096..4 * CHUNK];
        assert!(client.read(4 * CHUNK as u64 - 4096, 4096).as_deref() == Ok(before));
    }
}

#[test]
fn a_cut_export_gives_what_it_has() {
    let bench = bench(Sum::Xxhash, &[]);
    let bytes = bench.read("vm.xva");
    bench.write("vm.xva", &bytes[..bytes.len() - 2 * CHUNK]);
    let info = bench.json(&["info", "--json", "vm.xva"]);
    let warnings = info["warnings"].to_string();
    assert!(warnings.contains("cut") && warnings.contains("Ref:12 (data)"), "{warnings}");
    assert_eq!(bench.converted(&["vm.xva"]), bench.fingerprint("0.raw"), "the first is whole");
    let arguments = ["convert", "-O", "raw", "--disk", "1", "vm.xva", "out.raw"];
    let outcome = bench.fumehood(arguments).end_with(1);
    assert!(outcome.stderr.contains("incomplete"), "{}", outcome.stderr);
}

#[test]
fn exports_that_cannot_be_are_refused() {
    let export = |chunks: &dyn Fn(&mut Tar)| {
        let mut tar = Tar::new();
        tar.file("ova.xml", manifest(&[Vdi("Ref:1", "a", 4096, "0")]).as_bytes());
        chunks(&mut tar);
        tar.end()
    };
    let mut entities = Tar::new();
    let text = b"<!DOCTYPE v [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><value>&a;</value>";
    entities.file("ova.xml", text);
    let bench = Bench::new();
    for (bytes, phrase) in [
        (export(&|tar| tar.chunk("Ref:12", 0, &[1; 512], Sum::None)), "no disk in ova.xml"),
        (export(&|tar| tar.chunk("Ref:1", 0, &[1; 5000], Sum::None)), "of a disk of 4096 bytes"),
        (export(&|tar| tar.chunk("../Ref:1", 0, &[1; 512], Sum::None)), "no disk in ova.xml"),
        (export(&|tar| tar.raw("Ref:1/00000000", b'S', &[1; 512])), "holes left out"),
        (entities.end(), "DTD"),
    ] {
        bench.write("bad.xva", &bytes);
        let outcome = bench.fumehood(["info", "bad.xva"]).end_with(1);
        assert!(outcome.stderr.contains(phrase), "{phrase}: {}", outcome.stderr);
    }
}

#[test]
fn the_plugin_conforms() {
    let bench = bench(Sum::Xxhash, &[2]);
    let hash = bench.fingerprint("0.raw").1;
    bench.conforms(&["xva", "--image", "vm.xva", "--sha256", &hash]);
}
