//! Whole archives, as the generator writes them: contents, texts, and the scratch.

mod common;

use std::rc::Rc;

use common::generator::{Archive, CLUSTER, Slot, disk, shuffled, slots_of};
use common::{contents, open, open_source, read, source};
use fumehood_plugin::memory::{self, MemorySource, check_answer};
use fumehood_plugin::{Content, Error, Source, SourceHandle};
use fumehood_test_support::Counted;

/// Sizes no cluster, no block and no sector divides.
const SIZES: [usize; 3] = [3 * 1_048_576, 20 * CLUSTER + 5 * 4096, 9 * CLUSTER + 4096 + 700];

fn disks() -> Vec<Vec<u8>> {
    SIZES.iter().zip(3..).map(|(size, seed)| disk(*size, seed)).collect()
}

/// Three disks, the state of memory, two configuration files.
fn archive() -> Archive {
    let disks = disks();
    let lists: Vec<_> = (1..).zip(&disks).map(|(id, disk)| slots_of(id, disk)).collect();
    let state = slots_of(200, &disk(4 * CLUSTER, 9));
    let mut slots = shuffled(&lists, 5);
    slots.splice(3..3, state[..2].to_vec());
    slots.extend(state[2..].to_vec());
    Archive::new()
        .config("qemu-server.conf", b"name: test\nscsi0: local:disk,size=3M\n")
        .config("qemu-server.fw", b"[OPTIONS]\n")
        .device(1, "drive-scsi0", SIZES[0] as u64)
        .device(2, "drive-virtio1", SIZES[1] as u64)
        .device(3, "drive-efidisk0", SIZES[2] as u64)
        .device(200, "vmstate", 1 << 30)
        .slots(slots)
}

#[test]
fn disks_read_as_they_were_written() {
    let bytes = archive().bytes();
    let image = open(&bytes).unwrap();
    let names: Vec<_> = image.disks().into_iter().map(|disk| (disk.name, disk.size)).collect();
    let expected = ["drive-scsi0", "drive-virtio1", "drive-efidisk0"].into_iter().zip(SIZES);
    let expected: Vec<_> = expected.map(|(name, size)| (name.to_string(), size as u64)).collect();
    assert_eq!(names, expected);
    for (number, disk) in (0..).zip(disks()) {
        assert!(contents(&*image, &bytes, number).unwrap() == disk, "{number}");
        assert_eq!(image.disk(number).unwrap().check(false), Ok(vec![]));
    }
    assert!(matches!(image.disk(3), Err(Error::OutOfRange)));
    // From any place on, and in small answers.
    let (mut first, main, disk) = (image.disk(0).unwrap(), source(&bytes), &disks()[0]);
    for (from, length) in [(0, 1), (4095, 2), (65535, 70000), (777_777, 333_333)] {
        let found = read(&mut *first, &main, disk.len() as u64, (from, length)).unwrap();
        assert!(found == disk[from as usize..][..length as usize], "{from}");
    }
    let extents = first.extents(1_000_001, 1).unwrap();
    check_answer(&extents, 1_000_001, disk.len() as u64).unwrap();
    assert!(extents.last().unwrap().end() <= 1_000_001 + CLUSTER as u64);
}

#[test]
fn what_is_recorded_is_shown() {
    let image = open(&archive().bytes()).unwrap();
    let info = image.info();
    let detail = |name: &str| info.details.iter().find(|(own, _)| own == name).unwrap().1.clone();
    assert_eq!(detail("archive"), "01234567-89ab-cdef-fedc-ba9876543210");
    assert_eq!(detail("created"), "2023-11-14 22:13:20 UTC");
    assert_eq!(
        detail("memory state"),
        "vmstate: about 1073741824 bytes, 262144 bytes in the archive"
    );
    assert_eq!(info.warnings, [""; 0]);
    assert_eq!(info.documents, ["qemu-server.conf", "qemu-server.fw"]);
    assert_eq!(image.document("qemu-server.fw"), Ok(b"[OPTIONS]\n".to_vec()));
    assert!(matches!(image.document("/etc/passwd"), Err(Error::Missing(_))));
}

#[test]
fn empty_slots_and_whole_last_blocks_are_passed_over() {
    // The state in the middle of an extent, and a last block that is stored whole.
    let mut slots: Vec<_> = slots_of(1, &[7; CLUSTER + 100]).into_iter().map(Some).collect();
    slots.insert(0, None);
    slots.insert(2, None);
    let mut archive = Archive::new().device(1, "a", CLUSTER as u64 + 100);
    archive.extents.push(slots);
    let bytes = archive.bytes();
    let image = open(&bytes).unwrap();
    assert!(contents(&*image, &bytes, 0).unwrap() == [7; CLUSTER + 100]);
}

#[test]
fn the_second_open_reads_no_extent() {
    let bytes = archive().bytes();
    let scratch: SourceHandle = Rc::new(memory::scratch(1));
    let first = Counted::new("disk.vma", &bytes);
    open_source(first.clone(), Some(scratch.clone())).unwrap();
    let second = Counted::new("disk.vma", &bytes);
    let image = open_source(second.clone(), Some(scratch.clone())).unwrap();
    let extents = archive().extents.len() as u64;
    assert_eq!(first.reads.get() - second.reads.get(), extents);
    assert!(contents(&*image, &bytes, 1).unwrap() == disks()[1]);
    assert_eq!(image.info(), open(&bytes).unwrap().info());
    assert_eq!(image.disks(), open(&bytes).unwrap().disks());

    // Another archive, or another length of this one, is scanned.
    let mut other = archive();
    other.uuid[0] ^= 1;
    for other in [other.bytes(), bytes[..bytes.len() - 1].to_vec()] {
        let counted = Counted::new("disk.vma", &other);
        open_source(counted.clone(), Some(scratch.clone())).unwrap();
        assert!(counted.reads.get() >= first.reads.get() - 1);
    }
}

#[test]
fn a_torn_scratch_costs_a_scan_and_never_bytes() {
    let bytes = archive().bytes();
    let scratch = memory::scratch(1);
    open_source(source(&bytes), Some(Rc::new(scratch.clone()))).unwrap();
    let whole = scratch.bytes();
    for place in [0, 20, 50, 16384, 16400, 16384 + 8 * 40, whole.len() - 3] {
        let mut torn = whole.clone();
        torn[place] ^= 0x10;
        let torn: SourceHandle = Rc::new(MemorySource::new(1, "scratch", torn).writable());
        let image = open_source(source(&bytes), Some(torn.clone())).unwrap();
        match contents(&*image, &bytes, 0) {
            Ok(found) => assert!(found == disks()[0]),
            Err(error) => assert!(matches!(&error, Error::Io(what) if what.contains("again"))),
        }
        let image = open_source(source(&bytes), Some(torn)).unwrap();
        assert!(contents(&*image, &bytes, 0).unwrap() == disks()[0], "{place}");
    }
    // Gone under the image's feet.
    let scratch = memory::scratch(1);
    let handle: SourceHandle = Rc::new(scratch.clone());
    open_source(source(&bytes), Some(handle.clone())).unwrap();
    let image = open_source(source(&bytes), Some(handle.clone())).unwrap();
    scratch.resize(0).unwrap();
    assert!(matches!(contents(&*image, &bytes, 0), Err(Error::Io(_))));
}

/// Clusters far apart, out of order, of a disk of 4 TiB: each has a page of the index to
/// itself.
fn scattered(count: u32) -> Vec<u8> {
    let cluster = |place: u32| place * 7 % count * 2047 + 5;
    let slot = |place| Slot { device: 1, cluster: cluster(place), mask: 0, data: vec![] };
    Archive::new().device(1, "a", 1 << 42).slots((0..count).map(slot)).bytes()
}

#[test]
fn an_index_larger_than_memory_lies_in_the_scratch() {
    let bytes = scattered(1180);
    let scratch: SourceHandle = Rc::new(memory::scratch(1));
    for _ in 0..2 {
        let image = open_source(source(&bytes), Some(scratch.clone())).unwrap();
        let warnings = image.info().warnings;
        let expected = "a is incomplete: 67107684 of 67108864 clusters of 64 KiB are missing, the \
                        first of them is 0, at offset 0";
        assert_eq!(warnings, [expected]);
        let (mut disk, mut at, mut found) = (image.disk(0).unwrap(), 0, vec![]);
        while at < 1 << 42 {
            let extents = disk.extents(at, u64::MAX).unwrap();
            check_answer(&extents, at, 1 << 42).unwrap();
            let zeroes = extents.iter().filter(|extent| extent.content == Content::Zero);
            found.extend(zeroes.map(|extent| (extent.offset, extent.length)));
            at = extents.last().unwrap().end();
        }
        let place = |page: u64| (page * 2047 + 5) * CLUSTER as u64;
        assert!(found.into_iter().eq((0..1180).map(|page| (place(page), CLUSTER as u64))));
    }
    let refused = open(&scattered(1770)).err().unwrap();
    assert!(matches!(&refused, Error::Unsupported(what) if what.contains("scratch")), "{refused}");
}
