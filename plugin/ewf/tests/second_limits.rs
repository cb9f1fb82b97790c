//! Files of version 2 built by hand: how large a thing may be, and what a set bears to lose.

mod common;

use common::second::{
    Builder, CASE, Chunk, DATA, DEVICE, DONE, NEXT, TABLE, descriptors, object, single, table,
};
use common::{Set, sample};
use fumehood_plugin::{Content, Error};

const CHUNK: usize = 32768;

/// What the first chunk of a file is.
fn first_chunk(file: Vec<u8>) -> Content {
    let mut extents = single(file).open().unwrap().disk(0).unwrap().extents(0, 1).unwrap();
    extents.remove(0).content
}

fn warnings(set: &Set) -> Vec<String> {
    set.open().unwrap().info().warnings
}

/// A file with a table of so many chunks of zeroes.
fn zeroes(count: u32) -> Builder {
    let data = table(0, &vec![(0, 0, 5); count as usize]);
    let (count, sectors) = (count.into(), u64::from(count) * 64);
    Builder::new(1, 1).unhashed().media(count, sectors).section(TABLE, &data)
}

#[test]
fn long_tables_are_verified() {
    for count in [65537, 1 << 20] {
        let file = zeroes(count).end(DONE);
        let entries = descriptors(&file)[1] - (4 + count as usize * 16).next_multiple_of(16);
        assert_eq!(first_chunk(file.clone()), Content::Zero);
        // What was a pattern becomes plain bytes, far from what is asked for.
        let mut file = file;
        file[entries + 16 * 60_000 + 12] ^= 4;
        let Content::Damaged(what) = first_chunk(file) else { panic!("{count}") };
        assert!(what.contains("checksum"), "{what}");
    }
}

#[test]
fn an_answer_looks_at_so_many_chunks() {
    let half = 600_000u32;
    let data = |first: u32| table(first.into(), &vec![(0, 0, 5); half as usize]);
    let count = 2 * u64::from(half);
    let file = Builder::new(1, 1).unhashed().media(count, count * 64);
    let file = file.section(TABLE, &data(0)).section(TABLE, &data(half)).end(DONE);
    let mut disk = single(file).open().unwrap().disk(0).unwrap();
    let size = count * CHUNK as u64;
    let first = disk.extents(0, size).unwrap();
    assert_eq!((first.len(), first[0].length), (1, (CHUNK as u64) << 20));
    let rest = disk.extents(first[0].length, size).unwrap();
    assert_eq!((rest.len(), rest[0].end()), (1, size));
}

#[test]
fn tables_that_cannot_be_verified_are_refused() {
    let set = single(zeroes((1 << 20) + 1).end(DONE));
    let found = warnings(&set);
    assert!(found[0].contains("a table of 1048577 entries; 1048576 are read"), "{found:?}");
    let extents = set.open().unwrap().disk(0).unwrap().extents(0, 1).unwrap();
    assert!(matches!(extents[0].content, Content::Damaged(_)), "{extents:?}");
}

#[test]
fn sections_far_longer_than_what_they_hold_are_refused() {
    for (more, read) in [(4000, true), (5000, false)] {
        let data = [table(0, &[(0, 0, 5)]), vec![0; more]].concat();
        let set = single(Builder::new(1, 1).media(1, 64).section(TABLE, &data).end(DONE));
        assert_eq!(set.readable(CHUNK as u64), [read]);
        assert_eq!(warnings(&set).is_empty(), read);
    }
    let device = object(&[("ts", "64"), ("bp", "512")]);
    let case = object(&[("sb", "64")]);
    for (in_device, in_case) in [(18 << 20, 0), (0, 18 << 20), ((16 << 20) + 1, 0)] {
        let file = Builder::new(1, 1)
            .unhashed()
            .section(DEVICE, &[device.clone(), vec![0; in_device]].concat())
            .section(CASE, &[case.clone(), vec![0; in_case]].concat())
            .end(DONE);
        assert!(matches!(single(file).open(), Err(Error::Corrupt { .. })));
    }
}

#[test]
fn blocks_larger_than_a_host_takes_are_not_announced() {
    let media = |sector: &str, per_chunk: &str| {
        Builder::new(1, 1)
            .unhashed()
            .device(&[("ts", "32768"), ("bp", sector)])
            .case(&[("sb", per_chunk)])
    };
    let Err(Error::Unsupported(what)) = single(media("4096", "32768").end(DONE)).open() else {
        panic!("it opened");
    };
    assert!(what.contains("chunks of 134217728 bytes"), "{what}");
    let most = 64 << 20;
    let file = media("2048", "32768")
        .section(DATA, &vec![0; most as usize + 4096])
        .section(TABLE, &table(0, &[(400, most + 1000, 1)]));
    let Content::Encoded(encoded) = first_chunk(file.end(DONE)) else { panic!() };
    assert_eq!((encoded.stored_length, encoded.decoded_length), (most, most));
}

#[test]
fn any_segment_may_tell_what_the_media_is() {
    let bytes = sample(2 * CHUNK);
    let segment = |part: usize, set: u8| {
        let chunk = Chunk::Sealed(bytes[part * CHUNK..][..CHUNK].to_vec());
        let number = part as u32 + 1;
        Builder::new(number, set).media(2, 128).chunks(part as u64, &[chunk])
    };
    let damage = |mut file: Vec<u8>| {
        // The device information begins behind the header.
        file[40] ^= 1;
        file
    };
    let set = |first: Vec<u8>, second: Vec<u8>| {
        Set::new(&vec![("a.Ex01".into(), first), ("a.Ex02".into(), second)])
    };
    let first = damage(segment(0, 1).end(NEXT));
    let kept = set(first.clone(), segment(1, 1).end(DONE));
    assert!(kept.contents().unwrap().1 == bytes);
    let found = warnings(&kept);
    assert!(found.len() == 1 && found[0].contains("a.Ex01 at 32: section has MD5"), "{found:?}");
    // Nowhere is it whole: what is wrong with the first is said.
    let lost = set(first.clone(), damage(segment(1, 1).end(DONE)));
    let Err(Error::Corrupt { offset: 32, what, .. }) = lost.open() else { panic!("it opened") };
    assert!(what.contains("MD5"), "{what}");
    // A segment of another set tells nothing of this one.
    let Err(Error::Corrupt { what, .. }) = set(first, segment(1, 2).end(DONE)).open() else {
        panic!("it opened");
    };
    assert!(what.contains("belongs to set"), "{what}");
}
