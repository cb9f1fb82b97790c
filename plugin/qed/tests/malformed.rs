//! Images with one field wrong, images cut off, and random changes: each a clear error
//! or a disk that keeps the contract's rules, never a panic or an endless loop.
//! `QED_MUTATIONS` sets how many random changes are tried.

mod support;

use fumehood_plugin::memory::check_answer;
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Content, Error};
use fumehood_test_support::Bench;
use fumehood_test_support::damage::rounds;
use support::{get64, made, open, put32, put64, read_windows, sources};

const CLUSTER: usize = 4096;
const L1: usize = CLUSTER;
const SIZE: u64 = 10 << 20;
/// Entries of a table.
const ENTRIES: u64 = 1024;

/// A small image: header, L1 table, L2 tables, data.
fn image(bench: &Bench) -> Vec<u8> {
    let create = ["-o", "cluster_size=4096,table_size=2", "10M"];
    let writes = ["write -P 1 0 8k", "write -z 16k 4k", "write -P 2 9000k 9k", "write -P 3 99k 1k"];
    made(bench, &create, &writes)
}

/// The same over a backing file.
fn child(bench: &Bench) -> Vec<u8> {
    let create =
        ["-u", "-b", "../../etc/passwd", "-F", "raw", "-o", "cluster_size=4096,table_size=2"];
    made(bench, &[&create[..], &["10M"]].concat(), &[])
}

fn refusal(bytes: &[u8]) -> Error {
    open(bytes).err().expect("it was opened")
}

#[test]
fn fields_that_contradict_the_format_are_refused() {
    let bench = Bench::new("fields");
    let (sound, child) = (image(&bench), child(&bench));
    let end = sound.len() as u32;
    let cases: [(&str, bool, usize, u32, u64); 18] = [
        ("cluster size 0", false, 4, 0, 4),
        ("cluster size of 2 KiB", false, 4, 1 << 11, 4),
        ("cluster size of 2^27", false, 4, 1 << 27, 4),
        ("cluster size odd", false, 4, 5000, 4),
        ("table size 0", false, 8, 0, 8),
        ("table size 3", false, 8, 3, 8),
        ("table size 32", false, 8, 32, 8),
        ("header size 0", false, 12, 0, 12),
        ("header past the end", false, 12, u32::MAX, 12),
        ("L1 not on a cluster", false, 40, 4096 + 512, 40),
        ("L1 in the header", false, 40, 0, 40),
        ("L1 past the end", false, 40, end, 40),
        ("size not in sectors", false, 48, 1000, 48),
        ("size above the tables", false, 52, 2, 48),
        ("size above 2^63", false, 52, 1 << 31, 48),
        ("name in the fields", true, 56, 60, 56),
        ("name behind the header", true, 56, 4090, 56),
        ("name too long", true, 60, 1024, 56),
    ];
    for (name, over_parent, field, value, at) in cases {
        let mut bytes = if over_parent { child.clone() } else { sound.clone() };
        put32(&mut bytes, field, value);
        let Error::Corrupt { offset, what, .. } = refusal(&bytes) else { panic!("{name}") };
        assert!(what.contains("expected") && what.contains("found"), "{name}: {what}");
        assert_eq!(offset, at, "{name}");
    }
    let mut nameless = child.clone();
    put32(&mut nameless, 60, 0);
    assert!(matches!(refusal(&nameless), Error::Corrupt { offset: 56, .. }));
    assert_eq!(refusal(b"QED\0"), Error::Unrecognised);
    assert_eq!(refusal(&[0; 4096]), Error::Unrecognised);
}

#[test]
fn features_that_must_be_known_are_refused_and_others_are_shown() {
    let bench = Bench::new("features");
    let sound = image(&bench);
    let mut unknown = sound.clone();
    put64(&mut unknown, 16, 1 << 3 | 1 << 40);
    let Error::Unsupported(what) = refusal(&unknown) else { panic!() };
    assert!(what.contains("0x10000000008"), "{what}");
    let mut others = sound.clone();
    put64(&mut others, 24, 1 << 9);
    put64(&mut others, 32, 1 << 3);
    let details = open(&others).unwrap().info().details;
    let text = &details.iter().find(|(name, _)| name == "unknown features").unwrap().1;
    assert!(text.contains("0x200") && text.contains("0x8"), "{text}");
    assert!(read_windows(&others, 1 << 20).unwrap() == read_windows(&sound, 1 << 20).unwrap());
    let mut unclean = sound.clone();
    unclean[16] = 2;
    assert!(open(&unclean).unwrap().info().warnings[0].contains("was not closed"));
}

#[test]
fn a_hostile_name_is_passed_on_for_the_host_to_refuse() {
    let bench = Bench::new("name");
    let parent = open(&child(&bench)).unwrap().disks()[0].parent.clone().unwrap();
    assert_eq!(parent.references, ["../../etc/passwd"]);
}

#[test]
fn entries_that_lie_where_none_may_are_damage_in_one_place() {
    let bench = Bench::new("entries");
    let sound = image(&bench);
    let l2 = get64(&sound, L1) as usize;
    let end = sound.len() as u64;
    let span = ENTRIES * CLUSTER as u64;
    let odd = [2, 512, 4096 - 512, 4096 + 1, 8192 + 100, end, 1 << 40, u64::MAX, u64::MAX - 4095];
    for entry in odd {
        for (at, length) in [(L1, span), (l2 + 8, CLUSTER as u64)] {
            let mut bytes = sound.clone();
            put64(&mut bytes, at, entry);
            let mut disk = open(&bytes).unwrap().disk(0).unwrap();
            let extents = disk.extents(0, SIZE).unwrap();
            check_answer(&extents, 0, SIZE).unwrap();
            let damaged =
                extents.iter().find(|extent| matches!(extent.content, Content::Damaged(_)));
            let start = if at == L1 { 0 } else { 4096 };
            let found = damaged.map(|extent| (extent.offset, extent.length));
            assert_eq!(found, Some((start, length)), "{entry:#x} at {at}");
            let findings = disk.check(false).unwrap();
            assert!(findings.iter().any(|finding| finding.offset == start), "{findings:?}");
        }
    }
    // The last cluster is cut off.
    let mut disk = open(&sound[..sound.len() - 1000]).unwrap().disk(0).unwrap();
    let extents = disk.extents(0, SIZE).unwrap();
    check_answer(&extents, 0, SIZE).unwrap();
    let lost = extents.iter().find(|extent| matches!(extent.content, Content::Damaged(_)));
    assert_eq!(lost.unwrap().length, 1000);
    let start = lost.unwrap().offset;
    check_answer(&disk.extents(start, 10).unwrap(), start, SIZE).unwrap();
    assert_eq!(disk.check(false).unwrap().len(), 1);
}

#[test]
fn a_check_finds_overlaps_and_leaks() {
    let bench = Bench::new("check");
    let sound = image(&bench);
    let l2 = get64(&sound, L1) as usize;
    let findings = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = sound.clone();
        change(&mut bytes);
        open(&bytes).unwrap().disk(0).unwrap().check(false).unwrap()
    };
    assert_eq!(findings(&|_| {}), []);
    let first = get64(&sound, l2);
    let twice = findings(&|bytes| put64(bytes, l2 + 8, first));
    assert_eq!((twice.len(), twice[0].offset), (2, 4096), "{twice:?}");
    assert!(twice[1].what.contains("1 clusters of the file are not used"), "{twice:?}");
    let table = findings(&|bytes| put64(bytes, L1 + 8, l2 as u64));
    assert!(table[0].what.contains("L2 table") && table[0].offset == 4 << 20, "{table:?}");
    let itself = findings(&|bytes| put64(bytes, l2, l2 as u64));
    assert_eq!((itself.len(), itself[0].offset), (2, 0), "{itself:?}");
    let l1 = findings(&|bytes| put64(bytes, L1, L1 as u64));
    assert!(!l1.is_empty());
    let mut disk = open(&sound).unwrap().disk(0).unwrap();
    assert_eq!(disk.check(true), Err(Error::ReadOnly));
}

#[test]
fn tables_that_are_shared_do_not_make_work_endless() {
    let bench = Bench::new("shared");
    let create = ["-o", "cluster_size=4096,table_size=16", "32G"];
    let mut bytes = made(&bench, &create, &["write -P 1 0 4k"]);
    let l2 = get64(&bytes, L1);
    for entry in 0..1024 {
        put64(&mut bytes, L1 + entry * 8, l2);
    }
    let size = 32 << 30;
    let mut disk = open(&bytes).unwrap().disk(0).unwrap();
    let mut at = 0;
    for _ in 0..10 {
        let extents = disk.extents(at, u64::MAX).unwrap();
        check_answer(&extents, at, size).unwrap();
        at = extents.last().unwrap().end();
    }
    assert!(at < size);
    assert!(disk.check(false).unwrap().len() <= 1001);
}

/// Walks the whole disk as far as it can be walked in a few steps.
fn walk(bytes: &[u8]) -> bool {
    let Ok(image) = open(bytes) else { return false };
    let size = image.disks()[0].size;
    image.info();
    let mut disk = image.disk(0).unwrap();
    sources(bytes).walk(&mut *disk, size, 1 << 21, 50).unwrap();
    let _ = disk.check(false).unwrap();
    true
}

#[test]
fn no_truncation_breaks_anything() {
    let bench = Bench::new("cut");
    let bytes = image(&bench);
    for length in (0..bytes.len()).step_by(37) {
        walk(&bytes[..length]);
    }
}

#[test]
fn no_change_of_bytes_breaks_the_contract() {
    let count = rounds("QED_MUTATIONS", 6000);
    let bench = Bench::new("mutations");
    let images = [image(&bench), child(&bench)];
    let l2 = get64(&images[0], L1);
    let (mut random, mut opened) = (Random::new(0x9ed), 0);
    for number in 0..count {
        let mut bytes = images[usize::from(number % 4 == 3)].clone();
        for _ in 0..=random.below(3) {
            let at = match random.below(4) {
                0 => random.below(bytes.len() as u64),
                1 => random.below(64),
                2 => L1 as u64 + random.below(32),
                _ => l2 + random.below(64),
            } as usize;
            let at = at.min(bytes.len() - 8);
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next_word() as u8,
                2 => put64(&mut bytes, at & !7, random.below(32) * CLUSTER as u64),
                _ => put64(&mut bytes, at & !7, random.next_word() >> random.below(64)),
            }
        }
        opened += u64::from(walk(&bytes));
    }
    assert!(opened > count / 5, "only {opened} of {count} were opened at all");
}
