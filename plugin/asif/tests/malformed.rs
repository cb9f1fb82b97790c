//! Images with one field wrong, images cut off, and random changes: each a clear error
//! or a disk that keeps the contract's rules, never a panic or an endless loop.
//! `ASIF_MUTATIONS` sets how many random changes are tried.

mod support;

use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Content, Error};
use fumehood_test_support::damage::rounds;
use support::{Builder, CHUNK, GROUP, open, put, put32, sample, survive};

#[test]
fn fields_that_contradict_are_refused() {
    type Change<'a> = &'a dyn Fn(&mut [u8]);
    let cases: [(&str, Change, Option<u64>); 15] = [
        ("version 2", &|b| put32(b, 4, 2), None),
        ("flags", &|b| put32(b, 12, 1), None),
        ("segments", &|b| b[71] = 1, None),
        ("a short header", &|b| put32(b, 8, 79), Some(8)),
        ("chunks of nothing", &|b| put32(b, 64, 0), Some(64)),
        ("odd chunks", &|b| put32(b, 64, 40_000), Some(64)),
        ("small chunks", &|b| put32(b, 64, 16_384), Some(64)),
        ("huge chunks", &|b| put32(b, 64, 1 << 31), Some(64)),
        ("no blocks", &|b| b[68..70].fill(0), Some(68)),
        ("odd blocks", &|b| b[69] = 1, Some(68)),
        ("small blocks", &|b| b[68] = 1, Some(68)),
        ("a disk larger than it may be", &|b| put(b, 48, u64::MAX >> 12), Some(48)),
        ("room for 2^64", &|b| put(b, 56, u64::MAX), Some(56)),
        ("a huge directory", &|b| put(b, 56, u64::MAX >> 11), Some(16)),
        ("a directory past the end", &|b| put(b, 24, u64::MAX - 7), Some(24)),
    ];
    for (name, change, offset) in cases {
        let mut bytes = sample().build();
        change(&mut bytes);
        match (open(&bytes).err().unwrap_or_else(|| panic!("{name}")), offset) {
            (Error::Corrupt { offset: at, what, .. }, Some(offset)) => {
                assert_eq!(at, offset, "{name}: {what}");
            }
            (Error::Unsupported(_), None) => (),
            (other, _) => panic!("{name}: {other}"),
        }
    }
    assert!(matches!(open(&[0; 512]), Err(Error::Unrecognised)));
    assert!(matches!(open(b"shdw"), Err(Error::Corrupt { .. })));
}

/// Where the damage lies, in chunks of the disk, and how many findings there are.
fn damage(bytes: &[u8]) -> (Vec<(u64, u64)>, usize) {
    let mut disk = open(bytes).unwrap().disk(0).unwrap();
    let extents = disk.extents(0, u64::MAX).unwrap();
    let damaged = extents.iter().filter(|extent| matches!(extent.content, Content::Damaged(_)));
    let places = damaged.map(|extent| (extent.offset / CHUNK, extent.length.div_ceil(CHUNK)));
    (places.collect(), disk.check(false).unwrap().len())
}

#[test]
fn entries_that_lie_where_none_may_are_damaged_alone() {
    let sound = sample().build();
    let table = CHUNK as usize;
    let end = sound.len() as u64 / CHUNK;
    for value in [end, end - 1 + (1 << 54), (1 << 55) - 1, 1 << 55 | 3, 1 << 61 | 3] {
        let mut bytes = sound.clone();
        put(&mut bytes, table + 8 * 7, value);
        assert_eq!(damage(&bytes), (vec![(7, 1)], 1), "{value:#x}");
    }
    // A table: all that it covers.
    for value in [end, (1 << 55) - 1, 1 << 60 | 1] {
        let mut bytes = sound.clone();
        put(&mut bytes, 1032, value);
        assert_eq!(damage(&bytes), (vec![(0, GROUP)], 1), "{value:#x}");
    }
    assert_eq!(damage(&sound), (vec![], 0));
}

#[test]
fn chunks_that_are_used_twice_are_found() {
    let table = CHUNK as usize;
    for (what, at, value) in [
        ("by two entries", table + 8 * 7, 2),
        ("header and directories", table + 8 * 7, 1),
        ("two tables", 1032, 5),
    ] {
        let mut bytes = sample().build();
        put(&mut bytes, at, value);
        let findings = open(&bytes).unwrap().disk(0).unwrap().check(false).unwrap();
        assert!(findings.iter().any(|found| found.what.contains("twice")), "{what}: {findings:?}");
    }
    let mut disk = open(&sample().build()).unwrap().disk(0).unwrap();
    assert_eq!(disk.check(true), Err(Error::ReadOnly));
}

#[test]
fn one_table_for_all_of_a_huge_disk_is_no_bomb() {
    // 3000 entries of the directory lead to one table, all of whose entries are used.
    let mut bytes = Builder::new(512).build();
    let blocks = 3000 * GROUP * CHUNK / 512;
    put(&mut bytes, 48, blocks);
    put(&mut bytes, 56, blocks);
    put(&mut bytes, 24, 512);
    bytes.resize(3 * CHUNK as usize, 7);
    for entry in 0..3000 {
        put(&mut bytes, 520 + 8 * entry, 1);
    }
    for entry in 0..CHUNK as usize / 8 {
        put(&mut bytes, CHUNK as usize + 8 * entry, 2);
    }
    let mut disk = open(&bytes).unwrap().disk(0).unwrap();
    let extents = disk.extents(0, u64::MAX).unwrap();
    assert!(extents.len() <= 65536 && extents.len() > 1000);
    let findings = disk.check(false).unwrap();
    assert!(findings.iter().any(|found| found.what.contains("too large")), "{findings:?}");
}

#[test]
fn no_truncation_breaks_anything() {
    let mut builder = sample();
    builder.list = Some("<plist></plist>".into());
    let bytes = builder.build();
    for length in (0..2000).step_by(7).chain((2000..bytes.len()).step_by(4099)) {
        survive(&bytes[..length]);
    }
}

#[test]
fn no_change_of_bytes_breaks_the_contract() {
    let count = rounds("ASIF_MUTATIONS", 3000);
    let mut random = Random::new(0xa51f);
    let mut builder = sample();
    builder.list = Some("<plist><key>stable uuid</key><string>x</string></plist>".into());
    let sound = builder.build();
    let mut opened = 0;
    for _ in 0..count {
        let mut bytes = sound.clone();
        for _ in 0..=random.below(3) {
            let at = match random.below(4) {
                0 => random.below(bytes.len() as u64 - 8),
                1 => random.below(80),
                2 => 1024 + random.below(40),
                _ => CHUNK + random.below(64),
            } as usize;
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next_word() as u8,
                _ => put(&mut bytes, at & !7, random.next_word() >> random.below(64)),
            }
        }
        opened += u64::from(survive(&bytes));
    }
    assert!(opened > count / 5, "only {opened} of {count} were opened at all");
}
