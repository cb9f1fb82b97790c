//! Images made by hand: the sound one, and one for each hazard.

mod support;

use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource};
use fumehood_plugin::{Access, Content, Error, Format, OpenOptions};
use fumehood_qcow2::Qcow2;
use support::{
    CLUSTER, DISK_SIZE, L1, L2, SNAPSHOTS, extended_image, open, put32, put64, small_disk,
    small_image,
};

#[test]
fn the_sound_image_says_what_it_is() {
    let opened = open(&small_image(), None, &[]).unwrap();
    let info = &opened.image.disks()[0];
    let parent = info.parent.as_ref().unwrap();
    assert_eq!((info.size, info.granularity), (DISK_SIZE, 512));
    assert_eq!(
        (parent.references[0].as_str(), parent.format.as_deref()),
        ("base.raw", Some("raw"))
    );
    let info = opened.image.info();
    assert!(info.warnings.is_empty());
    assert_eq!((info.snapshots[0].id.as_str(), info.snapshots[0].name.as_str()), ("7", "first"));
    assert_eq!(info.snapshots[0].disk_size, 10 * 512);
    assert_eq!(opened.read_all(700).unwrap(), small_disk());
    assert!(opened.image.disk(1).is_err());
    let mut disk = opened.image.disk(0).unwrap();
    assert_eq!(disk.check(false).unwrap(), []);
    assert_eq!(disk.check(true), Err(Error::ReadOnly));
    assert_eq!(disk.extents(DISK_SIZE, 1), Err(Error::OutOfRange));
}

#[test]
fn neighbours_are_one_extent_and_unallocated_is_absent() {
    let opened = open(&small_image(), None, &[]).unwrap();
    let extents = opened.image.disk(0).unwrap().extents(0, DISK_SIZE).unwrap();
    let lengths: Vec<u64> = extents.iter().map(|extent| extent.length / 512).collect();
    assert_eq!(lengths, [2, 1, 1, 1, 1, 74]);
    assert_eq!(extents[1].content, Content::Zero);
    assert_eq!(extents[2].content, Content::Absent);
    assert_eq!(extents[5].content, Content::Absent);
}

#[test]
fn a_snapshot_is_found_by_id_and_by_name() {
    for wanted in ["7", "first"] {
        let opened = open(&small_image(), Some(wanted), &[]).unwrap();
        assert_eq!(opened.image.disks()[0].size, 10 * 512);
        assert_eq!(opened.read_all(4096).unwrap(), small_disk()[..10 * 512]);
    }
    let error = open(&small_image(), Some("second"), &[]).err();
    assert!(matches!(error, Some(Error::Missing(what)) if what.contains("second")));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let open = |image: Vec<u8>, snapshot: Option<String>| {
        let main = Rc::new(MemorySource::new(0, "disk.qcow2", image).writable());
        let options =
            OpenOptions { access: Access::ReadWrite, snapshot, ..OpenOptions::read_only() };
        Qcow2::open(main, Rc::new(MemoryHost::new()), options).err()
    };
    assert_eq!(open(small_image(), None), None);
    assert_eq!(open(small_image(), Some("7".into())), Some(Error::ReadOnly));
    let mut corrupt = small_image();
    put64(&mut corrupt, 72, 1 << 1);
    assert!(matches!(open(corrupt, None), Some(Error::Corrupt { offset: 72, .. })));
    let mut external = small_image();
    put64(&mut external, 72, 1 << 2);
    put32(&mut external, 112, 0x4441_5441);
    assert!(
        matches!(open(external, None), Some(Error::Unsupported(what)) if what.contains("data file"))
    );
}

type Change = fn(&mut Vec<u8>);

fn error_after(change: Change) -> Option<Error> {
    let mut image = small_image();
    change(&mut image);
    open(&image, None, &[]).err()
}

#[test]
fn other_formats_and_features_are_named() {
    assert_eq!(error_after(|image| image[0] = 0), Some(Error::Unrecognised));
    assert_eq!(error_after(|image| image.truncate(7)), Some(Error::Unrecognised));
    let unsupported: [(&str, Change); 7] = [
        ("version 1", |image| put32(image, 4, 1)),
        ("version 4", |image| put32(image, 4, 4)),
        ("AES", |image| put32(image, 32, 1)),
        ("LUKS", |image| put32(image, 32, 2)),
        ("unnamed (bit 40)", |image| put64(image, 72, 1 << 40)),
        ("\"time travel\" (bit 5)", |image| {
            put64(image, 72, 1 << 5);
            put32(image, 112, 0x6803_f857);
            put32(image, 116, 48);
            image[120..122].copy_from_slice(&[0, 5]);
            image[122..133].copy_from_slice(b"time travel");
        }),
        ("compression type 2", |image| {
            put64(image, 72, 1 << 3);
            image[104] = 2;
        }),
    ];
    for (expected, change) in unsupported {
        match error_after(change) {
            Some(Error::Unsupported(what)) => assert!(what.contains(expected), "{what}"),
            other => panic!("expected unsupported {expected}, found {other:?}"),
        }
    }
}

#[test]
fn contradictions_in_the_header_are_refused_by_offset() {
    let corrupt: [(u64, Change); 28] = [
        (8, |image| put64(image, 8, 64)),
        (8, |image| put64(image, 8, 510)),
        (8, |image| put64(image, 8, u64::MAX - 2)),
        (8, |image| put32(image, 16, 1024)),
        (20, |image| put32(image, 20, 8)),
        (20, |image| put32(image, 20, 22)),
        (20, |image| put64(image, 72, 1 << 4)),
        (36, |image| put64(image, 24, u64::MAX)),
        (36, |image| put32(image, 36, 1)),
        (36, |image| put32(image, 36, u32::MAX)),
        (36, |image| put32(image, 36, 1 << 22)),
        (36, |image| put64(image, 40, L1 as u64 + 8)),
        (36, |image| put64(image, 40, 0)),
        (36, |image| put64(image, 40, 11 * CLUSTER as u64)),
        (36, |image| put64(image, 40, !511)),
        (48, |image| put64(image, 48, 7)),
        (48, |image| put64(image, 48, 11 * CLUSTER as u64)),
        (56, |image| put32(image, 56, 0)),
        (56, |image| put32(image, 56, u32::MAX)),
        (60, |image| put32(image, 60, 65_537)),
        (64, |image| put32(image, 60, 65_536)),
        (64, |image| put64(image, 64, SNAPSHOTS as u64 + 1)),
        (72, |image| put64(image, 72, 1 << 2)),
        (72, |image| put64(image, 72, 1 << 3)),
        (72, |image| image[104] = 1),
        (96, |image| put32(image, 96, 7)),
        (100, |image| put32(image, 100, 520)),
        (112, |image| put32(image, 116, 4096)),
    ];
    for (number, (expected, change)) in corrupt.into_iter().enumerate() {
        match error_after(change) {
            Some(Error::Corrupt { offset, .. }) => assert_eq!(offset, expected, "case {number}"),
            other => panic!("case {number}: expected corrupt at {expected}, found {other:?}"),
        }
    }
    for length in [0, 72, 96, 106] {
        let mut image = small_image();
        put32(&mut image, 100, length);
        assert!(matches!(open(&image, None, &[]).err(), Some(Error::Corrupt { offset: 100, .. })));
    }
}

#[test]
fn contradictions_in_the_snapshot_table_are_refused() {
    let corrupt: [Change; 4] = [
        |image| put32(image, SNAPSHOTS + 36, 1025),
        |image| put32(image, SNAPSHOTS + 36, 8),
        |image| put32(image, 60, 3),
        |image| image[SNAPSHOTS + 12] = 0xff,
    ];
    for change in corrupt {
        assert!(matches!(error_after(change), Some(Error::Corrupt { .. })));
    }
    let own_table: [Change; 3] = [
        |image| put64(image, SNAPSHOTS, 10 * CLUSTER as u64 + 8),
        |image| put32(image, SNAPSHOTS + 8, 0),
        |image| put64(image, SNAPSHOTS + 48, 1 << 50),
    ];
    for change in own_table {
        let mut image = small_image();
        change(&mut image);
        assert!(open(&image, None, &[]).is_ok());
        assert!(matches!(open(&image, Some("7"), &[]).err(), Some(Error::Corrupt { .. })));
    }
}

#[test]
fn a_corrupt_entry_costs_only_what_it_maps() {
    let entries: [(usize, u64); 6] = [
        (L2 + 8, (6 * CLUSTER as u64) | (1 << 56)),
        (L2 + 8, 1 << 63),
        (L2 + 8, 1 << 62 | 1 << 40),
        (L2 + 8, 1 << 62 | 1 << 61 | (10 * CLUSTER as u64)),
        (L2 + 8, 2),
        (L2 + 8, 1 << 8),
    ];
    for (at, entry) in entries {
        let mut image = small_image();
        put64(&mut image, at, entry);
        let opened = open(&image, None, &[]).unwrap();
        let mut disk = opened.image.disk(0).unwrap();
        let before = disk.extents(0, DISK_SIZE).unwrap();
        assert_eq!((before.len(), before[0].length), (1, 512), "{entry:#x}");
        let error = disk.extents(512, 1);
        assert!(matches!(error, Err(Error::Corrupt { offset, .. }) if offset == at as u64));
        assert_eq!(disk.extents(1024, 1).unwrap()[0].content, Content::Zero);
        assert!(!disk.check(false).unwrap().is_empty());
    }
    for entry in [1, 1 << 60, 0x00ff_ffff_ffff_fe00] {
        let mut image = small_image();
        put64(&mut image, L1, entry);
        let opened = open(&image, None, &[]).unwrap();
        let error = opened.image.disk(0).unwrap().extents(0, 1);
        assert!(matches!(error, Err(Error::Corrupt { offset, .. }) if offset == L1 as u64));
    }
}

#[test]
fn clusters_past_the_end_of_the_file_read_as_zeroes() {
    let mut image = small_image();
    put64(&mut image, L2, 1 << 40);
    let end = image.len() as u64;
    put64(&mut image, L2 + 8, end);
    let opened = open(&image, None, &[]).unwrap();
    let extents = opened.image.disk(0).unwrap().extents(0, 1536).unwrap();
    assert_eq!((extents[0].length, &extents[0].content), (3 * 512, &Content::Zero));
}

#[test]
fn a_cluster_split_by_the_files_end_is_answered_from_the_offset_on() {
    let mut image = small_image();
    // The last cluster of the file has lost its second half.
    image.truncate(11 * CLUSTER - 256);
    put64(&mut image, L2, 10 * CLUSTER as u64);
    let opened = open(&image, None, &[]).unwrap();
    let extents = opened.image.disk(0).unwrap().extents(300, 1).unwrap();
    assert_eq!((extents[0].offset, &extents[0].content), (256, &Content::Zero));
    assert_eq!(opened.read_all(300).unwrap()[256..512], [0; 256]);
}

#[test]
fn check_finds_contradictions() {
    let changes: [(&str, Change); 6] = [
        ("overlaps", |image| put64(image, L2 + 8, 5 * CLUSTER as u64)),
        ("overlaps", |image| put64(image, L2 + 8, 3 * CLUSTER as u64)),
        ("overlaps", |image| put64(image, L1 + 8, L2 as u64)),
        ("past the file's end", |image| put64(image, L2 + 8, 1 << 40)),
        ("counted as free", |image| image[2 * CLUSTER + 11] = 0),
        ("nothing refers to them", |image| {
            put64(image, L2 + 8, 0);
        }),
    ];
    for (expected, change) in changes {
        let mut image = small_image();
        change(&mut image);
        let opened = open(&image, None, &[]).unwrap();
        let findings = opened.image.disk(0).unwrap().check(false).unwrap();
        let found = findings.iter().any(|finding| finding.what.contains(expected));
        assert!(found, "{expected}: {findings:?}");
    }
}

#[test]
fn dirty_and_corrupt_images_are_read_with_a_warning() {
    for bit in [1, 2] {
        let mut image = small_image();
        put64(&mut image, 72, bit);
        let opened = open(&image, None, &[]).unwrap();
        assert_eq!(opened.image.info().warnings.len(), 1);
        assert_eq!(opened.read_all(DISK_SIZE).unwrap(), small_disk());
    }
}

#[test]
fn a_data_file_is_asked_for_by_name() {
    let mut image = small_image();
    put64(&mut image, 72, 1 << 2);
    put32(&mut image, 112, 0x4441_5441);
    // Host offset 0 is a cluster like any other there, marked by bit 63.
    put64(&mut image, L2 + 8, 1 << 63);
    put64(&mut image, L2 + 40, 0);
    assert_eq!(open(&image, None, &[]).err(), Some(Error::Missing("raw".into())));
    let opened = open(&image, None, &[("raw", vec![0xdd; 600])]).unwrap();
    let bytes = opened.read_all(DISK_SIZE).unwrap();
    assert_eq!((bytes[511], bytes[512], bytes[1023]), (0, 0xdd, 0xdd));
}

#[test]
fn subclusters_are_told_apart() {
    let image = extended_image();
    let opened = open(&image, None, &[]).unwrap();
    assert_eq!(opened.image.disks()[0].granularity, 512);
    let mut disk = opened.image.disk(0).unwrap();
    let extents = disk.extents(0, u64::MAX).unwrap();
    assert_eq!((extents[0].length, extents[1].length), (512, 512));
    assert_eq!((&extents[1].content, &extents[2].content), (&Content::Zero, &Content::Absent));
    assert_eq!(disk.extents(600, 1).unwrap()[0].offset, 512);
    assert_eq!(disk.check(false).unwrap(), []);

    let l2 = 4 * (16 << 10);
    for (entry, bitmap) in [(5 << 14, 1 | 1 << 32), (0, 1), (5 << 14 | 1, 1), (1 << 62, 1)] {
        let mut image = image.clone();
        put64(&mut image, l2, entry);
        put64(&mut image, l2 + 8, bitmap);
        let opened = open(&image, None, &[]).unwrap();
        let error = opened.image.disk(0).unwrap().extents(0, 1);
        assert!(matches!(error, Err(Error::Corrupt { offset, .. }) if offset == l2 as u64));
    }
}

/// A file that was cut off may have lost clusters it had given out, and those read
/// as zeroes; nothing else may differ.
#[test]
fn every_truncation_is_an_error_or_the_same_bytes() {
    let (image, whole) = (small_image(), small_disk());
    for length in 0..image.len() {
        let Ok(opened) = open(&image[..length], None, &[]) else { continue };
        let Ok(bytes) = opened.read_all(DISK_SIZE) else { continue };
        let same =
            bytes.iter().zip(&whole).all(|(found, expected)| found == expected || *found == 0);
        assert!(same && bytes.len() == whole.len(), "cut at {length}");
    }
}

/// Thousands of L1 entries that share one L2 table: a disk of 2^40 bytes and more
/// in a few kilobytes.
#[test]
fn an_amplified_image_is_answered_in_bounded_steps() {
    let mut image = vec![0; 5 * CLUSTER + (8 << 20)];
    image[..5 * CLUSTER].copy_from_slice(&small_image()[..5 * CLUSTER]);
    let (entries, l1) = (1u32 << 20, 5 * CLUSTER);
    put64(&mut image, 24, u64::from(entries) * 64 * CLUSTER as u64);
    put32(&mut image, 36, entries);
    put64(&mut image, 40, l1 as u64);
    put32(&mut image, 60, 0);
    image[L2..L2 + CLUSTER].fill(0);
    for index in 0..entries as usize {
        put64(&mut image, l1 + index * 8, L2 as u64);
    }
    let opened = open(&image, None, &[]).unwrap();
    let mut disk = opened.image.disk(0).unwrap();
    let extents = disk.extents(0, u64::MAX).unwrap();
    assert_eq!((extents.len(), extents[0].length), (1, (1 << 20) * 512));
    assert!(disk.check(false).unwrap().len() <= 1001);
}
