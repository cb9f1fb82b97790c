//! Plugins that ask for what was not granted, or for more of it than is good.

use std::fs;
use std::os::unix::fs::symlink;

use fumehood::core::{Access, Limits};
use fumehood_tests::attack::{Room, expect_error};

/// A room whose image has a sibling, beside links that lead out of the folder.
fn room() -> Room {
    let room = Room::new();
    room.bench.write("sibling", b"another machine's disk");
    symlink("/etc/passwd", room.bench.path("link")).expect("our folder");
    symlink("/etc", room.bench.path("folder")).expect("our folder");
    room
}

#[test]
fn references_out_of_the_folder_are_refused() {
    let room = room();
    for (reference, phrase) in [
        ("../secret", "outside the image's folder"),
        ("/etc/passwd", "outside the image's folder; grant it with --allow"),
        ("x/../../../../../../etc/passwd", "above the root"),
        ("../../../../../../../../../../..", "above the root"),
        ("link", "by a symbolic link"),
        ("folder/passwd", "by a symbolic link"),
        ("json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}", "protocols are refused"),
        ("nbd://localhost/", "protocols are refused"),
        ("file:/etc/passwd", "protocols are refused"),
        ("", "is not a file name"),
        ("a\0b", "is not a file name"),
        ("\u{1b}[31m\r\nabsent", "absent"),
    ] {
        let opened = room.open_naming("open:reference", reference, Access::Read);
        expect_error(reference, opened, "format", phrase);
    }
    room.open_naming("open:reference", "sibling", Access::Read).expect("what is granted opens");
}

#[test]
fn a_giant_reference_makes_no_giant_error() {
    let room = room();
    let reference = "x".repeat(1 << 20);
    let opened = room.open_naming("open:reference", &reference, Access::Read);
    expect_error("a giant reference", opened, "format", "xxx");
}

#[test]
fn what_is_opened_read_only_cannot_be_written() {
    let room = room();
    let image = room.bench.read("image");
    for attack in ["open:write-main", "open:resize-main"] {
        expect_error(attack, room.open(attack), "format", "read-only");
        assert!(room.bench.read("image") == image, "{attack}: the image was changed");
    }
}

#[test]
fn what_is_opened_read_only_cannot_be_written_by_another_name() {
    let room = room();
    for reference in ["sibling", "image", "healthy.raw"] {
        let before = room.bench.read(reference);
        let opened = room.open_naming("open:reference-write", reference, Access::Read);
        assert!(room.bench.read(reference) == before, "{reference} was written to");
        expect_error(reference, opened, "format", "");
    }
}

#[test]
fn an_empty_write_does_not_change_what_a_source_says_of_its_size() {
    let room = room();
    let opened = room.open_naming("open:empty-write", "", Access::ReadWrite);
    let Err(error) = opened else { panic!("no error") };
    let text = error.to_string();
    assert!(!text.contains(&u64::MAX.to_string()), "{text}");
}

#[test]
fn reads_past_the_end_and_giant_reads_are_refused() {
    let room = room();
    for attack in ["open:read-past-end", "open:read-giant"] {
        expect_error(attack, room.open(attack), "format", "past its end");
    }
}

#[test]
fn the_scratch_has_an_end() {
    expect_error("scratch", room().open("open:scratch"), "format", "no space");
}

#[test]
fn names_of_sources_do_not_fill_the_memory() {
    // Time enough to declare thousands of megabytes.
    let room = Room::with(Limits { deadline_ticks: 20, ..Limits::default() });
    let Err(error) = room.open("open:declare-giants") else { panic!("no error") };
    assert!(error.to_string().len() < 16 << 10, "the name is not repeated");
}

#[test]
fn one_image_cannot_use_up_the_files_of_the_process() {
    let room = room();
    let files = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let before = files();
    let disk = room.disk("open-many", "sibling", Access::Read);
    drop(room.read("open-many", &disk, 0));
    let after = files();
    assert!(after < before + 2000, "{after} files are open, {before} were");
}
