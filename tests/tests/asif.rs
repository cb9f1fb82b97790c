//! Apple sparse images, built here by hand since nothing but macOS makes them.

use fumehood_tests::{Bench, Bounded, Server, content};

/// Bytes a chunk, and data chunks a table.
const CHUNK: usize = 32 << 10;
const TABLE: usize = 2048;
const LIST: &str = "<plist><dict><key>stable uuid</key><string>0a1b</string></dict></plist>";

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

/// A bench with `disk.asif`, a disk of two tables that ends within a chunk, and with
/// `disk.raw`, what it holds.
fn bench() -> Bench {
    let size = (TABLE + 4) * CHUNK - 512;
    let most = 2 * TABLE * CHUNK;
    let mut image = vec![0; 3 * CHUNK];
    image[..4].copy_from_slice(b"shdw");
    put(&mut image, 4, 1 << 32 | 512);
    put(&mut image, 16, 512);
    put(&mut image, 24, 1024);
    put(&mut image, 48, size as u64 / 512);
    put(&mut image, 56, most as u64 / 512);
    put(&mut image, 64, (CHUNK as u64) << 32 | 512 << 16);
    put(&mut image, 72, 2 * TABLE as u64 - 1);
    // The second directory is the newer one.
    put(&mut image, 512, 1);
    put(&mut image, 1024, 2);
    put(&mut image, 1032, 1);
    put(&mut image, 1040, 2);
    let mut disk = vec![0; (TABLE + 4) * CHUNK];
    for (number, chunk) in [5, 6, 7, 100, 0, TABLE - 1, TABLE, TABLE + 3].into_iter().enumerate() {
        let data = content::noise(CHUNK, number as u64);
        let entry = (1 + chunk / TABLE) * CHUNK + 8 * (chunk % TABLE);
        let place = image.len() / CHUNK;
        put(&mut image, entry, place as u64 | 1 << 62);
        disk[chunk * CHUNK..][..CHUNK].copy_from_slice(&data);
        image.extend(data);
    }
    let place = image.len() / CHUNK;
    put(&mut image, 2 * CHUNK + 8 * (TABLE - 1), place as u64 | 3 << 62);
    image.extend(b"meta\0\0\0\x01\0\0\x02\0");
    image.resize(place * CHUNK + 512, 0);
    image.extend(LIST.as_bytes());
    image.resize((place + 1) * CHUNK, 0);
    disk.truncate(size);
    let bench = Bench::new();
    bench.write("disk.asif", &image);
    bench.write("disk.raw", &disk);
    bench
}

#[test]
fn it_is_converted_mapped_and_served() {
    let bench = bench();
    let expected = bench.fingerprint("disk.raw");
    assert_eq!(bench.converted(&["disk.asif"]), expected);
    let map = bench.json(&["map", "--json", "disk.asif"]);
    let runs = map.as_array().expect("a list");
    // 5, 6 and 7 lie side by side.
    assert!(
        runs.iter().any(|run| run["length"] == 3 * CHUNK && run["offset"] == 3 * CHUNK),
        "{map}"
    );
    let server = Server::unix(&bench, &["disk.asif"]);
    bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
    assert_eq!(bench.fingerprint("found.raw"), expected);
}

#[test]
fn what_is_known_of_it_is_shown() {
    let bench = bench();
    let info = bench.json(&["info", "--json", "disk.asif"]);
    assert_eq!(info["format"], "asif", "{info}");
    assert_eq!(info["documents"][0], "metadata.plist", "{info}");
    let said = bench.fumehood(["info", "disk.asif"]).succeed().stdout;
    assert!(said.contains("0a1b") && said.contains("few images only"), "{said}");
    let list = bench.fumehood(["info", "--document", "metadata.plist", "disk.asif"]).succeed();
    assert_eq!(list.stdout.trim(), LIST);
    let outcome = bench.fumehood(["check", "disk.asif"]).succeed();
    assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let bench = bench();
    let sound = bench.read("disk.asif");
    for (at, byte, phrase) in [(7, 2, "version 2"), (15, 1, "flags 0x1"), (71, 2, "2 segments")] {
        let mut bytes = sound.clone();
        bytes[at] = byte;
        bench.write("disk.asif", &bytes);
        let outcome = bench.fumehood(["info", "disk.asif"]).end_with(1);
        assert!(outcome.stderr.contains(phrase), "{phrase}: {}", outcome.stderr);
    }
}

#[test]
fn an_image_that_was_cut_off_fails_where_it_is() {
    let bench = bench();
    let mut bytes = bench.read("disk.asif");
    // The metadata and the last chunk are lost.
    bytes.truncate(bytes.len() - 2 * CHUNK);
    bench.write("disk.asif", &bytes);
    let outcome = bench.fumehood(["check", "disk.asif"]).end_with(1);
    assert!(outcome.stdout.contains(&format!("chunk {}", TABLE + 3)), "{}", outcome.stdout);
    let outcome = bench.fumehood(["convert", "-O", "raw", "disk.asif", "out.raw"]).end_with(1);
    assert!(outcome.stderr.contains("of the file"), "{}", outcome.stderr);
    let server = Server::unix(&bench, &["disk.asif"]);
    let mut client = fumehood_tests::client::Client::connect(server.socket()).expect("it listens");
    let length = 200 * CHUNK;
    let found = client.read(0, length as u32);
    assert!(found.as_deref() == Ok(&bench.read("disk.raw")[..length]));
    assert_eq!(client.read(((TABLE + 3) * CHUNK) as u64, 512), Err(5), "what is lost is EIO");
}
