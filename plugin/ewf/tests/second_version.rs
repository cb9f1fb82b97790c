//! Files of version 2: those that were written by the description, and one that libewf
//! wrote.

mod common;

use common::second::{
    Builder, Chunk, DONE, ERRORS, MD5, NEXT, RESTART, SHA1, errors, object, seal, single, split,
    text, with_bzip2,
};
use common::{Files, Set, md5, sample};
use fumehood_plugin::{Content, DigestKind, Error, Finding};

const CHUNK: usize = 32768;

/// Zeroes, a pattern, noise and text; the last chunk is cut.
fn contents() -> Vec<u8> {
    let mut bytes = sample(9 * CHUNK);
    bytes.splice(CHUNK..CHUNK, b"\x01\x02\x03\x04\x05\x06\x07\x08".repeat(CHUNK / 4));
    bytes.truncate(10 * CHUNK + 5 * 512);
    bytes
}

fn findings(set: &Set) -> Vec<Finding> {
    set.open().unwrap().disk(0).unwrap().check(false).unwrap()
}

#[test]
fn every_way_of_storing_reads_back() {
    let bytes = contents();
    let set = Set::new(&split(&bytes, CHUNK, 100, "a.Ex"));
    let (info, found) = set.contents().unwrap();
    assert_eq!((info.size, info.granularity), (bytes.len() as u64, CHUNK as u32));
    assert!(found == bytes);
    assert_eq!(info.digests.len(), 1);
    assert_eq!((info.digests[0].kind, &info.digests[0].value), (DigestKind::Md5, &md5(&bytes)));
    assert_eq!(info.identity, Some("07".repeat(16)));
    assert_eq!(set.open().unwrap().info().warnings, [""; 0]);
    assert_eq!(findings(&set), []);
    let extents = set.open().unwrap().disk(0).unwrap().extents(0, u64::MAX).unwrap();
    let has = |kind: fn(&Content) -> bool| extents.iter().any(|extent| kind(&extent.content));
    assert!(has(|content| matches!(content, Content::Zero)));
    assert!(has(|content| matches!(content, Content::Computed)));
    assert!(has(|content| matches!(content, Content::Stored(_))));
    assert!(has(|content| matches!(content, Content::Encoded(_))));
}

#[test]
fn a_pattern_is_read_from_anywhere() {
    let chunks = [Chunk::Fill(*b"abcdefgh"), Chunk::Fill(*b"ABCDEFGH")];
    let set = single(Builder::new(1, 1).media(2, 100).chunks(0, &chunks).end(DONE));
    let whole = [b"abcdefgh".repeat(CHUNK / 8), b"ABCDEFGH".repeat(36 * 64)].concat();
    let mut disk = set.open().unwrap().disk(0).unwrap();
    for (from, length) in [(0, 51200), (3, 7), (32765, 11), (CHUNK + 13, 18419), (51199, 1)] {
        assert!(disk.read(from as u64, length).unwrap() == whole[from..from + length]);
    }
    for (from, length) in [(0, 51201), (51200, 1), (u64::MAX, 2)] {
        assert_eq!(disk.read(from, length), Err(Error::OutOfRange));
    }
}

#[test]
fn the_last_chunk_may_be_cut_or_whole() {
    let bytes = sample(2 * CHUNK);
    for stored in [5 * 512, CHUNK, 5 * 512 + 1] {
        let last = bytes[CHUNK..CHUNK + stored].to_vec();
        for last in [Chunk::Packed(last.clone()), Chunk::Sealed(last.clone()), Chunk::Plain(last)] {
            let chunks = [Chunk::Packed(bytes[..CHUNK].to_vec()), last];
            let file = Builder::new(1, 1).media(2, 64 + 5).chunks(0, &chunks).end(DONE);
            let (_, found) = single(file).contents().unwrap();
            assert!(found == bytes[..CHUNK + 5 * 512], "{stored}");
        }
    }
}

#[test]
fn sets_are_followed_in_any_case_of_letters() {
    let bytes = contents();
    for stem in ["a.Ex", "a.ex", "a.EX"] {
        let files = split(&bytes, CHUNK, 3, stem);
        assert_eq!(files.len(), 4);
        assert!(Set::new(&files).contents().unwrap().1 == bytes, "{stem}");
    }
    // More of them than there are digits for.
    let chunk = 16 * 512;
    let bytes = sample(102 * chunk);
    let files = bytes.chunks(chunk).enumerate().map(|(number, part)| {
        let builder = Builder::new(number as u32 + 1, 1)
            .device(&[("ts", "1632"), ("bp", "512")])
            .case(&[("sb", "16")])
            .chunks(number as u64, &[Chunk::Packed(part.to_vec())]);
        let name = match number {
            number @ ..99 => format!("a.Ex{:02}", number + 1),
            number => format!("a.ExA{}", char::from(b'A' + (number - 99) as u8)),
        };
        (name, builder.end(if number == 101 { DONE } else { NEXT }))
    });
    let set = Set::new(&files.collect());
    assert!(set.contents().unwrap().1 == bytes);
    assert!(set.open().unwrap().info().details.contains(&("segments".into(), "102".into())));
}

#[test]
fn a_missing_segment_damages_only_what_follows() {
    let bytes = contents();
    let files = split(&bytes, CHUNK, 3, "a.Ex");
    for kept in 1..files.len() {
        let set = Set::new(&files[..kept].to_vec());
        let warning = format!("segment a.Ex{:02} is missing", kept + 1);
        assert_eq!(set.open().unwrap().info().warnings, [warning.as_str()]);
        let readable = set.readable(CHUNK as u64);
        assert!(readable.iter().enumerate().all(|(chunk, good)| *good == (chunk < kept * 3)));
        let size = bytes.len() as u64;
        let mut disk = set.open().unwrap().disk(0).unwrap();
        let error = set.read(&mut *disk, size, (kept * 3 * CHUNK) as u64, 512);
        assert_eq!(error, Err(Error::Io(warning)));
    }
}

#[test]
fn a_cut_segment_leaves_the_others_readable() {
    let bytes = contents();
    let mut files = split(&bytes, CHUNK, 3, "a.Ex");
    let length = files[1].1.len();
    files[1].1.truncate(length - 100);
    let set = Set::new(&files);
    let expected: Vec<bool> = (0..11).map(|chunk| !(3..6).contains(&chunk)).collect();
    assert_eq!(set.readable(CHUNK as u64), expected);
    let warnings = set.open().unwrap().info().warnings;
    assert!(warnings[0].contains("a.Ex02") && warnings[0].contains("cut short"), "{warnings:?}");
    let stated: Vec<u64> = findings(&set).iter().map(|finding| finding.offset).collect();
    assert!(stated.contains(&(3 * CHUNK as u64)));
    // The others tell what the first would have.
    files[0].1.pop();
    let expected: Vec<bool> = (0..11).map(|chunk| chunk >= 6).collect();
    assert_eq!(Set::new(&files).readable(CHUNK as u64), expected);
    let Err(Error::Corrupt { source_id: 0, offset, .. }) = Set::new(&files[..1].to_vec()).open()
    else {
        panic!()
    };
    assert_eq!(offset, files[0].1.len() as u64 - 64);
}

#[test]
fn foreign_and_swapped_segments_are_refused() {
    let files = split(&contents(), CHUNK, 3, "a.Ex");
    let mut swapped = files.clone();
    swapped[1].1 = files[2].1.clone();
    let error = Set::new(&swapped).open().err();
    assert!(matches!(error, Some(Error::Corrupt { source_id: 1, offset: 12, .. })), "{error:?}");
    let mut foreign = files.clone();
    foreign[1].1[16..32].fill(8);
    let Some(Error::Corrupt { source_id: 1, offset: 16, what }) = Set::new(&foreign).open().err()
    else {
        panic!()
    };
    assert!(what.contains("0707") && what.contains("0808"), "{what}");
    let mut other = files.clone();
    other[1].1[10] = 2;
    assert!(matches!(Set::new(&other).open(), Err(Error::Corrupt { offset: 10, .. })));
    let mut first = files.clone();
    first[1].1[..4].copy_from_slice(b"EVFx");
    assert!(matches!(Set::new(&first).open(), Err(Error::Corrupt { offset: 0, .. })));
    let later: Files = vec![files[1].clone()];
    let Err(Error::Unsupported(what)) = Set::new(&later).open() else { panic!() };
    assert!(what.contains("segment 2") && what.contains("a.Ex01"), "{what}");
}

#[test]
fn what_was_recorded_is_shown() {
    let device = [
        ("sn", "WD-1"),
        ("md", "Model\u{2}\u{1}X"),
        ("lb", "label"),
        ("ts", "64"),
        ("hs", "9"),
        ("dc", ""),
        ("dt", "r"),
        ("bp", "512"),
        ("ph", "1"),
    ];
    let case = [
        ("nm", "a disk"),
        ("cn", "case 7"),
        ("en", "piece 3"),
        ("ex", "J. Doe"),
        ("nt", "found it"),
        ("av", "7.04"),
        ("os", "Windows 7"),
        ("tt", "1142163845"),
        ("at", "1142163846"),
        ("tb", "1"),
        ("sb", "64"),
        ("gr", "2"),
        ("wb", "2"),
    ];
    let file = Builder::new(1, 1)
        .device(&device)
        .case(&case)
        .chunks(0, &[Chunk::Fill([0; 8])])
        .section(SHA1, &seal(vec![5; 20]))
        .section(RESTART, &text("1\t1\np\td\tsr\tsp\n0\t1\n"))
        .end(DONE);
    let set = single(file);
    let image = set.open().unwrap();
    let info = image.info();
    assert_eq!(info.documents, ["header", "device.txt", "case.txt", "restart.txt"]);
    for (name, value) in [
        ("variant", "EnCase 7 and later (Ex01)"),
        ("media type", "removable disk"),
        ("acquisition", "physical"),
        ("compression", "deflate"),
        ("write blocker", "Tableau"),
        ("error granularity", "2 sectors"),
        ("host protected area", "9 sectors"),
        ("examiner", "J. Doe"),
        ("model", "Model  X"),
        ("acquired", "2006-03-12 11:44:05 UTC"),
        ("acquisition restarted", "see restart.txt"),
    ] {
        assert!(
            info.details.contains(&(name.into(), value.into())),
            "{name} in {:?}",
            info.details
        );
    }
    let document = |name| String::from_utf8(image.document(name).unwrap()).unwrap();
    assert!(document("header").contains("Evidence number: piece 3\n"));
    assert!(document("device.txt").starts_with("1\nmain\nsn\tmd\t"));
    assert!(document("case.txt").contains("\tfound it\t"));
    assert!(document("restart.txt").contains("\tsr\t"));
    let digests = image.disks().remove(0).digests;
    assert_eq!((digests[0].kind, &digests[0].value), (DigestKind::Sha1, &vec![5; 20]));
}

#[test]
fn unreadable_sectors_are_findings() {
    let file = Builder::new(1, 1)
        .media(1, 64)
        .chunks(0, &[Chunk::Fill([0; 8])])
        .section(ERRORS, &errors(&[(3, 4), (60, 1)]))
        .end(DONE);
    let set = single(file);
    let finding = |offset, what: &str| Finding { offset, what: what.into(), repaired: false };
    assert_eq!(
        findings(&set),
        [
            finding(3 * 512, "4 sectors from sector 3 were unreadable at acquisition"),
            finding(60 * 512, "1 sectors from sector 60 were unreadable at acquisition"),
        ]
    );
    let details = set.open().unwrap().info().details;
    assert!(details.contains(&("unreadable at acquisition".into(), "2 ranges of sectors".into())));
}

#[test]
fn other_sector_and_chunk_sizes_are_told() {
    for (sector, per_chunk) in [(2048, 64), (4096, 32), (512, 1024), (512, 1)] {
        let chunk = sector * per_chunk;
        let bytes = sample(2 * chunk + sector);
        let chunks: Vec<Chunk> =
            bytes.chunks(chunk).map(|bytes| Chunk::Packed(bytes.to_vec())).collect();
        let sectors = (2 * per_chunk + 1).to_string();
        let file = Builder::new(1, 1)
            .device(&[("ts", &sectors), ("bp", &sector.to_string()), ("dt", "c")])
            .case(&[("tb", "3"), ("sb", &per_chunk.to_string())])
            .chunks(0, &chunks)
            .end(DONE);
        let (info, found) = single(file).contents().unwrap();
        assert_eq!(info.logical_sector as usize, sector);
        assert!(found == bytes);
    }
}

#[test]
fn data_that_no_section_counts_is_passed_over() {
    // As an acquisition leaves it that was aborted and begun anew.
    let bytes = sample(CHUNK);
    let mut builder = Builder::new(1, 1).media(1, 64);
    builder.file.extend([0x55; 4096]);
    let file = builder.chunks(0, &[Chunk::Sealed(bytes.clone())]).end(DONE);
    assert!(single(file).contents().unwrap().1 == bytes);
}

#[test]
fn without_hashes_and_compression_it_reads_as_well() {
    let bytes = sample(CHUNK);
    let plain = |values: &[(&str, &str)]| {
        miniz_oxide::inflate::decompress_to_vec_zlib(&object(values)).unwrap()
    };
    let builder = Builder::with_header(2, 0, 1, 0).unhashed();
    let file = builder
        .section(1, &plain(&[("ts", "64"), ("bp", "512")]))
        .section(2, &plain(&[("sb", "64")]))
        .chunks(0, &[Chunk::Sealed(bytes.clone())])
        .section(MD5, &seal(md5(&bytes)))
        .end(DONE);
    let set = single(file);
    let (info, found) = set.contents().unwrap();
    assert!(found == bytes && info.identity.is_none());
    assert_eq!(info.digests[0].value, md5(&bytes));
    assert_eq!(findings(&set), []);
}

#[test]
fn bzip2_reads_back() {
    let bytes = sample(3 * CHUNK + 5 * 512);
    for length in [5 * 512, CHUNK] {
        let mut last = bytes[3 * CHUNK..].to_vec();
        last.resize(length, 0x55);
        let set = single(with_bzip2(&bytes, CHUNK, &last));
        let (info, found) = set.contents().unwrap();
        assert!(found == bytes && info.digests[0].value == md5(&bytes));
        let image = set.open().unwrap();
        assert!(image.info().details.contains(&("case number".into(), "case 7".into())));
        assert!(image.info().details.contains(&("compression".into(), "bzip2".into())));
        assert_eq!(findings(&set), []);
    }
}
