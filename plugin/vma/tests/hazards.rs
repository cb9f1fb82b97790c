//! Archives built by hand: the traps that no honest writer sets, and archives that end
//! too early.

mod common;

use common::generator::{
    Archive, BLOCK, CLUSTER, Slot, disk, extent, seal_extent, seal_header, shuffled, slots_of,
};
use common::{contents, open, refusal, source, survive};
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Content, Error, Format, Glimpse};
use fumehood_vma::Vma;

const SIZE: usize = 7 * CLUSTER + 4096;
/// Where the first extent lies.
const FIRST: usize = 12288 + 512;

fn contents_of_disk() -> Vec<u8> {
    disk(SIZE, 21)
}

fn archive() -> Archive {
    Archive::new()
        .config("c", b"text")
        .device(1, "drive-a", SIZE as u64)
        .slots(slots_of(1, &contents_of_disk()))
}

/// Changes a header, and makes its checksum right again.
fn with_header(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = archive().bytes();
    change(&mut bytes[..FIRST]);
    seal_header(&mut bytes[..FIRST]);
    bytes
}

/// The same with the first extent's header.
fn with_extent(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = archive().bytes();
    change(&mut bytes[FIRST..FIRST + 512]);
    seal_extent(&mut bytes, FIRST);
    bytes
}

fn expect_corrupt(bytes: &[u8], at: u64, phrase: &str) {
    match refusal(bytes) {
        Error::Corrupt { offset, what, .. } => {
            assert!(offset == at && what.contains(phrase), "{offset}: {what}");
        }
        other => panic!("{phrase}: {other}"),
    }
}

#[test]
fn the_generator_is_read() {
    let bytes = archive().bytes();
    assert!(contents(&*open(&bytes).unwrap(), &bytes, 0).unwrap() == contents_of_disk());
    assert_eq!(with_header(|_| ()), bytes);
    assert_eq!(with_extent(|_| ()), bytes);
}

#[test]
fn only_archives_are_claimed() {
    let glimpse = |head: &[u8]| Glimpse { head: head.to_vec(), ..Glimpse::default() };
    assert_eq!(Vma::probe(&glimpse(b"VMA\0\0\0\0\x01")), Confidence::Certain);
    assert_eq!(Vma::probe(&glimpse(b"VMAE")), Confidence::No);
    assert_eq!(Vma::probe(&glimpse(b"")), Confidence::No);
    assert_eq!(refusal(&[0; 20000]), Error::Unrecognised);
    let mut other = archive();
    other.version = 2;
    assert!(matches!(refusal(&other.bytes()), Error::Unsupported(what) if what.contains('2')));
}

#[test]
fn headers_that_cannot_be_are_refused() {
    let mut changed = archive().bytes();
    changed[5000] ^= 1;
    expect_corrupt(&changed, 0, "MD5");
    let put = |at: usize, value: u32| {
        with_header(|header| header[at..at + 4].copy_from_slice(&value.to_be_bytes()))
    };
    for size in [0, 12287, 12288, (16 << 20) + 1, u32::MAX] {
        let mut bytes = archive().bytes();
        bytes[56..60].copy_from_slice(&size.to_be_bytes());
        expect_corrupt(&bytes, 56, &size.to_string());
    }
    let mut longer = archive().bytes();
    longer[56..60].copy_from_slice(&(16u32 << 20).to_be_bytes());
    expect_corrupt(&longer, 0, "past the end");
    expect_corrupt(&put(48, 12287), 48, "12287");
    expect_corrupt(&put(48, u32::MAX), 48, "blobs");
    expect_corrupt(&put(52, 513), 48, "blobs");
    expect_corrupt(&put(52, u32::MAX), 48, "blobs");
    // A name, a text and a device's name that begin nowhere.
    expect_corrupt(&put(2044, 2), 12288, "points to 2");
    expect_corrupt(&put(3068, u32::MAX), 12288, "configuration file c");
    expect_corrupt(&put(4096 + 32, 3), 12288, "device 1");
    // A text where a name should be.
    let text = u32::from_be_bytes(archive().bytes()[3068..3072].try_into().unwrap());
    expect_corrupt(&put(4096 + 32, text), 12288 + u64::from(text) + 2, "NUL");
    let huge = with_header(|header| header[4096 + 40..4096 + 48].fill(0xff));
    expect_corrupt(&huge, 4096 + 32, "too many clusters");
}

#[test]
fn extents_that_cannot_be_are_refused() {
    let at = FIRST as u64;
    let mut changed = archive().bytes();
    changed[FIRST + 500] ^= 1;
    expect_corrupt(&changed, at, "MD5");
    expect_corrupt(&with_extent(|head| head[0] = b'v'), at, "no extent");
    expect_corrupt(&with_extent(|head| head[8] ^= 1), at + 8, "another archive");
    expect_corrupt(&with_extent(|head| head[4] = 1), at + 4, "256");
    expect_corrupt(&with_extent(|head| head[7] ^= 1), at + 6, "blocks");
    // The device and the cluster of the first slot.
    expect_corrupt(&with_extent(|head| head[43] = 9), at, "device 9");
    expect_corrupt(&with_extent(|head| head[47] = 8), at, "cluster 8 of drive-a");
    expect_corrupt(&with_extent(|head| head[44] = 0xff), at, "has only 8");
    expect_corrupt(&with_extent(|head| head[47] = 1), at, "occurs twice");
    let mut two = archive();
    two.extents.push(two.extents[0].clone());
    let second = two.bytes().len() as u64 - extent(&two.uuid, &two.extents[0]).len() as u64;
    expect_corrupt(&two.bytes(), second, "occurs twice");
}

#[test]
fn nothing_follows_a_complete_archive() {
    let bytes = archive().bytes();
    for more in [vec![1], vec![0; 511], vec![0; 512], b"VMAE".to_vec()] {
        let all = [bytes.clone(), more].concat();
        expect_corrupt(&all, bytes.len() as u64, "behind the last extent");
    }
    let other = Archive { uuid: [3; 16], ..archive() };
    let all = [bytes.clone(), other.bytes()].concat();
    expect_corrupt(&all, bytes.len() as u64, "no extent");
    let joined = [bytes.clone(), other.bytes()[FIRST..].to_vec()].concat();
    expect_corrupt(&joined, bytes.len() as u64 + 8, "another archive");
}

#[test]
fn what_was_cut_off_is_damaged_and_the_rest_is_read() {
    let (size, expected) = (150 * CLUSTER, disk(150 * CLUSTER, 4));
    let archive = Archive::new()
        .device(1, "drive-a", size as u64)
        .slots(shuffled(&[slots_of(1, &expected)], 9));
    let bytes = archive.bytes();
    let first = 12288 + 512;
    let second = first + extent(&archive.uuid, &archive.extents[0]).len();
    for end in [first, first + 100, first + 512, second - 1, second, second + 600, bytes.len() - 1]
    {
        // Cut off, or lost to zeroes from there on: only whole headers of zeroes count.
        let cut = bytes[..end].to_vec();
        let image = open(&cut).unwrap();
        let warnings = image.info().warnings;
        let mut disk = image.disk(0).unwrap();
        let extents = disk.extents(0, u64::MAX).unwrap();
        let mut missing = 0;
        for extent in &extents {
            let range = (extent.offset, extent.length);
            if let Content::Damaged(what) = &extent.content {
                assert!(what.contains("drive-a"), "{what}");
                assert!(extent.length % CLUSTER as u64 == 0);
                missing += extent.length / CLUSTER as u64;
                continue;
            }
            let found =
                common::read(&mut *image.disk(0).unwrap(), &source(&cut), size as u64, range);
            assert!(found.unwrap() == expected[range.0 as usize..][..range.1 as usize]);
        }
        let lost =
            |extent: &&fumehood_plugin::Extent| matches!(extent.content, Content::Damaged(_));
        let gap = extents.iter().find(lost).unwrap().offset;
        let told = warnings.last().unwrap();
        assert!(told.contains(&format!("{missing} of 150 clusters")), "{end}: {told}");
        assert!(told.ends_with(&format!("is {}, at offset {gap}", gap / CLUSTER as u64)), "{told}");
        assert_eq!(warnings.len(), if end == first || end == second { 1 } else { 2 });
        let findings = disk.check(false).unwrap();
        assert_eq!(findings.len(), extents.iter().filter(lost).count());
        assert_eq!(findings[0].offset, gap);
    }
    let mut zeroes = bytes[..second].to_vec();
    zeroes.resize(bytes.len(), 0);
    assert_eq!(open(&zeroes).unwrap().info().warnings.len(), 2);
}

#[test]
fn the_state_of_memory_is_no_disk() {
    let state = |clusters: &[u32]| {
        let slot = |cluster: &u32| Slot { device: 7, cluster: *cluster, mask: 0, data: vec![] };
        let device = archive().device(7, "vmstate", 4096);
        open(&device.slots(clusters.iter().map(slot)).bytes()).unwrap()
    };
    // Its size is a guess, and its order is not.
    for (clusters, warnings) in [(&[0, 1, 2][..], 0), (&[0, 2, 1], 1), (&[0, 0], 1), (&[], 0)] {
        let image = state(clusters);
        assert_eq!(image.disks().len(), 1);
        assert_eq!(image.info().warnings.len(), warnings, "{clusters:?}");
    }
    // Cut inside of it, the disks are whole.
    let mut bytes = archive().device(7, "vmstate", 4096).slots(slots_of(7, &[1; CLUSTER])).bytes();
    bytes.pop();
    let image = open(&bytes).unwrap();
    assert_eq!(image.info().warnings.len(), 1);
    assert!(contents(&*image, &bytes, 0).unwrap() == contents_of_disk());
}

#[test]
fn devices_without_a_name_or_a_size_are_not_there() {
    let mut archive = archive().device(2, "none", 0).device(3, "drive-b\x1b[31m", 4096);
    archive = archive.slots(slots_of(3, &[0; 4096]));
    let mut bytes = archive.bytes();
    bytes[4096 + 32 * 9 + 15] = 1;
    seal_header(&mut bytes[..FIRST]);
    let names: Vec<_> = open(&bytes).unwrap().disks().into_iter().map(|disk| disk.name).collect();
    assert_eq!(names, ["drive-a", "drive-b [31m"]);
}

#[test]
fn an_enormous_disk_costs_nothing() {
    let bytes = Archive::new().device(1, "a", 1 << 48).device(2, "b", 1 << 48).bytes();
    let image = open(&bytes).unwrap();
    assert_eq!(image.info().warnings.len(), 2);
    let extents = image.disk(1).unwrap().extents(1 << 40, 1).unwrap();
    assert!(matches!(extents[0].content, Content::Damaged(_)));
    assert_eq!(image.disk(1).unwrap().check(false).unwrap().len(), 1);
}

#[test]
fn changed_bytes_do_no_harm() {
    let whole = archive()
        .device(2, "drive-b", 3 * BLOCK as u64)
        .slots(slots_of(2, &disk(3 * BLOCK, 5)))
        .bytes();
    let mut random = Random::new(3);
    let mut opened = 0;
    for _ in 0..4000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(3) {
            let place = match random.below(4) {
                0 => random.below(bytes.len() as u64),
                1 => random.below(64),
                2 => 2044 + random.below(2300),
                _ => FIRST as u64 + random.below(512),
            };
            bytes[place as usize] ^= 1 << random.below(8);
        }
        if random.one_in(3) {
            bytes.truncate(random.below(bytes.len() as u64) as usize);
        }
        if bytes.len() > FIRST + 512 && !random.one_in(4) {
            seal_header(&mut bytes[..FIRST]);
            seal_extent(&mut bytes, FIRST);
        }
        opened += usize::from(survive(&bytes));
    }
    assert!(opened > 500, "{opened}");
}
