//! Apple's disk images, put together by hand: nothing but macOS writes them. QEMU reads
//! the same bytes of them, and those that are not read are refused by name.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use fumehood_tests::{Bench, Bounded, Server, content};

const SECTOR: usize = 512;
/// Bytes a run.
const RUN: usize = 512 * SECTOR;
/// Bytes of the disk: the last run is cut.
const SIZE: usize = 9001 * SECTOR;

const RAW: u32 = 1;
const ZLIB: u32 = 0x8000_0005;
const BZIP2: u32 = 0x8000_0006;
const XZ: u32 = 0x8000_0008;

/// A bench with `disk.raw`, which has two runs of zeroes, and its bytes.
fn bench() -> (Bench, Vec<u8>) {
    let bench = Bench::new();
    let mut disk = content::sample(SIZE);
    disk[2 * RUN..4 * RUN].fill(0);
    bench.write("disk.raw", &disk);
    (bench, disk)
}

/// A run's bytes, behind a codec.
fn packed(bench: &Bench, kind: u32, bytes: &[u8]) -> Vec<u8> {
    let (tool, made) = match kind {
        BZIP2 => ("bzip2", "run.bz2"),
        XZ => ("xz", "run.xz"),
        ZLIB => {
            let mut encoder = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::fast());
            encoder.write_all(bytes).expect("room");
            return encoder.finish().expect("room");
        }
        _ => return bytes.to_vec(),
    };
    bench.write("run", bytes);
    bench.peer(tool, ["-f", "-k", "run"]).succeed();
    bench.read(made)
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// An image with one block table, in runs that take these kinds in turn. Without
/// checksums, and with the table in base64 on one line.
fn image(bench: &Bench, disk: &[u8], kinds: &[u32]) -> Vec<u8> {
    let (mut data, mut runs) = (vec![], vec![]);
    let mut count = 0_u32;
    for (bytes, kind) in disk.chunks(RUN).zip(kinds.iter().cycle()) {
        let empty = bytes.iter().all(|byte| *byte == 0);
        let stored = if empty { vec![] } else { packed(bench, *kind, bytes) };
        let place = u64::from(count) * (RUN / SECTOR) as u64;
        let sectors = (bytes.len() / SECTOR) as u64;
        runs.extend(if empty { 0 } else { *kind }.to_be_bytes());
        runs.extend([0; 4]);
        runs.extend(words(&[place, sectors, data.len() as u64, stored.len() as u64]));
        data.extend(stored);
        count += 1;
    }
    let sectors = (disk.len() / SECTOR) as u64;
    let mut table = b"mish\0\0\0\x01".to_vec();
    table.extend(words(&[0, sectors, 0, 0]));
    table.extend([0; 160]);
    table.extend(count.to_be_bytes());
    table.extend(runs);
    let list = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST \
         1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\
         <dict><key>resource-fork</key><dict><key>blkx</key><array><dict><key>Data</key>\
         <data>{}</data><key>Name</key><string>whole disk (Apple_HFS : 0)</string></dict></array>\
         </dict></dict></plist>",
        base64(&table)
    );
    let (list_at, end) = (data.len(), data.len() + list.len());
    let mut file =
        [data, list.into_bytes(), b"koly\0\0\0\x04\0\0\x02\0\0\0\0\x01".to_vec()].concat();
    file.extend(words(&[0, 0, list_at as u64, 0, 0, 1 << 32 | 1]));
    file.resize(end + 216, 0);
    file.extend(words(&[list_at as u64, (end - list_at) as u64]));
    file.resize(end + 488, 0);
    file.extend(1u32.to_be_bytes());
    file.extend(words(&[sectors]));
    file.resize(end + 512, 0);
    file
}

fn base64(bytes: &[u8]) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let word = part.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - part.len()));
        for place in 0..4 {
            let letter = letters[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= part.len() { letter.into() } else { '=' });
        }
    }
    text
}

#[test]
fn runs_that_qemu_reads_are_read_as_with_qemu() {
    let (bench, disk) = bench();
    bench.write("disk.dmg", &image(&bench, &disk, &[ZLIB, RAW]));
    let convert = ["convert", "-f", "dmg", "-O", "raw", "disk.dmg", "expected.raw"];
    bench.peer("qemu-img", convert).succeed();
    let expected = bench.fingerprint("expected.raw");
    assert_eq!(expected, bench.fingerprint("disk.raw"));
    assert_eq!(bench.converted(&["disk.dmg"]), expected);
    let server = Server::unix(&bench, &["disk.dmg"]);
    bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
    assert_eq!(bench.fingerprint("found.raw"), expected);
}

#[test]
fn every_codec_with_a_tool_is_read() {
    let (bench, disk) = bench();
    bench.write("disk.dmg", &image(&bench, &disk, &[BZIP2, XZ, ZLIB, RAW]));
    assert_eq!(bench.converted(&["disk.dmg"]), bench.fingerprint("disk.raw"));
    let outcome = bench.fumehood(["check", "disk.dmg"]).succeed();
    assert!(outcome.stdout.contains("sound"), "{}", outcome.stdout);
}

#[test]
fn what_is_known_of_an_image_is_shown() {
    let (bench, disk) = bench();
    bench.write("disk.dmg", &image(&bench, &disk, &[ZLIB, RAW]));
    let info = bench.json(&["info", "--json", "disk.dmg"]);
    assert_eq!(info["format"], "dmg", "{info}");
    assert!(info.to_string().contains("whole disk (Apple_HFS : 0)"), "{info}");
    let text = bench.fumehood(["info", "--document", "resources.plist", "disk.dmg"]).succeed();
    assert!(text.stdout.contains("<key>blkx</key>"), "{}", text.stdout);
    let map = bench.json(&["map", "--json", "disk.dmg"]);
    let runs = map.as_array().expect("a list");
    let hole = runs.iter().find(|run| run["start"] == 2 * RUN).expect("a run begins there");
    assert_eq!((&hole["length"], &hole["zero"]), (&(2 * RUN).into(), &true.into()), "{map}");
    assert!(runs.iter().any(|run| run["compressed"] == true), "{map}");
}

#[test]
fn a_damaged_run_costs_itself_only() {
    let (bench, disk) = bench();
    let bytes = image(&bench, &disk, &[ZLIB]);
    bench.write("disk.dmg", &bytes);
    bench.change("disk.dmg", 1000, |byte| byte ^ 0x10);
    let outcome = bench.fumehood(["convert", "-O", "raw", "disk.dmg", "out.raw"]).end_with(1);
    assert!(outcome.stderr.contains("disk.dmg"), "{}", outcome.stderr);
    let report = bench.json_of_failing(&["check", "--json", "disk.dmg"]);
    assert_eq!(report[0]["findings"][0]["offset"], 0, "{report}");
    assert_eq!(report[0]["findings"].as_array().map(Vec::len), Some(1), "{report}");
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let (bench, disk) = bench();
    bench.write("encrypted.dmg", &[&b"encrcdsa\0\0\0\x02"[..], &[0; 8192]].concat());
    bench.write("older.dmg", &[&[0; 8192][..], b"cdsaencr"].concat());
    let bytes = image(&bench, &disk[..RUN], &[RAW]);
    bench.write("segment.dmg", &bytes);
    bench.change("segment.dmg", bytes.len() - 512 + 63, |_| 3);
    bench.write("cut.dmg", &bytes[RUN / 2..]);
    for (name, expected) in [
        ("encrypted.dmg", "encrypted"),
        ("older.dmg", "encrypted"),
        ("segment.dmg", "1 of 3"),
        ("cut.dmg", "in a file of"),
    ] {
        let outcome = bench.fumehood(["info", name]).end_with(1);
        assert!(outcome.stderr.contains(expected), "{name}: {}", outcome.stderr);
    }
}

/// Writes the bands of a bundle, but for those of zeroes, and its list.
fn bundle(bench: &Bench, disk: &[u8]) {
    fs::create_dir_all(bench.path("disk.sparsebundle/bands")).expect("our folder");
    for (number, band) in disk.chunks(RUN).enumerate() {
        if band.iter().any(|byte| *byte != 0) {
            bench.write(&format!("disk.sparsebundle/bands/{number:x}"), band);
        }
    }
    let list = format!(
        "<plist version=\"1.0\"><dict><key>band-size</key><integer>{RUN}</integer>\
         <key>diskimage-bundle-type</key><string>com.apple.diskimage.sparsebundle</string>\
         <key>size</key><integer>{}</integer></dict></plist>",
        disk.len()
    );
    bench.write("disk.sparsebundle/Info.plist", list.as_bytes());
    bench.write("disk.sparsebundle/token", b"");
}

#[test]
fn a_bundle_is_a_folder_of_bands() {
    let (bench, disk) = bench();
    bundle(&bench, &disk);
    let expected = bench.fingerprint("disk.raw");
    for name in ["disk.sparsebundle", "disk.sparsebundle/Info.plist"] {
        assert_eq!(bench.converted(&[name]), expected, "{name}");
    }
    let server = Server::unix(&bench, &["disk.sparsebundle"]);
    bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
    assert_eq!(bench.fingerprint("found.raw"), expected);

    // A band that is there and may not be read is not zeroes.
    fs::rename(bench.path("disk.sparsebundle/bands/5"), bench.path("five")).expect("our files");
    symlink("../../five", bench.path("disk.sparsebundle/bands/5")).expect("our folder");
    let arguments = ["convert", "--force", "-O", "raw", "disk.sparsebundle", "out.raw"];
    let outcome = bench.fumehood(arguments).end_with(1);
    assert!(outcome.stderr.contains("bands/5"), "{}", outcome.stderr);
    fs::remove_file(bench.path("disk.sparsebundle/bands/0")).expect("our files");
    let info = bench.json(&["info", "--json", "disk.sparsebundle"]);
    assert!(info["warnings"].to_string().contains("first band"), "{info}");

    bench.write("disk.sparsebundle/token", b"encrcdsa\0\0\0\x02");
    let outcome = bench.fumehood(["info", "disk.sparsebundle"]).end_with(1);
    assert!(outcome.stderr.contains("encrypted"), "{}", outcome.stderr);
}

#[test]
fn a_sparse_image_holds_its_bands_in_any_order() {
    let (bench, disk) = bench();
    let bands: Vec<_> = disk.chunks(RUN).enumerate().filter(|(_, band)| band[0] != 0).collect();
    let sectors = (disk.len() / SECTOR) as u32;
    let header = [3, (RUN / SECTOR) as u32, 1, sectors, 0, 0, 0, sectors];
    let numbers = bands.iter().rev().map(|(number, _)| *number as u32 + 1);
    let mut file = b"sprs".to_vec();
    file.extend(header.iter().flat_map(|number| number.to_be_bytes()));
    file.resize(64, 0);
    file.extend(numbers.flat_map(u32::to_be_bytes));
    file.resize(4096, 0);
    for (number, band) in bands.iter().rev() {
        file.extend(*band);
        let whole = *number == disk.len() / RUN;
        file.resize(file.len() + if whole { RUN - band.len() } else { 0 }, 0);
    }
    let mut expected = disk.clone();
    for (number, band) in expected.chunks_mut(RUN).enumerate() {
        if !bands.iter().any(|(kept, _)| *kept == number) {
            band.fill(0);
        }
    }
    bench.write("disk.sparseimage", &file);
    bench.write("expected.raw", &expected);
    assert_eq!(bench.converted(&["disk.sparseimage"]), bench.fingerprint("expected.raw"));
    bench.fumehood(["check", "disk.sparseimage"]).succeed();
}
