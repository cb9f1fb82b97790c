//! Volumes that no honest writer makes: every hazard that zip, turtle, map and index have.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::writer::{
    IMAGE, MAP, PREFIXES, Put, Range, SNAPPY, STORED, Stream, Volume, Zip, map_bytes, member,
};
use common::{Numbers, Set, damaged, sample, survive};
use fumehood_aff4::Aff4;
use fumehood_plugin::memory::MemorySource;
use fumehood_plugin::{
    Access, Confidence, Error, Format, Glimpse, Host, Level, OpenOptions, Result, SourceHandle,
};
use fumehood_test_support::prepare;

const STREAM: &str = "aff4://stream-1";
const SIZE: usize = 20_000;

/// A sound volume over `bytes`.
fn sound(bytes: &[u8]) -> Volume<'_> {
    let mut volume = Volume::new("aff4://volume-1", bytes.len() as u64);
    volume.streams = vec![Stream::new(STREAM, bytes, SNAPPY)];
    volume.targets = vec![STREAM];
    volume.ranges = vec![(0, bytes.len() as u64, 0, 0)];
    volume
}

/// Its zip, with the members that `keep` is true for, and `more` behind them.
fn rewritten(volume: &Volume<'_>, keep: impl Fn(&str) -> bool, more: impl Fn(&mut Zip)) -> Set {
    let mut zip = Zip::new(volume.urn);
    let map = member(MAP);
    let texts = [
        ("information.turtle".to_string(), volume.turtle().into_bytes()),
        (format!("{map}/map"), map_bytes(&volume.ranges)),
        (format!("{map}/idx"), volume.targets.join("\n").into_bytes()),
    ];
    for (name, bytes) in texts.iter().filter(|(name, _)| keep(name)) {
        zip.store(name, bytes);
    }
    if keep("streams") {
        volume.streams.iter().for_each(|stream| stream.write(&mut zip));
    }
    more(&mut zip);
    Set::one(zip.finish())
}

fn said(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn every_cut_is_refused_or_survived() {
    let bytes = sample(SIZE);
    let file = sound(&bytes).write();
    for length in 0..file.len() {
        assert!(!survive(&Set::one(file[..length].to_vec())), "cut to {length} of {}", file.len());
    }
}

#[test]
fn flipped_bytes_are_survived() {
    let bytes = sample(SIZE);
    let mut numbers = Numbers(7);
    for long in [true, false] {
        let file = Volume { long, ..sound(&bytes) }.write();
        let mut opened = 0;
        for round in 0..4000 {
            let mut changed = file.clone();
            // Most of the file is payload: rather the directory and the texts before it.
            let tail = if round % 4 == 0 { file.len() } else { 6000 };
            for _ in 0..=numbers.below(3) {
                let at = file.len() - 1 - numbers.below(tail);
                changed[at] ^= 1 << numbers.below(8);
            }
            opened += u32::from(survive(&Set::one(changed)));
        }
        assert!(opened > 100, "{opened}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let bytes = sample(SIZE);
    let volume = sound(&bytes);
    for (name, what) in [("/map", "map of map"), ("/idx", "idx of map"), (".turtle", ".turtle")] {
        let error = rewritten(&volume, |member| !member.ends_with(name), |_| ()).refusal();
        assert!(matches!(error, Error::Missing(_)), "{error}");
        said(&error, &[what, "disk.aff4"]);
    }
    let set = rewritten(&volume, |member| member != "streams", |_| ());
    said(&set.contents().unwrap_err(), &["segments of stream <aff4://stream-1> are missing"]);
    let found = damaged(&mut *set.open().unwrap().disk(0).unwrap(), SIZE as u64);
    assert_eq!(found.len(), 1, "{found:?}");
    let nothing = Volume { more: String::new(), ..Volume::new("aff4://v", 0) };
    let set = rewritten(&nothing, |_| false, |zip| zip.store("information.turtle", b""));
    said(&set.refusal(), &["describes no image"]);
    let turtle = format!("{PREFIXES}<{IMAGE}> a aff4:Image ; aff4:dataStream <{MAP}> .");
    let set =
        rewritten(&nothing, |_| false, |zip| zip.store("information.turtle", turtle.as_bytes()));
    said(&set.refusal(), &[MAP, IMAGE]);
}

#[test]
fn relatives_are_refused_by_name() {
    for (kind, what) in [
        ("EncryptedStream", "encrypted"),
        ("FileImage", "AFF4-L"),
        ("LogicalAcquisitionTask", "AFF4-L"),
    ] {
        let mut zip = Zip::new("aff4://v");
        let turtle = format!("{PREFIXES}<aff4://1> a aff4:{kind} .");
        zip.store("information.turtle", turtle.as_bytes());
        let error = Set::one(zip.finish()).refusal();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
        said(&error, &[what]);
    }
    let bytes = sample(SIZE);
    for (kind, what) in [("EncryptedStream", "encrypted"), ("Map", "another map")] {
        let mut volume = sound(&bytes);
        volume.targets = vec!["aff4://other"];
        volume.more = format!("<aff4://other> a aff4:{kind} .");
        said(&Set::one(volume.write()).refusal(), &[what]);
    }
    // Loops are no exception.
    let volume = Volume { targets: vec![MAP], ..sound(&bytes) };
    said(&Set::one(volume.write()).refusal(), &["another map"]);
}

#[test]
fn wrong_properties_are_placed() {
    let bytes = sample(SIZE);
    let mut volume = sound(&bytes);
    volume.image = "aff4:size \"many\" ;".into();
    let file = volume.write();
    let name = b"information.turtle";
    let at = file.windows(name.len()).position(|part| part == name).unwrap() - 30;
    match Set::one(file).refusal() {
        Error::Corrupt { source_id: 0, offset, what } => {
            assert_eq!(offset, at as u64);
            assert!(what.contains(IMAGE) && what.contains("\"many\", expected a number"), "{what}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn wrong_maps_are_refused_with_their_place() {
    let bytes = sample(SIZE);
    let refuse = |ranges: Vec<Range>, parts: &[&str]| {
        let error = Set::one(Volume { ranges, ..sound(&bytes) }.write()).refusal();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        said(&error, parts);
    };
    refuse(vec![(0, 10, 0, 1)], &["target 1", "which has 1"]);
    refuse(vec![(0, 10, 0, u32::MAX)], &["target 4294967295"]);
    refuse(vec![(u64::MAX, 2, 0, 0)], &["2 bytes at 18446744073709551615"]);
    refuse(vec![(0, 2, u64::MAX, 0)], &["2 bytes at 0"]);
    refuse(vec![(0, 10, 0, 0), (9, 10, 0, 0)], &["ends at 10", "begins at 9"]);
    refuse(vec![(0, u64::MAX, 0, 0), (5, 1, 0, 0)], &["begins at 5"]);
    let mut odd = map_bytes(&[(0, 10, 0, 0)]);
    odd.push(0);
    let set = rewritten(
        &sound(&bytes),
        |name| !name.ends_with("/map"),
        |zip| {
            zip.store(&format!("{}/map", member(MAP)), &odd);
        },
    );
    said(&set.refusal(), &["29 bytes", "multiple of 28"]);
    let many: Vec<Range> = (0..300_000).rev().map(|at| (at * 2, 1, 0, 0)).collect();
    let error = Set::one(Volume { ranges: many, ..sound(&bytes) }.write()).refusal();
    said(&error, &["not in order", "300000"]);
}

#[test]
fn ranges_past_a_stream_are_damage() {
    let bytes = sample(SIZE);
    let mut volume = sound(&bytes);
    volume.size = u64::MAX;
    volume.ranges = vec![(0, 30_000, 10_000, 0), (1 << 40, 100, u64::MAX - 100, 0)];
    let set = Set::one(volume.write());
    let image = set.open().unwrap();
    let mut disk = image.disk(0).unwrap();
    assert!(set.read(&mut *disk, u64::MAX, 0, 10_000).unwrap() == bytes[10_000..]);
    let past = set.read(&mut *disk, u64::MAX, 10_000, 20_000).unwrap_err();
    said(&past, &["past the end of stream <aff4://stream-1>, at 20000"]);
    assert_eq!(damaged(&mut *disk, u64::MAX).len(), 2);
}

#[test]
fn wrong_indexes_cost_their_chunks_and_no_more() {
    let bytes = sample(4 * 4096);
    // A stored segment of four chunks, whose index says what is tried.
    let cases: [(u64, u32, &str); 4] = [
        (0, 0, "has 0 bytes"),
        (u64::MAX, 4096, "of its segment"),
        (3 * 4096 + 1, 4096, "of its segment"),
        (0, 4095, "has 4095 bytes, expected 4096"),
    ];
    for (offset, length, what) in cases {
        let stream = Stream::new(STREAM, &bytes, STORED);
        let mut volume = sound(&bytes);
        volume.streams = vec![stream];
        let name = format!("{}/00000000", member(STREAM));
        let set = rewritten(
            &volume,
            |name| name != "streams",
            |zip| {
                let mut index = Vec::new();
                for number in 0..4u64 {
                    let entry = if number == 1 { (offset, length) } else { (number * 4096, 4096) };
                    index.extend(entry.0.to_le_bytes());
                    index.extend(entry.1.to_le_bytes());
                }
                zip.deflate(&format!("{name}.index"), &index);
                zip.store(&name, &bytes);
            },
        );
        let image = set.open().unwrap();
        let mut disk = image.disk(0).unwrap();
        for number in 0..4 {
            let at = number * 4096;
            let found = set.read(&mut *disk, 4 * 4096, at, 4096);
            match number {
                1 => said(&found.unwrap_err(), &["chunk 1 ", what]),
                _ => assert!(found.unwrap() == bytes[at as usize..][..4096], "{number}: {what}"),
            }
        }
    }
}

#[test]
fn the_last_chunk_of_a_stored_stream_is_whole_or_cut() {
    let bytes = sample(4096 + 100);
    let name = format!("{}/00000000", member(STREAM));
    for (length, right) in [(100_u32, true), (4096, true), (99, false), (101, false), (4097, false)]
    {
        let mut volume = sound(&bytes);
        volume.streams = vec![Stream::new(STREAM, &bytes, STORED)];
        let set = rewritten(
            &volume,
            |name| name != "streams",
            |zip| {
                let mut segment = bytes.clone();
                segment.resize(4096 + 5000, 0);
                let mut index = [0u64.to_le_bytes().as_slice(), &4096u32.to_le_bytes()].concat();
                index.extend(4096u64.to_le_bytes());
                index.extend(length.to_le_bytes());
                zip.store(&format!("{name}.index"), &index);
                zip.store(&name, &segment);
            },
        );
        match set.contents() {
            Ok(found) => assert!(right && found == bytes, "{length}"),
            Err(error) => {
                assert!(!right, "{length}: {error}");
                said(&error, &["chunk 1 has", "expected 100"]);
            }
        }
    }
}

#[test]
fn segments_without_a_sound_index_are_damage() {
    let bytes = sample(SIZE);
    let name = format!("{}/00000000", member(STREAM));
    let index = format!("{name}.index");
    type Write<'a> = &'a dyn Fn(&mut Zip);
    let tries: [(Write<'_>, &str); 5] = [
        (&|_| (), "its index is missing"),
        (&|zip| zip.store(&index, &[0; 11]), "chunk 0 is not in the index"),
        (&|zip| zip.put(&index, Put { method: 8, stored: b"\xff", size: 48 }), "does not inflate"),
        (&|zip| zip.put(&index, Put { method: 8, stored: b"\x03\0", size: 5 }), "has 0 bytes"),
        (&|zip| zip.entry(&index, 0, 48, 48, 1 << 60), "past the end"),
    ];
    for (write, what) in tries {
        let set = rewritten(
            &sound(&bytes),
            |name| name != "streams",
            |zip| {
                zip.store(&name, &bytes);
                write(zip);
            },
        );
        said(&set.contents().unwrap_err(), &[STREAM, what]);
    }
}

#[test]
fn a_changed_chunk_fails_its_digest() {
    let bytes = sample(SIZE);
    let mut volume = sound(&bytes);
    volume.streams = vec![Stream::new(STREAM, &bytes, STORED)];
    let mut file = volume.write();
    let at = file.windows(64).position(|part| part == &bytes[5000..5064]).unwrap();
    file[at] ^= 1;
    said(&Set::one(file).contents().unwrap_err(), &["another digest"]);
}

#[test]
fn a_wrong_zip_is_refused_with_its_place() {
    let bytes = sample(SIZE);
    let file = sound(&bytes).write();
    let end = file.len() - "aff4://volume-1".len() - 22;
    let locator = end - 20;
    let record = locator - 56;
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Set::one(file).refusal()
    };
    said(&changed(locator, b"XX"), &["zip64 locator"]);
    said(&changed(locator + 8, &u64::MAX.to_le_bytes()), &["zip64 end record"]);
    said(&changed(record, b"XX"), &["zip64 end record, PK 06 06"]);
    said(&changed(record + 40, &u64::MAX.to_le_bytes()), &["a directory of 18446744073709551615"]);
    said(&changed(record + 48, &u64::MAX.to_le_bytes()), &["damaged or cut"]);
    let size = u64::from_le_bytes(file[record + 40..record + 48].try_into().unwrap());
    said(&changed(record + 40, &(size - 1).to_le_bytes()), &["reaches past the directory's end"]);
    let first = file.windows(4).position(|part| part == b"PK\x01\x02").unwrap();
    said(&changed(first, b"XX"), &["a directory entry, PK 01 02"]);
    said(&changed(first + 8, &[1]), &["encrypted member"]);
    said(&changed(first + 46 + "container.description".len() + 6, &[0x98]), &["zip64 field"]);
}

#[test]
fn texts_that_lie_about_their_size_are_refused() {
    let refuse = |put: Put<'_>, parts: &[&str]| {
        let mut zip = Zip::new("aff4://v");
        zip.put("information.turtle", put);
        said(&Set::one(zip.finish()).refusal(), parts);
    };
    let bomb = miniz_oxide::deflate::compress_to_vec(&[b' '; 1 << 20], 9);
    refuse(Put { method: 8, stored: &bomb, size: 100 }, &["does not inflate"]);
    refuse(Put { method: 8, stored: &bomb, size: 1 << 40 }, &["1099511627776 bytes"]);
    refuse(Put { method: 8, stored: &bomb, size: (1 << 20) + 1 }, &["expected 1048577"]);
    refuse(Put { method: 0, stored: b" ", size: 2 }, &["has 1 bytes, expected 2"]);
    refuse(Put { method: 99, stored: b" ", size: 1 }, &["method 99"]);
    refuse(Put { method: 0, stored: b"\xff", size: 1 }, &["expected UTF-8"]);
    refuse(Put { method: 0, stored: b"<a> <b> ", size: 8 }, &["at its byte 8"]);
    let long = "<a> <b> 'c' .\n".repeat(200_000);
    refuse(
        Put { method: 0, stored: long.as_bytes(), size: long.len() as u64 },
        &["more statements than are read"],
    );
}

/// A host that grants nothing, and notes what it was asked for.
#[derive(Default)]
struct Asked(RefCell<Vec<String>>);

impl Host for Asked {
    fn open(&self, reference: &str, _: Access) -> Result<SourceHandle> {
        self.0.borrow_mut().push(reference.to_string());
        Err(Error::Missing(reference.to_string()))
    }
    fn declare(&self, reference: &str) -> Result<u32> {
        self.open(reference, Access::Read).map(|source| source.id())
    }
    fn keep_secret(&self, _: &[u8]) -> Result<u32> {
        Err(Error::OutOfRange)
    }
    fn log(&self, _: Level, _: &str) {}
}

#[test]
fn no_path_out_of_an_image_is_asked_for() {
    let bytes = sample(SIZE);
    let mut volume = sound(&bytes);
    volume.targets = vec!["file:///etc/passwd", "../../etc/passwd", STREAM];
    volume.ranges = (0..3).map(|target| (target * 100, 100, 0, target as u32)).collect();
    volume.more = format!("<{STREAM}> aff4:fileName \"/etc/passwd\" .");
    let host = Rc::new(Asked::default());
    let main = Rc::new(MemorySource::new(0, "disk_2.aff4", volume.write()));
    let image = Aff4::open(main, host.clone(), OpenOptions::read_only()).unwrap();
    prepare(&*image).unwrap();
    let mut disk = image.disk(0).unwrap();
    assert_eq!(*host.0.borrow(), ["disk_3.aff4", "disk_1.aff4"]);
    assert_eq!(damaged(&mut *disk, SIZE as u64).len(), 2);
}

#[test]
fn only_aff4_is_claimed() {
    let probe = |file: &[u8]| {
        let cut = file.len().min(64 << 10);
        let (head, tail) = (file[..cut].to_vec(), file[file.len() - cut..].to_vec());
        Aff4::probe(&Glimpse { name: "a.zip".into(), size: file.len() as u64, head, tail })
    };
    let bytes = sample(SIZE);
    assert_eq!(probe(&sound(&bytes).write()), Confidence::Certain);
    let mut zip = Zip::new("");
    zip.store("container.description", b"aff4://v");
    assert_eq!(probe(&zip.finish()), Confidence::Certain);
    let mut zip = Zip::new("a comment");
    zip.store("information.turtle", b"");
    let other = zip.finish();
    assert_eq!(probe(&other), Confidence::No);
    assert_eq!(Set::one(other).refusal(), Error::Unrecognised);
    assert_eq!(probe(b""), Confidence::No);
    assert_eq!(probe(&[0; 100_000]), Confidence::No);
}
