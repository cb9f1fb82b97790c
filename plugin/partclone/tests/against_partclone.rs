//! Images that partclone writes, compared with what it restores from them; and, where a
//! collection of images is at hand, with what is known of those. `FUMEHOOD_CORPUS` names
//! the folder; otherwise it is `shared/corpus` beside the project.

mod support;

use std::rc::Rc;

use fumehood_plugin::memory::{check_answer, scratch};
use fumehood_plugin::{Content, Contents, OpenOptions};
use fumehood_test_support::Bench;
use fumehood_test_support::corpus::{corpus, unpacked};
use fumehood_test_support::tool::sha256;
use support::{clone, contents, open, open_with, range, restore};

/// A sparse image of a file system with noise in it.
fn file_system(bench: &Bench, kind: &str, name: &str) {
    let file = format!("{name}.img");
    bench.run("truncate", &["-s", "6M", &file]);
    let noise: Vec<u8> =
        (0..300_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::create_dir_all(bench.path("files")).unwrap();
    for number in 0..12 {
        let part = &noise[number * 1000..][..number * 20_000 + 3000];
        std::fs::write(bench.path(&format!("files/{number}")), part).unwrap();
    }
    match kind {
        "ext4" => bench.run("mkfs.ext4", &["-q", "-F", "-b", "1024", "-d", "files", &file]),
        "ext4-4k" => {
            bench.run("mkfs.ext4", &["-q", "-F", "-b", "4096", "-d", "files", &file, "1501"])
        }
        "vfat" => bench.run("mkfs.vfat", &[&file]),
        _ => bench.run("mkfs.ntfs", &["-q", "-F", &file]),
    };
}

/// Saves a file system with `tool` and compares what is read with what is restored.
fn compare(kind: &str, tool: &str, options: &[&str]) {
    let bench = Bench::new(&format!("{kind}-{tool}{}", options.concat()));
    file_system(&bench, kind, "volume");
    let image = clone(&bench, tool, "volume", options);
    let found = contents(&image).unwrap();
    assert!(found == restore(&bench, "volume"), "{tool} {options:?}");
    let opened = open(&image).unwrap();
    assert_eq!(opened.info().warnings, [""; 0], "{tool} {options:?}");
    assert_eq!(opened.disks()[0].contents, Contents::Volume);
    assert_eq!(opened.disk(0).unwrap().check(false).unwrap(), []);
}

#[test]
fn every_variant_reads_as_partclone_restores_it() {
    let extfs = "partclone.extfs";
    let variants: [(&str, &str, &[&str]); 9] = [
        ("ext4", extfs, &["-a", "0"]),
        ("ext4", extfs, &["-a", "1"]),
        ("ext4", extfs, &["-a", "1", "-k", "1"]),
        ("ext4", extfs, &["-a", "1", "-k", "5", "--no-reseed"]),
        ("ext4-4k", extfs, &["-a", "1", "-k", "16"]),
        ("vfat", "partclone.fat", &["-a", "1"]),
        ("ntfs", "partclone.ntfs", &["-a", "1", "-k", "16"]),
        ("ntfs", "partclone.ntfs", &["-a", "0"]),
        ("ext4", "partclone.imager", &["-a", "1"]),
    ];
    // Partclone sleeps more than it works.
    std::thread::scope(|scope| {
        for (kind, tool, options) in variants {
            scope.spawn(move || compare(kind, tool, options));
        }
    });
}

#[test]
fn any_range_reads_as_the_whole_does() {
    let bench = Bench::new("ranges");
    file_system(&bench, "ext4", "volume");
    let image = clone(&bench, "partclone.extfs", "volume", &["-k", "7"]);
    let restored = restore(&bench, "volume");
    let opened = open(&image).unwrap();
    let size = restored.len() as u64;
    for (offset, length) in [(0, 1), (1023, 2), (5000, 70_000), (size - 1, 1), (size / 2, 200_000)]
    {
        let found = range(&image, &*opened, offset, length).unwrap();
        assert!(found == restored[offset as usize..][..length as usize], "{offset} {length}");
        let answer = opened.disk(0).unwrap().extents(offset, length).unwrap();
        check_answer(&answer, offset, size).unwrap();
    }
}

#[test]
fn what_is_free_is_zero_and_stored_blocks_are_verified() {
    let bench = Bench::new("kinds");
    file_system(&bench, "ext4", "volume");
    let plain = clone(&bench, "partclone.extfs", "volume", &["-a", "0"]);
    let summed = clone(&bench, "partclone.extfs", "volume", &["-a", "1"]);
    let kinds = |image: &[u8], settings: &[(&str, &str)]| {
        let settings = settings.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let options = OpenOptions { settings, ..OpenOptions::read_only() };
        let mut disk = open_with(image, options).unwrap().disk(0).unwrap();
        let extents = disk.extents(0, u64::MAX).unwrap();
        let count = |wanted: fn(&Content) -> bool| {
            extents.iter().filter(|extent| wanted(&extent.content)).map(|e| e.length).sum::<u64>()
        };
        (
            count(|content| matches!(content, Content::Stored(_))),
            count(|content| matches!(content, Content::Encoded(_))),
            count(|content| *content == Content::Zero),
        )
    };
    let (stored, 0, zero) = kinds(&plain, &[]) else { panic!("encoded without a checksum") };
    assert!(stored > 1 << 20 && zero > 1 << 20, "{stored} {zero}");
    assert_eq!(kinds(&summed, &[]), (0, stored, zero));
    assert_eq!(kinds(&summed, &[("checksums", "ignore")]), (stored, 0, zero));
}

#[test]
fn what_was_counted_is_found_in_the_scratch() {
    let bench = Bench::new("scratch");
    file_system(&bench, "ext4", "volume");
    let image = clone(&bench, "partclone.extfs", "volume", &[]);
    let kept = scratch(1);
    let with = |image: &[u8]| {
        let options =
            OpenOptions { scratch: Some(Rc::new(kept.clone())), ..OpenOptions::read_only() };
        open_with(image, options)
    };
    with(&image).unwrap();
    let first = kept.bytes();
    assert!(!first.is_empty());
    // The bitmap is not counted again, so what is wrong with it goes unseen at first;
    // what is read of it is compared.
    let mut changed = image.clone();
    changed[110 + 50] ^= 0x10;
    let opened = with(&changed).unwrap();
    assert!(opened.disk(0).unwrap().extents(0, 1 << 20).is_err());
    assert!(open(&changed).is_err());
    // Another image is none of its business.
    let other = clone(&bench, "partclone.extfs", "volume", &["-a", "0"]);
    with(&other).unwrap();
    assert_ne!(kept.bytes(), first);
    assert!(
        range(&other, &*with(&other).unwrap(), 0, 6 << 20).unwrap() == restore(&bench, "volume")
    );
}

#[test]
fn images_of_the_collection_hold_what_is_known_of_them() {
    let Some(corpus) = corpus("partclone") else { return };
    for name in ["ext4-crc32.pcl.gz", "ext4-nochecksum.pcl.gz"] {
        let known = "1d284e90e344f4fb5e0aac639911d9c93fd00d02d92ce9b84701858cb9572725";
        assert_eq!(sha256(&contents(&unpacked(&corpus.join(name))).unwrap()), known, "{name}");
    }
}
