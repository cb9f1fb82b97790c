//! Images that partclone makes: bytes as it restores them, damage where it is.

use fumehood_tests::client::Client;
use fumehood_tests::{Bench, Bounded, Server, content};

/// A bench with `volume.img`, a file system with noise in it.
fn bench() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("files")).expect("our folder");
    for (name, length) in [("noise", 700_000), ("more", 3000), ("last", 90_000)] {
        bench.write(&format!("files/{name}"), &content::noise(length, length as u64));
    }
    bench.peer("truncate", ["-s", "8M", "volume.img"]).succeed();
    let options = ["-q", "-F", "-b", "1024", "-d", "files", "volume.img"];
    bench.peer("mkfs.ext4", options).succeed();
    bench
}

/// Saves the volume as `volume.pcl`, and restores it to `expected.raw`.
fn save(bench: &Bench, options: &[&str]) {
    let common = ["-q", "-c", "-F", "-L", "log", "-s", "volume.img", "-O", "volume.pcl"];
    bench.peer("partclone.extfs", [&common, options].concat()).succeed();
    let _ = std::fs::remove_file(bench.path("expected.raw"));
    let common = ["-q", "-W", "-C", "-L", "log", "-s", "volume.pcl", "-o", "expected.raw"];
    bench.peer("partclone.restore", common).succeed();
}

#[test]
fn every_variant_reads_as_partclone_restores_it() {
    let bench = bench();
    for options in [&["-a", "0"][..], &["-a", "1"], &["-k", "16"], &["-k", "5", "--no-reseed"]] {
        save(&bench, options);
        let expected = bench.fingerprint("expected.raw");
        assert_eq!(bench.converted(&["volume.pcl"]), expected, "{options:?}");
        let outcome = bench.fumehood(["check", "volume.pcl"]).succeed();
        assert!(outcome.stdout.contains("sound"), "{options:?}: {}", outcome.stdout);
    }
}

#[test]
fn a_volume_is_shown_for_what_it_is() {
    let bench = bench();
    save(&bench, &["-a", "0"]);
    let info = bench.fumehood(["info", "volume.pcl"]).succeed().stdout;
    for part in ["partclone", "EXTFS", "0002", "block size"] {
        assert!(info.contains(part), "{part} in {info}");
    }
    let info = bench.json(&["info", "--json", "volume.pcl"]);
    assert_eq!(info["disks"][0]["size"], 8 << 20, "{info}");
    let map = bench.json(&["map", "--json", "volume.pcl"]);
    let runs = map.as_array().expect("a list");
    let length = |zero: bool| -> u64 {
        let wanted = runs.iter().filter(|run| run["zero"] == zero);
        wanted.map(|run| run["length"].as_u64().expect("a number")).sum()
    };
    assert_eq!(length(true) + length(false), 8 << 20);
    assert!(length(true) > 4 << 20 && length(false) > 700_000, "{map}");
}

#[test]
fn a_served_volume_is_copied_whole() {
    let bench = bench();
    save(&bench, &["-a", "1"]);
    let server = Server::unix(&bench, &["volume.pcl"]);
    bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
    assert_eq!(bench.fingerprint("found.raw"), bench.fingerprint("expected.raw"));
}

#[test]
fn a_changed_byte_costs_its_group_and_no_more() {
    let bench = bench();
    save(&bench, &["-k", "16"]);
    let expected = bench.read("expected.raw");
    let size = std::fs::metadata(bench.path("volume.pcl")).expect("just made").len();
    bench.change("volume.pcl", size as usize / 2, |byte| byte ^ 4);
    let server = Server::unix(&bench, &["volume.pcl"]);
    let mut client = Client::connect(server.socket()).expect("it listens");
    let mut lost = 0;
    for (number, block) in expected.chunks(1024).enumerate() {
        match client.read(number as u64 * 1024, 1024) {
            Ok(found) => assert!(found == block, "block {number} reads right"),
            Err(error) => {
                assert_eq!(error, 5, "block {number}: EIO");
                lost += 1;
            }
        }
    }
    assert_eq!(lost, 16);
    bench.fumehood(["check", "volume.pcl"]).end_with(1);
    // Whoever needs the bytes as they are can have them.
    let ignoring = ["--option", "checksums=ignore", "volume.pcl"];
    assert_ne!(bench.converted(&ignoring), bench.fingerprint("expected.raw"));
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    let bench = bench();
    save(&bench, &["-a", "0"]);
    let whole = bench.read("volume.pcl");
    let refused = |bytes: &[u8], said: &str| {
        bench.write("bad.pcl", bytes);
        let outcome = bench.fumehood(["convert", "-O", "raw", "bad.pcl", "out.raw"]).end_with(1);
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
        assert!(!bench.path("out.raw").exists(), "nothing is left of a failed conversion");
    };
    let mut bitmap = whole.clone();
    bitmap[200] ^= 1;
    refused(&bitmap, "checksum");
    let mut foreign = whole.clone();
    foreign.swap(34, 35);
    refused(&foreign, "big-endian");
    refused(&whole[..whole.len() - 5000], "ends before this block");
}
