//! Plugins whose answers break the contract: each fails its own disk, once and for
//! all, with the rule it broke.

use std::io::Write;

use fumehood::core::{Access, Limits};
use fumehood_tests::attack::{Room, expect_error, sector};

/// Reads a sector of a disk under each attack, and once more.
fn each_fails(room: &Room, attacks: &[(&str, &str)]) {
    for (attack, phrase) in attacks {
        let disk = room.disk(attack, "", Access::Read);
        expect_error(attack, room.read(attack, &disk, 0), "untrusted", phrase);
        expect_error(attack, room.read(attack, &disk, 512), "failed", phrase);
    }
}

#[test]
fn extents_that_break_a_rule_fail_the_disk() {
    each_fails(
        &Room::new(),
        &[
            ("extents:outside-source", "1048576 bytes at 1 of image, which has 1048576"),
            ("extents:far-outside-source", "of image, which has 1048576"),
            ("extents:beyond-disk", "of a disk of 1048576 bytes"),
            ("extents:beyond-everything", "of a disk of 1048576 bytes"),
            ("extents:wrapping", "of a disk of 1048576 bytes"),
            ("extents:overlapping", "an extent begins at 512, not at 1024"),
            ("extents:gapped", "an extent begins at 1024, not at 512"),
            ("extents:backwards", "asked about offset 0, it answers 512 bytes at 512"),
            ("extents:empty", "without extents"),
            ("extents:zero-length", "0 bytes at 512"),
            ("extents:elsewhere", "asked about offset 0"),
            ("extents:65537", "65537 extents in an answer; 65536 are allowed"),
            ("extents:never-granted", "source 12345, which was never granted"),
            ("extents:source-max", "which was never granted"),
        ],
    );
}

#[test]
fn encoded_blocks_that_break_a_rule_fail_the_disk() {
    each_fails(
        &Room::new(),
        &[
            ("block:4g", "a block of 512 bytes, 4294967295 decoded"),
            ("block:4g-stored", "a block of 4294967295 bytes"),
            ("block:past-end", "an extent of 512 bytes after 1 in a block of 512"),
            ("block:skip-max", "in a block of 512"),
            ("block:outside-source", "of image, which has 1048576"),
            ("block:wrong-digest-length", "digest of 3 bytes"),
            ("block:giant-digest", "digest of 1048576 bytes"),
            ("block:unkept-key", "it names key 7, which it never kept"),
            ("block:wrong-vector", "15 bytes of vector and 0 of tag"),
            ("block:giant-window", "a window of 65536 bytes and 0 bits"),
            ("block:eight-bits", "a window of 512 bytes and 8 bits"),
            ("block:window-outside-source", "of image, which has 1048576"),
            ("block:window-of-zlib", "a window of 512 bytes and 0 bits for Codec::Zlib"),
        ],
    );
}

#[test]
fn blocks_that_decode_to_something_else_are_errors_of_their_range() {
    let room = Room::new();
    for (attack, head, phrase) in [
        ("block:wrong-digest", &[][..], "its crc32 is"),
        ("block:not-zlib", &[0xff; 512][..], "its deflate stream is corrupt"),
        ("block:bomb", &zlib_bomb(), "512"),
        ("block:zstd-bomb", &zstd_bomb(), "512"),
    ] {
        let mut image = room.bench.read("image");
        image[..head.len()].copy_from_slice(head);
        room.bench.write("image", &image);
        let disk = room.disk(attack, "", Access::Read);
        // The image may be damaged without its plugin being at fault: it is asked on.
        for _ in 0..2 {
            expect_error(attack, room.read(attack, &disk, 0), "decode", phrase);
        }
    }
}

#[test]
fn a_million_extents_end_the_call() {
    // Enough memory for the plugin to make its answer, so that the answer's own limit
    // is what ends it.
    let room = Room::with(Limits { deadline_ticks: 10, memory: 512 << 20, ..Limits::default() });
    let attack = "extents:million";
    let disk = room.disk(attack, "", Access::Read);
    let read = room.attacked_within(attack, 768 << 20, sector(&disk, 0));
    expect_error(attack, read, "trapped", "fuel");
    drop(room);
    let room = Room::new();
    let disk = room.disk(attack, "", Access::Read);
    expect_error(attack, room.read(attack, &disk, 0), "trapped", "growing memory");
}

#[test]
fn computed_bytes_must_be_as_many_as_were_asked_for() {
    let room = Room::new();
    each_fails(&room, &[("computed:short", "511 bytes for 512"), ("computed:long", "513 bytes")]);
    let disk = room.disk("computed:giant", "", Access::Read);
    expect_error("computed:giant", room.read("computed:giant", &disk, 0), "trapped", "fuel");
    let disk = room.disk("computed:loop", "", Access::Read);
    expect_error("computed:loop", room.read("computed:loop", &disk, 0), "trapped", "time");
}

#[test]
fn disks_that_cannot_be_are_refused_at_open() {
    let room = Room::new();
    for (attack, expected, phrase) in [
        ("disks:sector-0", "untrusted", "sectors of [0, 512] bytes"),
        ("disks:sector-513", "untrusted", "sectors of [512, 513] bytes"),
        ("disks:sector-2g", "untrusted", "sectors of [2147483648, 512] bytes"),
        ("disks:granularity-0", "untrusted", "granularity 0"),
        ("disks:granularity-3", "untrusted", "granularity 3"),
        // One byte written there would be filled up to two GiB of memory.
        ("disks:granularity-2g", "untrusted", "granularity 2147483648"),
        ("disks:size", "untrusted", "18446744073709551615 bytes"),
        ("disks:over-limit", "untrusted", "4097 disks"),
        ("disks:many", "trapped", "fuel"),
        ("disks:loop", "trapped", "time"),
    ] {
        expect_error(attack, room.open(attack), expected, phrase);
    }
}

#[test]
fn an_extent_in_a_source_that_is_only_declared_cannot_wrap_around() {
    let room = Room::new();
    room.bench.write("sibling", &[0; 4096]);
    let disk = room.disk("declared:overflow", "sibling", Access::Read);
    let read = room.read("declared:overflow", &disk, 8192);
    expect_error("declared:overflow", read, "untrusted", "sibling");
    let disk = room.disk("declared:reference", "/etc/passwd", Access::Read);
    let read = room.read("declared:reference", &disk, 0);
    expect_error("declared:reference", read, "source", "outside the image's folder");
}

/// 8 MiB of zeroes, compressed.
fn zlib_bomb() -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 8 << 20]).expect("a vector");
    encoder.finish().expect("a vector")
}

/// A Zstandard frame that asks for a window of 96 MiB and fills it, four bytes of
/// input for each 128 KiB.
fn zstd_bomb() -> Vec<u8> {
    let block: u32 = (128 << 10) << 3 | 1 << 1;
    let [low, middle, high, _] = block.to_le_bytes();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 16 << 3 | 4];
    for _ in 0..1000 {
        frame.extend([low, middle, high, 0]);
    }
    frame
}
