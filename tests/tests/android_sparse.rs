//! Android's sparse images as libsparse's tools make them, single and split.

use fumehood_tests::{Bench, Bounded, Server, content};

const BLOCK: usize = 4096;

/// A disk of 9 MiB with all that these images tell apart: noise, zeroes, a pattern.
fn bench() -> Bench {
    let bench = Bench::new();
    let mut disk = content::noise(700 * BLOCK, 1);
    disk.resize(1200 * BLOCK, 0);
    disk.extend([1, 2, 3, 4].repeat(300 * BLOCK / 4));
    disk.extend(content::noise(804 * BLOCK, 2));
    bench.write("disk.raw", &disk);
    bench
}

#[test]
fn every_block_size_reads_as_simg2img_reads_it() {
    let bench = bench();
    let expected = bench.fingerprint("disk.raw");
    for block in ["1024", "4096", "12288"] {
        bench.peer("img2simg", ["disk.raw", "disk.simg", block]).succeed();
        bench.peer("simg2img", ["disk.simg", "theirs.raw"]).succeed();
        assert_eq!(bench.fingerprint("theirs.raw"), expected, "{block}");
        assert_eq!(bench.converted(&["disk.simg"]), expected, "{block}");
        let outcome = bench.fumehood(["check", "disk.simg"]).succeed();
        assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
    }
}

#[test]
fn a_map_tells_what_is_stored_and_what_is_zero() {
    let bench = bench();
    bench.peer("img2simg", ["disk.raw", "disk.simg"]).succeed();
    let map = bench.json(&["map", "--json", "disk.simg"]);
    let runs = map.as_array().expect("a list");
    let zero: u64 = runs
        .iter()
        .filter(|run| run["zero"] == true)
        .map(|run| run["length"].as_u64().expect("a number"))
        .sum();
    assert_eq!(zero, 500 * BLOCK as u64, "{map}");
    assert_eq!(runs[0]["offset"], 40, "{map}");
    let info = bench.json(&["info", "--json", "disk.simg"]);
    assert_eq!(info["format"], "android-sparse", "{info}");
}

#[test]
fn it_is_served_from_any_offset() {
    let bench = bench();
    bench.peer("img2simg", ["disk.raw", "disk.simg"]).succeed();
    let server = Server::unix(&bench, &["disk.simg"]);
    bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
    assert_eq!(bench.fingerprint("found.raw"), bench.fingerprint("disk.raw"));
    let mut client = fumehood_tests::client::Client::connect(server.socket()).expect("it listens");
    let expected = bench.read("disk.raw");
    // Into, within and out of the pattern, at odd offsets.
    for offset in [1200 * BLOCK - 5, 1300 * BLOCK + 3, 1500 * BLOCK - 7, 0] {
        let found = client.read(offset as u64, 11);
        assert!(found.as_deref() == Ok(&expected[offset..offset + 11]), "{offset}");
    }
}

#[test]
fn a_split_set_is_one_disk_and_a_gap_in_it_is_named() {
    let bench = bench();
    let expected = bench.fingerprint("disk.raw");
    bench.peer("img2simg", ["disk.raw", "disk.simg"]).succeed();
    bench.peer("simg2simg", ["disk.simg", "super.img_sparsechunk", "1500000"]).succeed();
    let part = |number: usize| format!("super.img_sparsechunk.{number}");
    assert!(bench.path(part(3)).exists(), "{:?}", bench.names());
    assert_eq!(bench.converted(&[&part(0)]), expected);
    let alone = bench.json(&["info", "--json", &part(1)]);
    assert!(alone["warnings"][0].as_str().is_some_and(|said| said.contains(&part(0))), "{alone}");
    std::fs::remove_file(bench.path(part(2))).expect("it is there");
    let outcome = bench.fumehood(["info", &part(0)]).end_with(1);
    assert!(outcome.stderr.contains(&part(2)), "{}", outcome.stderr);
}

#[test]
fn an_image_that_was_cut_off_is_read_as_far_as_it_goes() {
    let bench = bench();
    bench.peer("img2simg", ["disk.raw", "disk.simg"]).succeed();
    let mut bytes = bench.read("disk.simg");
    bytes.truncate(bytes.len() - 1000);
    bench.write("disk.simg", &bytes);
    let info = bench.json(&["info", "--json", "disk.simg"]);
    assert!(
        info["warnings"][0].as_str().is_some_and(|said| said.contains("past the end")),
        "{info}"
    );
    let outcome = bench.fumehood(["convert", "-O", "raw", "disk.simg", "out.raw"]).end_with(1);
    assert!(outcome.stderr.contains("past the end"), "{}", outcome.stderr);
    bench.fumehood(["check", "disk.simg"]).end_with(1);
    let server = Server::unix(&bench, &["disk.simg"]);
    let mut client = fumehood_tests::client::Client::connect(server.socket()).expect("it listens");
    let length = 1 << 20;
    assert!(client.read(0, length).as_deref() == Ok(&bench.read("disk.raw")[..length as usize]));
}

/// A checksum over the whole disk is compared by `check`.
#[test]
fn a_checksum_of_the_whole_disk_is_compared() {
    let bench = bench();
    bench.peer("img2simg", ["disk.raw", "disk.simg"]).succeed();
    let mut bytes = bench.read("disk.simg");
    for (value, agrees) in [(crc32(&bench.read("disk.raw")), true), (7, false)] {
        bytes[24..28].copy_from_slice(&value.to_le_bytes());
        bench.write("disk.simg", &bytes);
        let arguments = ["check", "--json", "disk.simg"];
        let report =
            if agrees { bench.json(&arguments) } else { bench.json_of_failing(&arguments) };
        assert_eq!(report[0]["digests"][0]["kind"], "crc32", "{report}");
        assert_eq!(report[0]["digests"][0]["agrees"], agrees, "{report}");
    }
}

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ ((sum & 1) * 0xedb8_8320))
    })
}
