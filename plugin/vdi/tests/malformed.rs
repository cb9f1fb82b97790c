//! Images with one field wrong, images cut off, and random changes: each a clear error
//! or a disk that keeps the contract's rules, never a panic or an endless loop.
//! `VDI_MUTATIONS` sets how many random changes are tried.

mod support;

use fumehood_plugin::memory::check_answer;
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Content, Error};
use fumehood_test_support::Bench;
use fumehood_test_support::damage::rounds;
use support::writer::{
    ALLOCATED, BLOCK_COUNT, BLOCK_EXTRA, BLOCK_SIZE, COMMENT, DATA_OFFSET, DISK_SIZE, FREE, LENGTH,
    MAP, MAP_OFFSET, Plan, TYPE, VERSION, ZERO, build, put32, put64,
};
use support::{open, read_all, sources};

const SIZE: u64 = 12 * 4096;

/// A small image with blocks of every kind.
fn image(kind: u32) -> Vec<u8> {
    let mut map = [FREE; 12];
    (map[0], map[1], map[3], map[11]) = (1, 0, ZERO, 2);
    build(&Plan {
        kind,
        disk_size: SIZE,
        block_size: 4096,
        block_extra: 0,
        map: &map,
        create: 1,
        modify: 2,
        parent: (kind == 4).then_some((3, 4)),
    })
}

fn refusal(bytes: &[u8]) -> Error {
    open(bytes).err().expect("it was opened")
}

#[test]
fn fields_that_contradict_the_format_are_refused() {
    let cases: [(&str, usize, u32); 15] = [
        ("header too short", LENGTH, 383),
        ("type 0", TYPE, 0),
        ("type 5", TYPE, 5),
        ("block size 0", BLOCK_SIZE, 0),
        ("block size odd", BLOCK_SIZE, 3 << 12),
        ("block size below a sector", BLOCK_SIZE, 256),
        ("block size of 2^29", BLOCK_SIZE, 1 << 29),
        ("block extra", BLOCK_EXTRA, u32::MAX),
        ("too few blocks", BLOCK_COUNT, 11),
        ("map longer than the file", BLOCK_COUNT, u32::MAX),
        ("map in the header", MAP_OFFSET, 471),
        ("map past the end", MAP_OFFSET, u32::MAX),
        ("data in the map", DATA_OFFSET, MAP as u32 + 47),
        ("data before the map", DATA_OFFSET, 512),
        ("disk too large", DISK_SIZE + 4, 1),
    ];
    for (name, field, value) in cases {
        let mut bytes = image(1);
        put32(&mut bytes, field, value);
        let Error::Corrupt { offset, what, .. } = refusal(&bytes) else { panic!("{name}") };
        assert!(what.contains("found"), "{name}: {what}");
        let expected = match name {
            "disk too large" => BLOCK_COUNT,
            "map longer than the file" => MAP_OFFSET,
            _ => field,
        };
        assert_eq!(offset, expected as u64, "{name}");
    }
    let mut bytes = image(1);
    put64(&mut bytes, DISK_SIZE, u64::MAX - 100);
    assert!(matches!(refusal(&bytes), Error::Corrupt { offset: 368, .. }));
}

#[test]
fn features_that_are_not_read_are_named() {
    for (field, value, name) in [(TYPE, 3, "undo"), (VERSION, 1, "0.1"), (VERSION, 2 << 16, "2.0")]
    {
        let mut bytes = image(1);
        put32(&mut bytes, field, value);
        let Error::Unsupported(what) = refusal(&bytes) else { panic!("{name}") };
        assert!(what.contains(name), "{what}");
    }
    assert_eq!(refusal(b"VDI"), Error::Unrecognised);
    assert_eq!(refusal(&[0; 4096]), Error::Unrecognised);
}

#[test]
fn entries_past_the_end_are_damage_in_one_place() {
    let sound = image(1);
    let disk = read_all(&sound).unwrap();
    for entry in [3, 4, 1 << 20, ZERO - 1] {
        let mut bytes = sound.clone();
        put32(&mut bytes, MAP + 4, entry);
        let mut opened = open(&bytes).unwrap().disk(0).unwrap();
        let extents = opened.extents(0, SIZE).unwrap();
        check_answer(&extents, 0, SIZE).unwrap();
        let damaged = extents.iter().find(|extent| matches!(extent.content, Content::Damaged(_)));
        assert_eq!(damaged.map(|extent| (extent.offset, extent.length)), Some((4096, 4096)));
        let findings = opened.check(false).unwrap();
        assert_eq!((findings.len(), findings[0].offset), (1, 4096), "{findings:?}");
    }
    // Of a file that was cut off, what is there is read.
    let extents = open(&sound[..sound.len() - 1000]).unwrap().disk(0).unwrap();
    let extents = { extents }.extents(0, SIZE).unwrap();
    let last = extents.last().unwrap();
    assert_eq!((last.offset, last.end()), (SIZE - 1000, SIZE));
    assert!(matches!(last.content, Content::Damaged(_)));
    let Content::Stored(stored) = extents[extents.len() - 2].content else { panic!() };
    let start = stored.offset as usize;
    assert!(sound[start..start + 3096] == disk[SIZE as usize - 4096..][..3096]);
    // Asked for what is lost, it does not begin with what is there.
    let extents = open(&sound[..sound.len() - 1000]).unwrap().disk(0).unwrap();
    let answer = { extents }.extents(SIZE - 1000, 10).unwrap();
    check_answer(&answer, SIZE - 1000, SIZE).unwrap();
}

#[test]
fn a_check_finds_what_the_map_contradicts() {
    let findings = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = image(1);
        change(&mut bytes);
        open(&bytes).unwrap().disk(0).unwrap().check(false).unwrap()
    };
    assert_eq!(findings(&|_| {}), []);
    let twice = findings(&|bytes| put32(bytes, MAP + 4, 1));
    assert_eq!((twice.len(), twice[0].offset), (1, 4096));
    assert!(twice[0].what.contains("another block"), "{twice:?}");
    let leak = findings(&|bytes| put32(bytes, MAP + 4, FREE));
    assert!(leak[0].what.contains("3 allocated blocks, the map 2"), "{leak:?}");
    let count = findings(&|bytes| put32(bytes, ALLOCATED, 2));
    assert_eq!((count.len(), count[0].offset), (2, SIZE - 4096), "{count:?}");
    let behind = findings(&|bytes| put64(bytes, DISK_SIZE, SIZE - 4096));
    assert!(behind[0].what.contains("past the disk's end"), "{behind:?}");
    let mut disk = open(&image(1)).unwrap().disk(0).unwrap();
    assert_eq!(disk.check(true), Err(Error::ReadOnly));
}

#[test]
fn comments_are_shown_whatever_they_hold() {
    let mut bytes = image(1);
    bytes[COMMENT..COMMENT + 256].fill(b'x');
    bytes[COMMENT + 5] = 0xff;
    let details = open(&bytes).unwrap().info().details;
    let comment = &details.iter().find(|(name, _)| name == "comment").unwrap().1;
    assert_eq!(comment.chars().count(), 256);
}

#[test]
fn a_huge_map_is_read_in_windows() {
    // Four million entries, none of them used.
    let mut bytes = image(1);
    put32(&mut bytes, BLOCK_COUNT, 1 << 22);
    put64(&mut bytes, DISK_SIZE, 4096 << 22);
    put32(&mut bytes, DATA_OFFSET, MAP as u32 + (4 << 22));
    bytes.truncate(MAP + 48);
    bytes.resize(MAP + (4 << 22) + 3 * 4096, 0xff);
    let mut disk = open(&bytes).unwrap().disk(0).unwrap();
    let extents = disk.extents(1 << 30, u64::MAX).unwrap();
    check_answer(&extents, 1 << 30, 4096 << 22).unwrap();
    assert_eq!(extents.len(), 1);
    assert!(disk.check(false).unwrap().is_empty());
}

/// Walks the whole disk as far as it can be walked in a few steps.
fn walk(bytes: &[u8]) -> bool {
    let Ok(image) = open(bytes) else { return false };
    let disk = &image.disks()[0];
    let (size, info) = (disk.size, image.info());
    assert!(disk.granularity.is_power_of_two() && info.warnings.len() < 3);
    let mut disk = image.disk(0).unwrap();
    sources(bytes).walk(&mut *disk, size, 1 << 24, 100).unwrap();
    let _ = disk.check(false).unwrap();
    true
}

#[test]
fn no_truncation_breaks_anything() {
    let bytes = image(4);
    let opened = (0..bytes.len()).filter(|length| walk(&bytes[..*length])).count();
    assert_eq!(opened, bytes.len() - MAP - 48);
}

#[test]
fn no_change_of_bytes_breaks_the_contract() {
    let count = rounds("VDI_MUTATIONS", 6000);
    let bench = Bench::new("mutations");
    let mut theirs = bench.made_by_qemu("vdi", &["3M"], &["write -P 1 1M 4k"]);
    theirs.truncate(64 << 10);
    let images = [image(1), image(4), theirs];
    let (mut random, mut opened) = (Random::new(0xd15c), 0);
    for number in 0..count {
        let mut bytes = images[(number % 3) as usize].clone();
        for _ in 0..=random.below(3) {
            let at = match random.below(4) {
                0 => random.below(bytes.len() as u64),
                1 => 64 + random.below(16),
                2 => 340 + random.below(132),
                _ => MAP as u64 + random.below(64),
            } as usize;
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next_word() as u8,
                _ => put32(&mut bytes, at & !3, random.next_word() as u32 >> random.below(32)),
            }
        }
        opened += u64::from(walk(&bytes));
    }
    assert!(opened > count / 5, "only {opened} of {count} were opened at all");
}
