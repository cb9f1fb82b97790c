//! AFF4 volumes, put together by hand from the standard: what holds disks in the field is
//! written by tools that are not free, and the reference images are large.

use std::io::Write;

use fumehood_tests::{Bench, Bounded, Server, content};

const CHUNK: usize = 32768;
const PER_SEGMENT: usize = 8;
/// Not a multiple of the chunk size, so that the last chunk is padded.
const SIZE: usize = 37 * CHUNK + 512;
/// Where the map shows no stream: chunks of zeroes, then of one byte.
const ZEROES: std::ops::Range<usize> = 4 * CHUNK..9 * CHUNK;
const FILLED: std::ops::Range<usize> = 9 * CHUNK..11 * CHUNK;

const SNAPPY: &str = "http://code.google.com/p/snappy/";
const ZLIB: &str = "https://www.ietf.org/rfc/rfc1950.txt";
const TERMS: &str = "http://aff4.org/Schema#";

/// A bench with `disk.raw`, and its bytes.
fn bench() -> (Bench, Vec<u8>) {
    let bench = Bench::new();
    let mut disk = content::sample(SIZE);
    disk[ZEROES].fill(0);
    disk[FILLED].fill(0xff);
    disk[20 * CHUNK + 5000..21 * CHUNK].fill(0x61);
    bench.write("disk.raw", &disk);
    (bench, disk)
}

/// Snappy of what stands before a tail of one byte, verbatim, and then that byte copied.
fn snappy(chunk: &[u8]) -> Vec<u8> {
    let last = chunk.last().expect("not empty");
    let tail = chunk.iter().rev().take_while(|byte| *byte == last).count();
    let plain = &chunk[..chunk.len() - tail + 1];
    let mut block = vec![0x80 | CHUNK as u8 & 0x7f, 0x80 | (CHUNK >> 7) as u8, (CHUNK >> 14) as u8];
    block.push(61 << 2);
    block.extend((plain.len() as u16 - 1).to_le_bytes());
    block.extend(plain);
    let mut left = tail - 1;
    while left > 0 {
        let count = left.min(64);
        block.push((count as u8 - 1) << 2 | 2);
        block.extend([1, 0]);
        left -= count;
    }
    block
}

fn zlib(chunk: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all(chunk).expect("room");
    encoder.finish().expect("room")
}

/// A zip file of stored members, with the comment that AFF4 has.
fn zip(members: &[(String, Vec<u8>)], comment: &str) -> Vec<u8> {
    let (mut file, mut directory) = (vec![], vec![]);
    for (name, bytes) in members {
        let offset = file.len() as u32;
        let size = (bytes.len() as u32).to_le_bytes();
        // Version, flags, method, date and checksum, of which no reader of AFF4 makes use.
        let common = [&[45, 0, 0, 0, 0, 0][..], &[0; 8], &size, &size].concat();
        let length = (name.len() as u16).to_le_bytes();
        file.extend(
            [&b"PK\x03\x04"[..], &common[..], &length, &[0; 2], name.as_bytes(), bytes].concat(),
        );
        let place = offset.to_le_bytes();
        directory
            .extend([&b"PK\x01\x02\x2d\0"[..], &common[..], &length, &[0; 12], &place].concat());
        directory.extend(name.as_bytes());
    }
    let (offset, size) = (file.len() as u32, directory.len() as u32);
    let count = (members.len() as u16).to_le_bytes();
    file.extend(directory);
    file.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count].concat());
    file.extend([size.to_le_bytes(), offset.to_le_bytes()].concat());
    file.extend((comment.len() as u16).to_le_bytes());
    file.extend(comment.as_bytes());
    file
}

/// The members of stream `number`, which holds these chunks.
fn stream(number: usize, codec: &str, chunks: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
    let mut members = vec![];
    for (segment, chunks) in chunks.chunks(PER_SEGMENT).enumerate() {
        let (mut stored, mut index) = (vec![], vec![]);
        for chunk in chunks {
            let mut padded = chunk.to_vec();
            padded.resize(CHUNK, 0);
            let packed = if codec == SNAPPY { snappy(&padded) } else { zlib(&padded) };
            let bytes = if packed.len() < CHUNK - 16 { packed } else { padded };
            index.extend((stored.len() as u64).to_le_bytes());
            index.extend((bytes.len() as u32).to_le_bytes());
            stored.extend(bytes);
        }
        let name = format!("aff4%3A%2F%2Fstream-{number}/{segment:08}");
        members.push((format!("{name}.index"), index));
        members.push((name, stored));
    }
    members
}

/// The volumes of a set of `count` stripes, which take the disk's chunks in turn; `said`
/// is said of the image.
fn volumes(disk: &[u8], codec: &str, count: usize, said: &str) -> Vec<Vec<u8>> {
    let mut streams = vec![vec![]; count];
    let mut map = vec![];
    let mut entry = |numbers: [usize; 3], target: usize| {
        map.extend(numbers.iter().flat_map(|number| (*number as u64).to_le_bytes()));
        map.extend((target as u32).to_le_bytes());
    };
    for (number, chunk) in disk.chunks(CHUNK).enumerate() {
        let at = number * CHUNK;
        if ZEROES.contains(&at) {
            continue;
        }
        if FILLED.contains(&at) {
            entry([at, chunk.len(), at], count);
            continue;
        }
        let stripe: &mut Vec<&[u8]> = &mut streams[number % count];
        entry([at, chunk.len(), stripe.len() * CHUNK], number % count);
        stripe.push(chunk);
    }
    let targets = (0..count).map(|number| format!("aff4://stream-{number}\n"));
    let idx = targets.collect::<String>() + TERMS + "SymbolicStreamFF\n";
    let mut files = vec![];
    for (number, chunks) in streams.iter().enumerate() {
        let urn = format!("aff4://volume-{number}");
        let mut turtle = format!(
            "@prefix : <{urn}> .\n@prefix aff4: <{TERMS}> .\n\
             <aff4://image> a aff4:DiskImage , aff4:Image ; aff4:dataStream <aff4://map> ;\n \
             aff4:diskSerial \"serial 7\" ; aff4:size {} {said} .\n\
             <aff4://case> a aff4:CaseDetails ; aff4:examiner \"an examiner\" .\n\
             <aff4://map> a aff4:Map ; aff4:stored : .\n",
            disk.len()
        );
        for (other, chunks) in streams.iter().enumerate() {
            let last =
                if disk.chunks(CHUNK).count() % count == (other + 1) % count { 512 } else { CHUNK };
            let size = (chunks.len() - 1) * CHUNK + last;
            turtle += &format!(
                "<aff4://stream-{other}> a aff4:ImageStream ; aff4:chunkSize {CHUNK} ;\n \
                 aff4:chunksInSegment {PER_SEGMENT} ; aff4:compressionMethod <{codec}> ;\n \
                 aff4:size {size} ; aff4:stored <aff4://volume-{other}> .\n"
            );
        }
        let mut members = vec![("container.description".to_string(), urn.clone().into_bytes())];
        members.extend(stream(number, codec, chunks));
        members.push(("aff4%3A%2F%2Fmap/map".to_string(), map.clone()));
        members.push(("aff4%3A%2F%2Fmap/idx".to_string(), idx.clone().into_bytes()));
        members.push(("information.turtle".to_string(), turtle.into_bytes()));
        files.push(zip(&members, &urn));
    }
    files
}

#[test]
fn every_codec_is_read() {
    let (bench, disk) = bench();
    for codec in [SNAPPY, ZLIB] {
        bench.write("disk.aff4", &volumes(&disk, codec, 1, "").remove(0));
        assert_eq!(bench.converted(&["disk.aff4"]), bench.fingerprint("disk.raw"), "{codec}");
        let server = Server::unix(&bench, &["disk.aff4"]);
        bench.peer("nbdcopy", [server.uri(), "found.raw"]).succeed();
        assert_eq!(bench.fingerprint("found.raw"), bench.fingerprint("disk.raw"), "{codec}");
    }
}

#[test]
fn stored_hashes_are_compared() {
    let (bench, disk) = bench();
    let md5 = bench.peer("md5sum", ["disk.raw"]).succeed().stdout;
    let md5 = md5.split(' ').next().expect("a hash");
    let said = format!("; aff4:hash \"{md5}\"^^aff4:MD5");
    bench.write("disk.aff4", &volumes(&disk, SNAPPY, 1, &said).remove(0));
    let report = bench.json(&["check", "--json", "disk.aff4"]);
    assert_eq!(report[0]["digests"][0]["stored"], md5, "{report}");
    assert_eq!(report[0]["digests"][0]["agrees"], true, "{report}");
}

#[test]
fn a_striped_set_is_read_from_either_file_and_misses_one() {
    let (bench, disk) = bench();
    let files = volumes(&disk, SNAPPY, 2, "");
    for (number, file) in files.iter().enumerate() {
        bench.write(&format!("disk_{}.aff4", number + 1), file);
    }
    for name in ["disk_1.aff4", "disk_2.aff4"] {
        assert_eq!(bench.converted(&[name]), bench.fingerprint("disk.raw"), "{name}");
    }
    std::fs::remove_file(bench.path("disk_2.aff4")).expect("it is there");
    let outcome = bench.fumehood(["check", "disk_1.aff4"]).end_with(1);
    let said = outcome.stdout + &outcome.stderr;
    assert!(said.contains("aff4://stream-1"), "{said}");
}

#[test]
fn what_is_known_of_an_image_is_shown() {
    let (bench, disk) = bench();
    bench.write("disk.aff4", &volumes(&disk, SNAPPY, 1, "").remove(0));
    let info = bench.json(&["info", "--json", "disk.aff4"]);
    assert_eq!(info["format"], "aff4", "{info}");
    for part in ["serial 7", "an examiner", "Snappy"] {
        assert!(info.to_string().contains(part), "{part} in {info}");
    }
    let text = bench.fumehood(["info", "--document", "information.turtle", "disk.aff4"]).succeed();
    assert!(text.stdout.contains("aff4:dataStream"), "{}", text.stdout);
}

#[test]
fn relatives_are_refused_by_name() {
    let (bench, _) = bench();
    for (kind, expected) in [("EncryptedStream", "encrypted"), ("FileImage", "AFF4-L")] {
        let turtle = format!("@prefix aff4: <{TERMS}> .\n<aff4://1> a aff4:{kind} .");
        let members = [("information.turtle".to_string(), turtle.into_bytes())];
        bench.write("other.aff4", &zip(&members, "aff4://volume"));
        let outcome = bench.fumehood(["info", "other.aff4"]).end_with(1);
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
}
