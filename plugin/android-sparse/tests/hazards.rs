//! Images with one field wrong, images cut off, sets with gaps, very many chunks, and
//! random changes: each a clear error or a disk that keeps the contract's rules.
//! `SPARSE_MUTATIONS` sets how many random changes are tried.

mod support;

use fumehood_plugin::memory::scratch;
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Content, DigestKind, Disk, Error, Extent};
use fumehood_test_support::damage::{rounds, scatter};
use support::{Builder, FILL, RAW, SKIP, Set};

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Chunks at 28, 12328, 12344 and 12356.
fn small() -> Builder {
    Builder::new(4096).raw(1, 3).fill([1, 2, 3, 4], 5).skip(2).raw(2, 1)
}

#[test]
fn headers_that_contradict_the_format_are_refused() {
    let cases: [(&str, usize, u32, Option<u64>); 8] = [
        ("a short header", 8, 27 | 12 << 16, Some(8)),
        ("short chunk headers", 8, 28 | 11 << 16, Some(10)),
        ("no block size", 12, 0, Some(12)),
        ("an odd block size", 12, 4098, Some(12)),
        ("2^64 bytes", 12, 0xffff_fffc, Some(16)),
        ("version 2", 4, 2, None),
        ("more blocks than the disk", 16, 10, Some(12356)),
        ("a disk of nothing", 16, 0, Some(28)),
    ];
    for (name, field, value, offset) in cases {
        let mut bytes = small().build();
        put(&mut bytes, field, value);
        if name == "2^64 bytes" {
            put(&mut bytes, 16, u32::MAX);
        }
        match (Set::single(&bytes).open().err().unwrap_or_else(|| panic!("{name}")), offset) {
            (Error::Corrupt { offset: at, what, .. }, Some(offset)) => {
                assert_eq!(at, offset, "{name}: {what}");
            }
            (Error::Unsupported(what), None) => assert!(what.contains("2.0"), "{what}"),
            (other, _) => panic!("{name}: {other}"),
        }
    }
    assert!(matches!(Set::single(&[0; 64]).open(), Err(Error::Unrecognised)));
    assert!(matches!(Set::single(&small().build()[..20]).open(), Err(Error::Corrupt { .. })));
}

fn damaged(disk: &mut dyn Disk, size: u64) -> Vec<Extent> {
    let mut extents = disk.extents(0, size).unwrap();
    extents.retain(|extent| matches!(extent.content, Content::Damaged(_)));
    extents
}

#[test]
fn what_lies_before_a_broken_chunk_stays_readable() {
    let changes: [(&str, usize, u32, u64); 7] = [
        ("an unknown kind", 12344, 0xcac5, 8),
        ("a checksum with blocks", 12344, 0xcac4, 8),
        ("data for nothing", 12352, 16, 8),
        ("a fill of 8 bytes", 12336, 20, 3),
        ("a raw chunk too short", 36, 12 + 8192, 0),
        ("a raw chunk too long", 36, u32::MAX, 0),
        ("a chunk of no bytes at all", 12352, 0, 8),
    ];
    for (name, at, value, block) in changes {
        let mut bytes = small().build();
        put(&mut bytes, at, value);
        let set = Set::single(&bytes);
        let image = set.open().unwrap();
        assert_eq!(image.info().warnings.len(), 1, "{name}");
        let mut disk = image.disk(0).unwrap();
        let lost = damaged(&mut *disk, 11 * 4096);
        assert_eq!(
            (lost.len(), lost[0].offset, lost[0].end()),
            (1, block * 4096, 11 * 4096),
            "{name}"
        );
        let findings = disk.check(false).unwrap();
        assert_eq!((findings.len(), findings[0].offset), (1, block * 4096), "{name}");
        assert!(set.read(0, block * 4096).is_ok());
    }
}

#[test]
fn blocks_that_no_chunk_holds_are_zero_and_found() {
    let set = Set::single(&small().build_with(15, 0));
    assert_eq!(set.contents().unwrap()[11 * 4096..], [0; 4 * 4096]);
    let image = set.open().unwrap();
    let findings = image.disk(0).unwrap().check(false).unwrap();
    assert_eq!((findings.len(), findings[0].offset), (1, 11 * 4096));
    assert_eq!(image.info().warnings.len(), 1);
}

#[test]
fn more_chunks_than_there_can_be_end_where_the_file_does() {
    let bytes = small().build_with(1 << 31, 1 << 30);
    let image = Set::single(&bytes).open().unwrap();
    let warnings = image.info().warnings;
    assert!(warnings[0].contains("past the end"), "{warnings:?}");
    let mut disk = image.disk(0).unwrap();
    assert_eq!(damaged(&mut *disk, 1 << 43).len(), 1);
    assert_eq!(disk.check(true), Err(Error::ReadOnly));
}

#[test]
fn chunks_without_blocks_hold_nothing_up() {
    let mut builder = Builder::new(4);
    for number in 0..2000 {
        builder =
            builder.skip(0).chunk(RAW, 0, &[]).chunk(FILL, 0, &[1; 4]).crc(1).raw(number as u8, 1);
    }
    let set = Set::single(&builder.build());
    let expected: Vec<u8> = (0..2000).flat_map(|number| [number as u8; 4]).collect();
    assert!(set.contents().unwrap() == expected);
    assert!(set.read(7777, 1).unwrap() == [(7777 / 4) as u8]);
}

#[test]
fn a_checksum_is_shown_where_it_has_one_meaning() {
    let digests = |builder: &Builder| {
        Set::single(&builder.build()).open().unwrap().disks()[0].digests.clone()
    };
    let mut stated = small();
    stated.checksum = 0x0102_0304;
    let shown = digests(&stated);
    assert_eq!((shown.len(), shown[0].kind), (1, DigestKind::Crc32));
    assert_eq!(shown[0].value, [4, 3, 2, 1]);
    // Writers leave out what nobody cares for, and all but one block that is filled.
    assert_eq!(digests(&small().crc(5)), []);
    let plain = || Builder::new(4096).raw(1, 3).fill([1; 4], 1).crc(5);
    assert_eq!(digests(&plain())[0].value, [5, 0, 0, 0]);
    assert_eq!(digests(&plain().raw(1, 1)), [], "not of the whole disk");
    let mut both = plain();
    both.checksum = 6;
    assert_eq!(digests(&both)[0].value, [6, 0, 0, 0]);
    let findings =
        Set::single(&both.build()).open().unwrap().disk(0).unwrap().check(false).unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
}

/// Parts of a set, with one block of `byte` at `block`.
fn part(number: u32, block: u32, byte: u8) -> (String, Vec<u8>) {
    let builder = Builder::new(4096).skip(block).raw(byte, 1).skip(9 - block);
    (format!("a_sparsechunk.{number}"), builder.build())
}

#[test]
fn sets_with_gaps_and_strangers_are_refused() {
    let set = |parts: &[(String, Vec<u8>)]| Set::new(&parts[0].0, &parts[0].1, &parts[1..]);
    let sound = set(&[part(0, 1, 1), part(1, 5, 2), part(2, 3, 3)]);
    let disk = sound.contents().unwrap();
    assert_eq!([disk[4096], disk[5 * 4096], disk[3 * 4096], disk[0]], [1, 2, 3, 0]);
    let gap = set(&[part(0, 1, 1), part(2, 3, 3)]).open().err().unwrap();
    assert!(matches!(&gap, Error::Missing(name) if name == "a_sparsechunk.1"), "{gap}");
    let mut stranger = part(1, 5, 2);
    stranger.1 = small().build();
    let error = set(&[part(0, 1, 1), stranger]).open().err().unwrap();
    assert!(matches!(error, Error::Corrupt { source_id: 1, .. }), "{error}");
    let other = set(&[part(0, 1, 1), ("a_sparsechunk.1".into(), vec![0; 100])]).open();
    assert!(matches!(other, Err(Error::Unrecognised)));
    // Parts that hold the same: the later one is shown, and it is found.
    let twice = set(&[part(0, 1, 1), part(1, 1, 2)]);
    assert_eq!(twice.contents().unwrap()[4096], 2);
    let findings = twice.open().unwrap().disk(0).unwrap().check(false).unwrap();
    assert_eq!((findings.len(), findings[0].offset), (1, 4096));
    // A part that is cut off loses what it alone holds.
    let mut short = part(1, 5, 2);
    short.1.truncate(60);
    let set = set(&[part(0, 1, 1), short, part(2, 7, 3)]);
    let mut disk = set.open().unwrap().disk(0).unwrap();
    let lost = damaged(&mut *disk, 10 * 4096);
    assert_eq!(
        lost.iter().map(|e| (e.offset, e.length)).collect::<Vec<_>>(),
        [(20480, 8192), (32768, 8192)]
    );
}

#[test]
fn no_more_parts_are_opened_than_a_set_may_have() {
    let parts: Vec<_> = (0..300).map(|number| part(number, 1, 1)).collect();
    let error = Set::new(&parts[0].0, &parts[0].1, &parts[1..]).open().err().unwrap();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
}

/// Very many small chunks.
fn fragmented(count: u32) -> Vec<u8> {
    let mut bytes = Builder::new(4).build_with(count, count);
    for number in 0..count {
        let (kind, payload) = match number % 3 {
            0 => (RAW, Some(number)),
            1 => (FILL, Some(number ^ u32::MAX)),
            _ => (SKIP, None),
        };
        let size: u32 = if payload.is_some() { 16 } else { 12 };
        bytes.extend(u32::from(kind).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(payload.iter().flat_map(|word| word.to_le_bytes()));
    }
    bytes
}

#[test]
fn what_was_learned_is_kept_and_not_trusted() {
    let count = 100_000;
    let bytes = fragmented(count);
    let mut set = Set::single(&bytes);
    set.scratch = Some(scratch(9));
    let (_, steps) = set.prepared().unwrap();
    assert!((10..40).contains(&steps), "{steps}");
    let (image, again) = set.prepared().unwrap();
    assert_eq!(again, 1);
    let mut disk = image.disk(0).unwrap();
    let mut random = Random::new(4);
    for _ in 0..200 {
        let number = random.below(count.into()) as u32;
        let found = set_word(&set, &mut *disk, number);
        let expected = [number, number ^ u32::MAX, 0][number as usize % 3];
        assert_eq!(found, expected, "{number}");
    }
    // Another image of the same size, and a scratch that is damaged or cut off.
    let mut other = bytes.clone();
    put(&mut other, 24, 1);
    let mut changed = Set::single(&other);
    changed.scratch = set.scratch.clone();
    assert_eq!(changed.prepared().unwrap().1, steps);
    let kept = set.scratch.clone().unwrap().bytes();
    for at in [0, 60, kept.len() / 2] {
        let mut torn = kept.clone();
        torn[at] ^= 4;
        torn.truncate(kept.len() - at);
        set.scratch =
            Some(fumehood_plugin::memory::MemorySource::new(9, "scratch", torn).writable());
        assert_eq!(set.prepared().unwrap().1, steps, "{at}");
    }
}

fn set_word(set: &Set, disk: &mut dyn Disk, number: u32) -> u32 {
    let offset = 4 * u64::from(number);
    let extents = disk.extents(offset, 4).unwrap();
    let bytes = match extents[0].content {
        Content::Computed => disk.read(offset, 4).unwrap(),
        _ => set.read_extent(&extents[0], offset),
    };
    u32::from_le_bytes(bytes.try_into().unwrap())
}

#[test]
fn no_truncation_breaks_anything() {
    let bytes = Builder::new(64).raw(1, 3).fill([1, 2, 3, 4], 5).skip(2).crc(7).raw(2, 9).build();
    for length in 0..bytes.len() {
        let set = Set::single(&bytes[..length]);
        assert_eq!(set.survive(), length >= 28, "{length}");
    }
}

#[test]
fn no_change_of_bytes_breaks_the_contract() {
    let count = rounds("SPARSE_MUTATIONS", 6000);
    let mut random = Random::new(0x51_3960);
    let images = [
        Builder::new(64).raw(1, 3).fill([1, 2, 3, 4], 5).skip(2).crc(7).raw(2, 9).build(),
        Builder::new(4096).fill([5; 4], 700).skip(2).fill([0; 4], 2).raw(2, 1).build(),
        fragmented(90),
    ];
    let mut opened = 0;
    for number in 0..count {
        let mut parts: Vec<(String, Vec<u8>)> = (0..1 + random.below(3) as usize)
            .map(|part| (format!("a_sparsechunk.{part}"), images[(number % 3) as usize].clone()))
            .collect();
        for (_, bytes) in &mut parts {
            scatter(&mut random, bytes, 28);
        }
        opened += u64::from(Set::new(&parts[0].0, &parts[0].1, &parts[1..]).survive());
    }
    assert!(opened > count / 10, "only {opened} of {count} were opened at all");
}
