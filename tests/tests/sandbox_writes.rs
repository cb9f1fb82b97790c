//! Plugins that lie about room for writes, or give up half-way through one.

use fumehood::Disk;
use fumehood::core::Access;
use fumehood_tests::attack::{Room, expect_error};

/// The image of the `writes:` attacks: nothing linked, a disk of zeroes.
fn room() -> Room {
    let room = Room::new();
    room.bench.write("image", &vec![0; 64 << 10]);
    room
}

#[test]
fn room_that_breaks_a_rule_fails_the_disk() {
    for (attack, phrase) in [
        ("place:not-writable", "room in source 0, which is not writable"),
        ("place:never-granted", "room in source 12345, which is not writable"),
        ("place:elsewhere", "it gives 4096 bytes at 1073741824"),
        ("place:part", "is not whole granules"),
        ("place:endless", ""),
        ("place:nothing", "asked for room at 0, it gives none"),
    ] {
        let room = room();
        let image = room.bench.read("image");
        let disk = room.disk(&unmapped(attack), "", Access::ReadWrite);
        expect_error(attack, room.write(attack, &disk, &[7; 512], 0), "untrusted", phrase);
        expect_error(attack, room.write(attack, &disk, &[7; 512], 0), "failed", phrase);
        assert!(room.bench.read("image") == image, "{attack}: bytes were written");
    }
}

#[test]
fn room_at_the_end_of_all_offsets_is_an_error() {
    let room = room();
    let attack = unmapped("place:wrapping");
    let disk = room.disk(&attack, "", Access::ReadWrite);
    let Err(error) = room.write(&attack, &disk, &[7; 512], 0) else { panic!("no error") };
    assert!(error.to_string().contains("1844674407370955161"), "{error}");
}

#[test]
fn a_disk_that_is_opened_read_only_takes_no_write() {
    let room = room();
    let image = room.bench.read("image");
    for attack in ["none", "writes:none", "place:not-writable"] {
        let disk = room.disk(attack, "", Access::Read);
        let written = room.write(attack, &disk, &[7; 512], 0);
        expect_error(attack, written, "read-only", "opened read-only");
        assert!(room.bench.read("image") == image, "{attack}");
    }
}

#[test]
fn a_trap_while_room_is_linked_stops_the_disk_and_leaves_what_was_there() {
    for attack in ["trap-before-link", "trap-always"] {
        let room = room();
        let attack = &unmapped(attack);
        let disk = room.disk(attack, "", Access::ReadWrite);
        room.write(attack, &disk, &[7; 512], 512).expect("the write itself");
        assert_eq!(room.read(attack, &disk, 512).expect("what was written"), [7; 512]);
        expect_error(attack, room.flush(attack, &disk), "trapped", "linked");
        expect_stopped(&room, attack, disk);
        assert_eq!(reopened(&room, 512), [0; 512], "it was never linked");
    }
}

#[test]
fn a_trap_after_the_room_is_linked_stops_the_disk_too() {
    let room = room();
    let attack = "writes:trap-after-link";
    let disk = room.disk(attack, "", Access::ReadWrite);
    assert_eq!(room.read(attack, &disk, 512).expect("zeroes"), [0; 512]);
    room.write(attack, &disk, &[7; 512], 512).expect("the write itself");
    expect_error(attack, room.flush(attack, &disk), "trapped", "after the room was linked");
    expect_stopped(&room, attack, disk);
    assert_eq!(reopened(&room, 512), [7; 512], "it is linked, whole");
    assert_eq!(reopened(&room, 1024), [0; 512], "the rest of the granule was filled");
}

/// Neither reads nor writes nor flushes go on, as after a crash.
fn expect_stopped(room: &Room, attack: &str, disk: Disk) {
    expect_error(attack, room.write(attack, &disk, &[8; 512], 0), "failed", "");
    expect_error(attack, room.flush(attack, &disk), "failed", "");
    assert!(room.read(attack, &disk, 512).is_err(), "{attack}: it goes on");
}

/// The attack, on a disk of which nothing is stored yet.
fn unmapped(attack: &str) -> String {
    format!("writes:{attack}")
}

/// A sector of the image opened anew.
fn reopened(room: &Room, offset: u64) -> Vec<u8> {
    let disk = room.disk("writes:none", "", Access::Read);
    room.read("opened anew", &disk, offset).expect("a sound image")
}
