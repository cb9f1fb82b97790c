//! Evidence files that libewf makes: bytes as it exports them, damage where it is.

use fumehood_tests::client::Client;
use fumehood_tests::{Bench, Bounded, Server, content};

/// Not a multiple of the chunk size, so that the last chunk is cut.
const SIZE: usize = 3_600_896;
const CHUNK: u64 = 32768;

/// A bench with `disk.raw`.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("disk.raw", &content::sample(SIZE));
    bench
}

#[test]
fn every_variant_reads_as_libewf_exports_it() {
    let bench = bench();
    for format in ["encase6", "ftk", "encase5"] {
        for compression in ["none", "fast", "best"] {
            for segment in ["1MiB", "1GiB"] {
                let name = format!("{format}-{compression}-{segment}");
                bench.acquire("disk.raw", &name, &["-f", format, "-c", compression, "-S", segment]);
                let image = format!("{name}.E01");
                let export = ["-u", "-q", "-f", "raw", "-t", &name, &image];
                bench.peer("ewfexport", export).succeed();
                let expected = bench.fingerprint(&format!("{name}.raw"));
                assert_eq!(expected, bench.fingerprint("disk.raw"), "{name}: as libewf exports it");
                assert_eq!(bench.converted(&[&image]), expected, "{name}");
                let outcome = bench.fumehood(["check", &image]).succeed();
                assert!(outcome.stdout.contains("sound"), "{name}: {}", outcome.stdout);
            }
        }
    }
}

#[test]
fn stored_hashes_are_compared() {
    let bench = bench();
    bench.acquire("disk.raw", "disk", &["-f", "encase6"]);
    let report = bench.json(&["check", "--json", "disk.E01"]);
    let digests = report[0]["digests"].as_array().expect("a list");
    let kinds: Vec<_> = digests.iter().map(|digest| &digest["kind"]).collect();
    assert_eq!(kinds, ["md5", "sha1"]);
    for (digest, tool) in digests.iter().zip(["md5sum", "sha1sum"]) {
        let expected = bench.peer(tool, ["disk.raw"]).succeed().stdout;
        let expected = expected.split(' ').next().expect("a hash");
        assert_eq!(digest["stored"], expected);
        assert_eq!(digest["computed"], expected);
        assert_eq!(digest["agrees"], true);
    }
}

/// A bench with a set that has one byte changed, and which chunk of the disk that is in.
fn damaged(compression: &str) -> (Bench, u64) {
    let bench = bench();
    bench.acquire("disk.raw", "disk", &["-S", "1MiB", "-c", compression]);
    // Among the noise at the disk's beginning, which no compression makes smaller.
    bench.change("disk.E01", 300_000, |byte| byte ^ 0x10);
    let report = bench.json_of_failing(&["check", "--json", "disk.E01"]);
    let findings = report[0]["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), 1, "{compression}: {report}");
    (bench, findings[0]["offset"].as_u64().expect("a number"))
}

#[test]
fn a_changed_byte_costs_one_chunk_and_no_more() {
    for compression in ["none", "fast", "best"] {
        let (bench, chunk) = damaged(compression);
        // Stored noise lies a header behind its place on the disk.
        assert!(chunk % CHUNK == 0 && (250_000..300_000).contains(&chunk), "{chunk}");
        let expected = bench.read("disk.raw");
        let server = Server::unix(&bench, &["disk.E01"]);
        let mut client = Client::connect(server.socket()).expect("it listens");
        for offset in (0..SIZE as u64).step_by(CHUNK as usize) {
            let length = CHUNK.min(SIZE as u64 - offset) as u32;
            let found = client.read(offset, length);
            if offset == chunk {
                assert_eq!(found, Err(5), "{compression}: the damaged chunk is EIO");
            } else {
                let part = &expected[offset as usize..][..length as usize];
                assert!(found.as_deref() == Ok(part), "{compression}: {offset} reads right");
            }
        }
        let around = client.read(chunk - 10, CHUNK as u32);
        assert_eq!(around, Err(5), "{compression}: a read that touches it");
    }
}

#[test]
fn a_changed_byte_fails_check_and_convert_with_its_place() {
    let (bench, chunk) = damaged("none");
    let outcome = bench.fumehood(["check", "disk.E01"]).end_with(1);
    assert!(outcome.stdout.contains(&format!("offset {chunk}:")), "{}", outcome.stdout);
    let outcome = bench.fumehood(["convert", "-O", "raw", "disk.E01", "out.raw"]).end_with(1);
    assert!(outcome.stderr.contains("of disk.E01"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("offset"), "{}", outcome.stderr);
    assert!(!bench.path("out.raw").exists(), "nothing is left of a failed conversion");
}

#[test]
fn a_missing_segment_is_named() {
    let bench = bench();
    bench.acquire("disk.raw", "disk", &["-S", "1MiB", "-c", "none"]);
    std::fs::remove_file(bench.path("disk.E03")).expect("a set of four");
    let outcome = bench.fumehood(["check", "disk.E01"]).end_with(1);
    let said = outcome.stdout + &outcome.stderr;
    assert!(said.contains("disk.E03") || said.contains("segment 3"), "{said}");
}

#[test]
fn the_case_is_shown() {
    let bench = bench();
    let case = ["-C", "case 7", "-D", "a disk", "-e", "an examiner", "-E", "number 3"];
    bench.acquire("disk.raw", "disk", &[&case[..], &["-N", "notes"]].concat());
    let outcome = bench.fumehood(["info", "--document", "header", "disk.E01"]).succeed();
    for part in ["case 7", "a disk", "an examiner", "number 3", "notes"] {
        assert!(outcome.stdout.contains(part), "{part} in {}", outcome.stdout);
    }
    let info = bench.json(&["info", "--json", "disk.E01"]);
    let documents = info["documents"].as_array().expect("a list");
    assert!(documents.contains(&"header".into()), "{info}");
    let outcome = bench.fumehood(["info", "--document", "none", "disk.E01"]).end_with(1);
    assert!(outcome.stderr.contains("none"), "{}", outcome.stderr);
}
