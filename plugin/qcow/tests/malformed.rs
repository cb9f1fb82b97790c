//! Images with one field wrong, images cut off, and random changes: each a clear error
//! or a disk that keeps the contract's rules, never a panic or an endless loop.
//! `QCOW_MUTATIONS` sets how many random changes are tried.

mod support;

use fumehood_plugin::memory::check_answer;
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Content, Error};
use fumehood_test_support::Bench;
use fumehood_test_support::damage::rounds;
use support::{get64, made, open, put32, put64, sources};

const CLUSTER: u64 = 4096;
const L1: usize = 48;
const SIZE: u64 = 5 << 20;
const COMPRESSED: u64 = 1 << 63;

/// A small image: L1 table behind the header, L2 tables, plain and compressed clusters.
fn image(bench: &Bench) -> Vec<u8> {
    let writes =
        ["write -c -P 8 40k 4k", "write -P 1 0 8k", "write -P 2 3000k 9k", "write -P 3 12k 4k"];
    made(bench, &["5M"], &writes)
}

/// The same over a backing file.
fn child(bench: &Bench) -> Vec<u8> {
    made(bench, &["-u", "-b", "../../etc/passwd", "-F", "qcow", "1M"], &["write -P 1 0 1k"])
}

fn refusal(bytes: &[u8]) -> Error {
    open(bytes).err().expect("it was opened")
}

#[test]
fn fields_that_contradict_the_format_are_refused() {
    let bench = Bench::new("fields");
    let (sound, child) = (image(&bench), child(&bench));
    let end = sound.len() as u32;
    let cases: [(&str, bool, usize, u32, u64); 11] = [
        ("clusters of 2^8", false, 32, 0x0809_0000, 32),
        ("clusters of 2^17", false, 32, 0x1109_0000, 32),
        ("clusters of 2^255", false, 32, 0xff09_0000, 32),
        ("tables of 2^5", false, 32, 0x0c05_0000, 33),
        ("tables of 2^14", false, 32, 0x0c0e_0000, 33),
        ("L1 in the header", false, 44, 40, 40),
        ("L1 past the end", false, 44, end - 8, 40),
        ("L1 far past the end", false, 40, u32::MAX, 40),
        ("disk too large for the file", false, 24, 64, 40),
        ("disk too large", false, 24, 1 << 31, 24),
        ("name in the header", true, 12, 40, 8),
    ];
    for (name, over_parent, field, value, at) in cases {
        let mut bytes = if over_parent { child.clone() } else { sound.clone() };
        put32(&mut bytes, field, value);
        let Error::Corrupt { offset, what, .. } = refusal(&bytes) else { panic!("{name}") };
        assert!(what.contains("expected") && what.contains("found"), "{name}: {what}");
        assert_eq!(offset, at, "{name}");
    }
    for (field, value) in [(16, 1024), (8, 1 << 20)] {
        let mut bytes = child.clone();
        put32(&mut bytes, field, value);
        assert!(matches!(refusal(&bytes), Error::Corrupt { .. }));
    }
    let mut unknown = sound.clone();
    put32(&mut unknown, 36, 7);
    assert!(matches!(refusal(&unknown), Error::Unsupported(what) if what.contains("method 7")));
    assert_eq!(refusal(b"QFI\xfb\0\0\0\x01"), Error::Unrecognised);
}

#[test]
fn a_hostile_name_is_passed_on_for_the_host_to_refuse() {
    let bench = Bench::new("name");
    let parent = open(&child(&bench)).unwrap().disks()[0].parent.clone().unwrap();
    assert_eq!(parent.references, ["../../etc/passwd"]);
    let mut nameless = child(&bench);
    put32(&mut nameless, 16, 0);
    assert_eq!(open(&nameless).unwrap().disks()[0].parent, None);
}

#[test]
fn entries_that_lie_where_none_may_are_damage_in_one_place() {
    let bench = Bench::new("entries");
    let sound = image(&bench);
    let l2 = get64(&sound, L1) as usize;
    let (end, span) = (sound.len() as u64, 512 * CLUSTER);
    let past = COMPRESSED | 100 << 51;
    let odd = [1, 40, 511, 4097, end.next_multiple_of(512), 1 << 40, u64::MAX];
    let compressed = [COMPRESSED, COMPRESSED | 4096, past, past | (end - 50), past | 1 << 40];
    for entry in odd.into_iter().chain(compressed) {
        for (at, length) in [(L1, span), (l2 + 8, CLUSTER)] {
            let mut bytes = sound.clone();
            put64(&mut bytes, at, entry);
            let mut disk = open(&bytes).unwrap().disk(0).unwrap();
            let extents = disk.extents(0, SIZE).unwrap();
            check_answer(&extents, 0, SIZE).unwrap();
            let damaged =
                extents.iter().find(|extent| matches!(extent.content, Content::Damaged(_)));
            let start = if at == L1 { 0 } else { CLUSTER };
            let found = damaged.map(|extent| (extent.offset, extent.length));
            assert_eq!(found, Some((start, length)), "{entry:#x} at {at}");
            let findings = disk.check(false).unwrap();
            assert_eq!((findings.len(), findings[0].offset), (1, start), "{findings:?}");
        }
    }
    // The last cluster is cut off.
    let mut disk = open(&sound[..sound.len() - 1000]).unwrap().disk(0).unwrap();
    let extents = disk.extents(0, SIZE).unwrap();
    check_answer(&extents, 0, SIZE).unwrap();
    let lost = extents.iter().find(|extent| matches!(extent.content, Content::Damaged(_)));
    assert_eq!(lost.map(|lost| (lost.end(), lost.length)), Some((16 << 10, 1000)));
    check_answer(&disk.extents((16 << 10) - 999, 10).unwrap(), (16 << 10) - 999, SIZE).unwrap();
    assert_eq!(disk.check(false).unwrap().len(), 1);
}

#[test]
fn a_check_finds_overlaps() {
    let bench = Bench::new("check");
    let sound = image(&bench);
    let l2 = get64(&sound, L1) as usize;
    let findings = |at: usize, entry: u64| {
        let mut bytes = sound.clone();
        put64(&mut bytes, at, entry);
        open(&bytes).unwrap().disk(0).unwrap().check(false).unwrap()
    };
    assert_eq!(findings(l2, get64(&sound, l2)), []);
    let first = get64(&sound, l2);
    let twice = findings(l2 + 8, first);
    assert_eq!((twice.len(), twice[0].offset), (1, CLUSTER), "{twice:?}");
    let between = findings(l2 + 8, first + 512);
    assert_eq!((between.len(), between[0].offset), (1, CLUSTER), "{between:?}");
    let packed = findings(l2 + 8, get64(&sound, l2 + 80));
    assert_eq!((packed.len(), packed[0].offset), (1, 40 << 10), "{packed:?}");
    let table = findings(L1 + 8, l2 as u64);
    assert_eq!((table.len(), table[0].offset), (1, 2 << 20), "{table:?}");
    let itself = findings(l2, l2 as u64);
    assert_eq!((itself.len(), itself[0].offset), (1, 0), "{itself:?}");
    let mut disk = open(&sound).unwrap().disk(0).unwrap();
    assert_eq!(disk.check(true), Err(Error::ReadOnly));
}

#[test]
fn tables_that_are_shared_do_not_make_work_endless() {
    let bench = Bench::new("shared");
    let mut bytes = made(&bench, &["64G"], &["write -P 1 0 4k"]);
    let l2 = get64(&bytes, L1);
    for entry in 0..32_768 {
        put64(&mut bytes, L1 + entry * 8, l2);
    }
    let size = 64 << 30;
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

#[test]
fn a_huge_l1_table_is_read_in_windows() {
    let bench = Bench::new("huge");
    // Half a million entries, none of them used.
    let bytes = made(&bench, &["1T"], &[]);
    let mut disk = open(&bytes).unwrap().disk(0).unwrap();
    let size = 1 << 40;
    let mut at = 0;
    let mut answers = 0;
    while at < size {
        let extents = disk.extents(at, u64::MAX).unwrap();
        check_answer(&extents, at, size).unwrap();
        assert_eq!(extents.len(), 1);
        at = extents[0].end();
        answers += 1;
    }
    assert!((2..10).contains(&answers), "{answers}");
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
    for length in (0..bytes.len()).step_by(37).chain(0..100) {
        walk(&bytes[..length]);
    }
}

#[test]
fn no_change_of_bytes_breaks_the_contract() {
    let count = rounds("QCOW_MUTATIONS", 6000);
    let bench = Bench::new("mutations");
    let images = [image(&bench), child(&bench)];
    let l2 = get64(&images[0], L1);
    let (mut random, mut opened) = (Random::new(0x9c0), 0);
    for number in 0..count {
        let mut bytes = images[usize::from(number % 4 == 3)].clone();
        for _ in 0..=random.below(3) {
            let at = match random.below(4) {
                0 => random.below(bytes.len() as u64),
                1 => 8 + random.below(40),
                2 => L1 as u64 + random.below(32),
                _ => l2 + random.below(128),
            } as usize;
            let at = at.min(bytes.len() - 8);
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next_word() as u8,
                2 => put64(&mut bytes, at & !7, random.below(64) * 512),
                _ => put64(&mut bytes, at & !7, random.next_word() >> random.below(64)),
            }
        }
        opened += u64::from(walk(&bytes));
    }
    assert!(opened > count / 5, "only {opened} of {count} were opened at all");
}
