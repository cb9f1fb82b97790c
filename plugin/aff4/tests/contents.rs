//! Volumes written from the standard's text read as what was put into them.

mod common;

use common::writer::{
    DEFLATE, IMAGE, LZ4, MAP, PREFIXES, Range, SNAPPY, STORED, Stream, UNTOLD, Volume, ZLIB, Zip,
    map_bytes, member,
};
use common::{Set, damaged, digest_of, sample};
use fumehood_plugin::{Content, DigestKind, Error};

const ZERO: &str = "http://aff4.org/Schema#Zero";
const UNKNOWN: &str = "http://aff4.org/Schema#UnknownData";
const UNREADABLE: &str = "http://aff4.org/Schema#UnreadableData";

/// A disk of three pieces of `bytes` in another order, with gaps of 1000 bytes.
fn shuffled(bytes: &[u8]) -> (Vec<Range>, Vec<u8>) {
    let third = bytes.len() / 3;
    let starts = [2 * third, 0, third];
    let (mut ranges, mut expected) = (Vec::new(), Vec::new());
    for start in starts {
        expected.resize(expected.len() + 1000, 0);
        let piece = &bytes[start..start + third];
        ranges.push((expected.len() as u64, third as u64, start as u64, 0));
        expected.extend(piece);
    }
    (ranges, expected)
}

#[test]
fn every_codec_in_every_form() {
    let bytes = sample(60_000);
    let (ranges, expected) = shuffled(&bytes);
    for codec in [SNAPPY, LZ4, DEFLATE, ZLIB, STORED, UNTOLD] {
        for form in 0..32 {
            let has = |bit: u32| form >> bit & 1 == 1;
            let (padded, hashes) = (has(0), has(2));
            let (prefixed, stream) = (has(1), Stream::new("aff4://stream-1", &bytes, codec));
            let stream = Stream { padded, prefixed, hashes, ..stream };
            let mut volume = Volume::new("aff4://volume-1", expected.len() as u64);
            (volume.streams, volume.targets) = (vec![stream], vec!["aff4://stream-1"]);
            (volume.ranges, volume.long, volume.deflated) = (ranges.clone(), has(3), has(4));
            let found = Set::one(volume.write()).contents();
            let found = found.unwrap_or_else(|error| panic!("{codec}, form {form}: {error}"));
            assert!(found == expected, "{codec}, form {form}");
        }
    }
}

#[test]
fn every_lz4_chunk_is_read_whichever_is_asked_for_first() {
    let bytes = sample(60_000);
    let size = bytes.len() as u64;
    for form in 0..8 {
        let has = |bit: u32| form >> bit & 1 == 1;
        let chunk = if has(2) { 4100 } else { 4096 };
        let stream = Stream::new("aff4://stream-1", &bytes, LZ4);
        let stream = Stream { padded: has(0), prefixed: has(1), chunk, ..stream };
        let mut volume = Volume::new("aff4://volume-1", size);
        (volume.streams, volume.targets) = (vec![stream], vec!["aff4://stream-1"]);
        volume.ranges = vec![(0, size, 0, 0)];
        let file = volume.write();
        let chunk = chunk as u64;
        let read = |file: &[u8], from: u64| {
            let set = Set::one(file.to_vec());
            let mut disk = set.open().unwrap().disk(0).unwrap();
            let first = set.read(&mut *disk, size, from, chunk.min(size - from));
            (first, set.read(&mut *disk, size, chunk, size - chunk))
        };
        for from in [0, chunk, size / chunk * chunk] {
            let (first, rest) = read(&file, from);
            assert!(first.unwrap() == bytes[from as usize..][..chunk.min(size - from) as usize]);
            assert!(rest.unwrap() == bytes[chunk as usize..], "form {form}, {from}");
        }
        // A length that is damaged costs its chunk.
        let length = (chunk as u32).to_le_bytes();
        let at = file.windows(4).position(|part| part == length).filter(|_| has(1) && !has(2));
        if let Some(at) = at {
            let mut file = file.clone();
            file[at + 1] ^= 1;
            let (first, rest) = read(&file, 0);
            assert!(first.is_err());
            assert!(rest.unwrap() == bytes[chunk as usize..], "form {form}");
        }
    }
}

#[test]
fn zip64_is_not_needed_for_as_many_entries_as_fit() {
    let bytes = sample(5000);
    let mut volume = Volume::new("aff4://volume-1", 5000);
    volume.streams = vec![Stream::new("aff4://stream-1", &bytes, SNAPPY)];
    (volume.targets, volume.ranges) = (vec!["aff4://stream-1"], vec![(0, 5000, 0, 0)]);
    volume.long = false;
    let mut zip = volume.zip();
    while zip.count < 65535 {
        zip.entry("more", 0, 0, 0, 0);
    }
    assert!(Set::one(zip.finish()).contents().unwrap() == bytes);
}

#[test]
fn a_disk_may_be_a_stream_of_the_volume_itself() {
    let bytes = sample(30_000);
    let urn = "aff4://volume-1/a disk";
    let stream = Stream::new(urn, &bytes, SNAPPY);
    for described in [true, false] {
        let mut zip = Zip::new("aff4://volume-1");
        // Without a comment, the description tells the volume's name.
        zip.comment.clear();
        zip.store("container.description", b"aff4://volume-1\n");
        let inside = Stream { urn: "a%20disk", ..stream.clone() };
        inside.write(&mut zip);
        let mut turtle = PREFIXES.to_string() + "@prefix : <aff4://volume-1> .\n";
        turtle += &stream.turtle().replace("a disk>", "a\\u0020disk>");
        if described {
            turtle += &format!("<{IMAGE}> a aff4:Image; aff4:dataStream <{urn}> .")
                .replace("a disk>", "a\\u0020disk>");
        }
        zip.deflate("information.turtle", turtle.as_bytes());
        let set = Set::one(zip.finish());
        assert!(set.contents().unwrap() == bytes, "{described}");
        assert_eq!(set.open().unwrap().disks()[0].granularity, 4096);
    }
}

#[test]
fn symbols_show_what_the_standard_says() {
    let mut volume = Volume::new("aff4://volume-1", 9_000_000);
    volume.targets = vec![UNREADABLE, "http://aff4.org/Schema#SymbolicStreamA5", ZERO];
    volume.gap = "aff4:UnknownData";
    volume.ranges = vec![(5, 3_000_000, 7, 0), (3_000_005, 10, 0, 1), (3_000_015, 10, 0, 2)];
    let text = |text: &str| -> Vec<u8> { text.bytes().cycle().take(1 << 20).collect() };
    let (unreadable, unknown) = (text("UNREADABLEDATA"), text("UNKNOWN"));
    let mut expected = unknown.iter().cycle().take(5).copied().collect::<Vec<u8>>();
    expected.extend(unreadable.iter().cycle().skip(7).take(3_000_000));
    expected.extend([0xa5; 10]);
    expected.extend([0; 10]);
    expected.extend(unknown.iter().cycle().skip(3_000_025 % (1 << 20)).take(9_000_000 - 3_000_025));
    let set = Set::one(volume.write());
    assert!(set.contents().unwrap() == expected);
    let image = set.open().unwrap();
    let findings = image.disk(0).unwrap().check(false).unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].offset, findings[0].what.starts_with("3000000 bytes")), (5, true));
    let warnings = image.info().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("text UNKNOWN ")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("UNREADABLEDATA")), "{warnings:?}");
}

#[test]
fn maps_in_any_order_are_read() {
    let bytes = sample(30_000);
    let (mut ranges, expected) = shuffled(&bytes);
    ranges.reverse();
    ranges.push((3, 0, 0, 0));
    let mut volume = Volume::new("aff4://volume-1", expected.len() as u64);
    volume.streams = vec![Stream::new("aff4://stream-1", &bytes, SNAPPY)];
    volume.targets = vec!["aff4://stream-1", UNKNOWN];
    volume.ranges = ranges;
    let set = Set::one(volume.write()).with_scratch();
    for _ in 0..2 {
        assert!(set.contents().unwrap() == expected);
    }
}

#[test]
fn the_map_tells_the_size_where_nothing_else_does() {
    let mut zip = Zip::new("aff4://volume-1");
    let turtle = format!("{PREFIXES} <{MAP}> a aff4:Map .");
    zip.store(&format!("{}/map", member(MAP)), &map_bytes(&[(700, 68, 0, 0), (0, 100, 0, 0)]));
    zip.store(&format!("{}/idx", member(MAP)), b"http://aff4.org/Schema#SymbolicStream07\n");
    zip.store("information.turtle", turtle.as_bytes());
    let expected = [vec![7; 100], vec![0; 600], vec![7; 68]].concat();
    assert_eq!(Set::one(zip.finish()).contents().unwrap(), expected);
}

/// The two files of a striped set, and what the disk holds.
fn striped() -> ([(&'static str, Vec<u8>); 2], Vec<u8>) {
    let bytes = sample(40_000);
    let (one, two) = bytes.split_at(20_000);
    let ranges: Vec<Range> =
        (0..10).map(|at| (at * 4000, 4000, at / 2 * 4000, (at % 2) as u32)).collect();
    let expected = (0..10).flat_map(|at| [one, two][at % 2][at / 2 * 4000..][..4000].to_vec());
    let streams = [("aff4://stream-1", one), ("aff4://stream-2", two)];
    let file = |number: usize| {
        let mut volume = Volume::new(["aff4://volume-1", "aff4://volume-2"][number], 40_000);
        let (urn, bytes) = streams[number];
        volume.streams = vec![Stream::new(urn, bytes, SNAPPY)];
        volume.targets = vec!["aff4://stream-1", "aff4://stream-2"];
        volume.ranges.clone_from(&ranges);
        let other = ["2", "1"][number];
        volume.more = format!(
            "<aff4://stream-{other}> a aff4:ImageStream ; aff4:stored <aff4://volume-{other}> ."
        );
        volume.write()
    };
    ([("disk_1.aff4", file(0)), ("disk_2.aff4", file(1))], expected.collect())
}

#[test]
fn a_striped_set_is_found_by_its_names() {
    let (mut files, expected) = striped();
    for _ in 0..2 {
        let set = Set::new(&files).with_scratch();
        for _ in 0..2 {
            assert!(set.contents().unwrap() == expected);
            assert_eq!(set.open().unwrap().info().warnings, Vec::<String>::new());
        }
        files.swap(0, 1);
    }
}

#[test]
fn a_missing_stripe_is_damage_and_named() {
    let ([one, two], expected) = striped();
    let other = Volume::new("aff4://volume-3", 512).write();
    let mut broken = two.1.clone();
    broken.truncate(broken.len() / 2);
    for beside in [None, Some(other), Some(broken)] {
        let mut files = vec![one.clone()];
        files.extend(beside.clone().map(|bytes| ("disk_2.aff4", bytes)));
        let set = Set::new(&files);
        let image = set.open().unwrap();
        let warnings = image.info().warnings.join("\n");
        assert!(warnings.contains("aff4://stream-2"), "{warnings}");
        assert_eq!(beside.is_some(), warnings.contains("disk_2.aff4 is not used"), "{warnings}");
        let mut disk = image.disk(0).unwrap();
        for (number, part) in expected.chunks(4000).enumerate() {
            let found = set.read(&mut *disk, 40_000, number as u64 * 4000, 4000);
            match number % 2 {
                0 => assert!(found.unwrap() == part),
                _ => assert!(found.unwrap_err().to_string().contains("aff4://stream-2")),
            }
        }
        assert_eq!(damaged(&mut *disk, 40_000).len(), 5);
    }
}

#[test]
fn stored_digests_are_handed_on() {
    let bytes = sample(5000);
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let md5 = digest_of(DigestKind::Md5, &bytes);
    let mut volume = Volume::new("aff4://volume-1", 5000);
    volume.streams = vec![Stream::new("aff4://stream-1", &bytes, SNAPPY)];
    (volume.targets, volume.ranges) = (vec!["aff4://stream-1"], vec![(0, 5000, 0, 0)]);
    volume.image = format!(
        "aff4:hash \"{}\"^^aff4:MD5 , \"{}\"^^aff4:SHA1 , \"00\"^^aff4:SHA256 , \"ab\"^^aff4:SHA512 ;",
        hex(&md5),
        "0A".repeat(20)
    );
    let disk = Set::one(volume.write()).open().unwrap().disks().remove(0);
    let digests: Vec<_> = disk.digests.into_iter().map(|found| (found.kind, found.value)).collect();
    assert_eq!(digests, [(DigestKind::Md5, md5), (DigestKind::Sha1, vec![10; 20])]);
    assert!(disk.details.contains(&("SHA512 (not compared)".into(), "ab".into())));
}

#[test]
fn thousands_of_segments_are_found_in_any_order() {
    let bytes = sample(512 * 12_000);
    let stream = Stream { chunk: 512, per_segment: 1, ..Stream::new("aff4://s", &bytes, STORED) };
    let mut volume = Volume::new("aff4://volume-1", bytes.len() as u64);
    (volume.streams, volume.targets) = (vec![stream], vec!["aff4://s"]);
    volume.ranges = vec![(0, bytes.len() as u64, 0, 0)];
    let set = Set::one(volume.write()).with_scratch();
    let (_, steps) = set.open_in_steps().unwrap();
    assert!(set.contents().unwrap() == bytes);
    let (_, fewer) = set.open_in_steps().unwrap();
    assert!(fewer < steps, "{fewer} after {steps}: the scratch holds what was learned");
    // Scratch that does not hold what was written to it.
    let scratch = set.scratch.clone().unwrap();
    for at in [3, 40, 100, 20_000] {
        use fumehood_plugin::Source;
        scratch.write(at, &[0xa5; 16]).unwrap();
        match set.contents() {
            Ok(found) => assert!(found == bytes, "{at}"),
            Err(error) => assert!(matches!(error, Error::Io(_)), "{at}: {error}"),
        }
        scratch.resize(0).unwrap();
        assert!(set.contents().unwrap() == bytes);
    }
}

#[test]
fn answers_do_not_depend_on_where_they_begin() {
    let bytes = sample(60_000);
    let (ranges, expected) = shuffled(&bytes);
    let size = expected.len() as u64;
    let mut volume = Volume::new("aff4://volume-1", size);
    volume.streams = vec![Stream::new("aff4://stream-1", &bytes, SNAPPY)];
    (volume.targets, volume.ranges) = (vec!["aff4://stream-1"], ranges);
    let set = Set::one(volume.write());
    let image = set.open().unwrap();
    let mut disk = image.disk(0).unwrap();
    let all = disk.extents(0, size).unwrap();
    assert!(all.iter().any(|extent| matches!(extent.content, Content::Encoded(_))));
    for at in (0..size).step_by(97) {
        let first = disk.extents(at, 1).unwrap().remove(0);
        let same = all.iter().find(|extent| extent.offset == first.offset);
        assert_eq!(same, Some(&first), "{at}");
    }
    assert_eq!(disk.extents(size, 1), Err(Error::OutOfRange));
}
