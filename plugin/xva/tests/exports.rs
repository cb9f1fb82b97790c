//! Whole exports, as the generator writes them: contents, texts, checksums, the scratch.

mod common;

use std::fs;
use std::rc::Rc;

use common::generator::{Sum, Tar, Vdi, disk, hex, manifest, sha1, xxh64};
use common::{contents, open, open_source, read, source};
use fumehood_plugin::memory::{self, MemorySource, check_answer};
use fumehood_plugin::{Confidence, Content, Error, Extent, Format, Glimpse, Source, SourceHandle};
use fumehood_test_support::{Bench, Counted};
use fumehood_xva::Xva;

/// Less than the usual, which is soon done; the format does not depend on it.
const CHUNK: usize = 1 << 16;
/// The first is no whole number of chunks.
const SIZES: [usize; 3] = [5 * CHUNK + 12_800, 4 * CHUNK, 3 * CHUNK + 512];

fn disks() -> Vec<Vec<u8>> {
    SIZES.iter().zip(4..).map(|(size, seed)| disk(*size, CHUNK, seed)).collect()
}

/// Three disks; the references are such that one is the beginning of another.
fn export(sum: Sum, pauses: &[u64], old: bool) -> Vec<u8> {
    let disks = disks();
    let mut tar = Tar { old, chunk: CHUNK, ..Tar::new() };
    let ids = ["Ref:1", "Ref:12", "Ref:2"];
    let listed = [
        Vdi(ids[0], "second", SIZES[0] as u64, "1"),
        Vdi(ids[1], "tenth", SIZES[1] as u64, "10"),
        Vdi(ids[2], "first", SIZES[2] as u64, "0"),
    ];
    tar.file("ova.xml", manifest(&listed).as_bytes());
    for (id, disk) in ids.iter().zip(&disks) {
        tar.disk(id, disk, sum, pauses);
    }
    tar.end()
}

#[test]
fn checksums_of_the_generator_are_right() {
    assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(hex(&sha1(&[0; 64])), "c8d7d0ef0eedfa82d2ea1aa592845b9a6d4b02b7");
    assert_eq!(xxh64(b""), 0xef46_db37_51d8_e999);
    assert_eq!(xxh64(b"abc"), 0x44bc_2cf5_ad77_0999);
}

#[test]
fn disks_read_as_they_were_written() {
    // Pauses before, between and behind what is there; each moves all that follows.
    let ways = [(&[][..], false), (&[1], true), (&[2, 3, 5], false)];
    for sum in [Sum::None, Sum::Sha1, Sum::Xxhash] {
        for (pauses, old) in ways {
            let bytes = export(sum, pauses, old);
            let image = open(&bytes).unwrap();
            assert_eq!(image.info().warnings, [""; 0]);
            // In the order of their positions.
            for (number, place) in [(0, 2), (1, 0), (2, 1)] {
                let found = contents(&*image, &bytes, number).unwrap();
                assert!(found == disks()[place], "{sum:?} {pauses:?} {old} {number}");
                assert_eq!(image.disk(number).unwrap().check(false), Ok(vec![]));
            }
            assert!(matches!(image.disk(3), Err(Error::OutOfRange)));
        }
    }
}

#[test]
fn answers_begin_and_end_anywhere() {
    let bytes = export(Sum::Xxhash, &[2], false);
    let image = open(&bytes).unwrap();
    let (expected, main) = (&disks()[0], source(&bytes));
    let size = expected.len() as u64;
    let mut disk = image.disk(1).unwrap();
    let chunk = CHUNK as u64;
    for (from, length) in [(0, 1), (chunk - 1, 2), (chunk + 5, 3 * chunk), (size - 1, 1)] {
        let found = read(&mut *disk, &main, size, (from, length)).unwrap();
        assert!(found == expected[from as usize..][..length as usize], "{from}");
        let extents = disk.extents(from, length).unwrap();
        check_answer(&extents, from, size).unwrap();
    }
    assert_eq!(disk.extents(size, 1), Err(Error::OutOfRange));
    assert_eq!(disk.extents(0, u64::MAX).unwrap().last().unwrap().end(), size);
}

#[test]
fn what_the_manifest_says_is_shown() {
    let image = open(&export(Sum::None, &[], false)).unwrap();
    let info = image.info();
    let expected = [
        ("product", "XCP-ng"),
        ("product version", "8.3.0"),
        ("host", "host&1"),
        ("export version", "2"),
        ("machine", "machine"),
        ("chunk size", "65536"),
    ];
    let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    assert_eq!(info.details, expected.iter().map(own).collect::<Vec<_>>());
    assert_eq!(info.documents, ["ova.xml"]);
    assert!(image.document("ova.xml").unwrap().starts_with(b"<?xml"));
    assert!(matches!(image.document("../ova.xml"), Err(Error::Missing(_))));
    let disks = image.disks();
    let names: Vec<_> = disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "tenth"]);
    let expected = [
        ("reference", "Ref:1"),
        ("uuid", "uuid-0"),
        ("machine", "machine"),
        ("position", "1"),
        ("bootable", "yes"),
        ("stored bytes", "209408"),
        ("chunks without checksum", "4 of 4"),
    ];
    assert_eq!(disks[1].details, expected.iter().map(own).collect::<Vec<_>>());
}

#[test]
fn a_changed_byte_fails_its_chunk_and_no_other() {
    for sum in [Sum::Sha1, Sum::Xxhash] {
        let mut bytes = export(sum, &[], false);
        let image = open(&bytes).unwrap();
        let mut disk = image.disk(1).unwrap();
        let extents = disk.extents(0, u64::MAX).unwrap();
        let encoded = |extent: &&Extent| matches!(extent.content, Content::Encoded(_));
        let stored: Vec<_> = extents.iter().filter(encoded).collect();
        let Content::Encoded(second) = &stored[1].content else { unreachable!() };
        bytes[second.offset as usize + 77] ^= 1;
        for extent in &stored {
            let range = (extent.offset, extent.length);
            let found = read(&mut *disk, &source(&bytes), SIZES[0] as u64, range);
            assert_eq!(found.is_err(), extent.offset == stored[1].offset);
        }
    }
}

#[test]
fn the_second_open_reads_no_chunk() {
    let bytes = export(Sum::Sha1, &[1], false);
    let scratch: SourceHandle = Rc::new(memory::scratch(1));
    let counts = [0, 1].map(|_| {
        let counted = Counted::new("machine.xva", &bytes);
        let image = open_source(counted.clone(), Some(scratch.clone())).unwrap();
        for (number, place) in [(0, 2), (1, 0), (2, 1)] {
            assert!(contents(&*image, &bytes, number).unwrap() == disks()[place]);
        }
        assert_eq!(image.info(), open(&bytes).unwrap().info());
        assert_eq!(image.disks(), open(&bytes).unwrap().disks());
        counted.reads.get()
    });
    assert!(counts[0] > 10 && counts[1] <= 2, "{counts:?}");
    // An export of another length is another.
    let counted = Counted::new("machine.xva", &bytes[..bytes.len() - 512]);
    open_source(counted.clone(), Some(scratch)).unwrap();
    assert!(counted.reads.get() > 10);
}

#[test]
fn a_torn_scratch_costs_a_scan_and_never_bytes() {
    let bytes = export(Sum::Xxhash, &[], false);
    let scratch = memory::scratch(1);
    open_source(source(&bytes), Some(Rc::new(scratch.clone()))).unwrap();
    let whole = scratch.bytes();
    for place in [0, 20, 50, 16384, 16400, 16384 + 8 * 40, whole.len() - 3] {
        let mut torn = whole.clone();
        torn[place] ^= 0x10;
        let torn: SourceHandle = Rc::new(MemorySource::new(1, "scratch", torn).writable());
        let image = open_source(source(&bytes), Some(torn.clone())).unwrap();
        match contents(&*image, &bytes, 0) {
            Ok(found) => assert!(found == disks()[2]),
            Err(error) => assert!(matches!(&error, Error::Io(what) if what.contains("again"))),
        }
        let image = open_source(source(&bytes), Some(torn)).unwrap();
        assert!(contents(&*image, &bytes, 0).unwrap() == disks()[2], "{place}");
    }
    // Gone under the image's feet.
    let handle: SourceHandle = Rc::new(scratch.clone());
    let image = open_source(source(&bytes), Some(handle)).unwrap();
    scratch.resize(0).unwrap();
    assert!(matches!(contents(&*image, &bytes, 0), Err(Error::Io(_))));
}

#[test]
fn an_export_packed_anew_by_tar_is_read() {
    let bench = Bench::new("xva");
    bench.write("machine.xva", &export(Sum::Xxhash, &[2], false));
    fs::create_dir_all(bench.path("out")).unwrap();
    bench.run("tar", &["-xf", "machine.xva", "-C", "out"]);
    for options in [
        &["--format=ustar"][..],
        &["--format=gnu"],
        &["--format=v7"],
        &["--format=pax"],
        &["--format=pax", "--pax-option=comment=packed anew"],
        &["--format=pax", "--pax-option=globexthdr.comment:=x,comment:=packed anew"],
    ] {
        for files in [
            ["ova.xml", "Ref:1", "Ref:12", "Ref:2"],
            ["./ova.xml", "./Ref:1", "./Ref:12", "./Ref:2"],
        ] {
            let fixed = ["-C", "out", "--sort=name", "-cf", "packed"];
            bench.run("tar", &[options, &fixed, &files].concat());
            let bytes = bench.read("packed");
            let image = open(&bytes).unwrap_or_else(|error| panic!("{options:?}: {error}"));
            assert!(contents(&*image, &bytes, 1).unwrap() == disks()[0], "{options:?}");
            assert_eq!(image.info().warnings, [""; 0], "{options:?}");
            let glimpse = Glimpse { head: bytes[..65536].to_vec(), ..Glimpse::default() };
            assert_eq!(Xva::probe(&glimpse), Confidence::Certain);
        }
    }
}
