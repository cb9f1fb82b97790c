//! Archives built by hand: the traps that no honest writer sets.

mod common;

use std::rc::Rc;

use common::{archive, contents, file, member, open, ovf, refusal, simple};
use fumehood_ova::Ova;
use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer};
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Error, Format, OpenOptions};

fn document() -> Vec<u8> {
    file("x.ovf", &simple("d.img"))
}

#[track_caller]
fn says(bytes: &[u8], part: &str) {
    let said = refusal(bytes).to_string();
    assert!(said.contains(part), "{said}");
}

#[test]
fn names_of_files_elsewhere_are_refused() {
    for href in ["/etc/passwd", "../d.img", "http://host/d.img", "file:d.img", "a/../d.img"] {
        let packed = archive(&[file("x.ovf", &simple(href)), file(href, b"1")]);
        says(&packed, "appliance's own");
    }
}

#[test]
fn what_is_not_there_is_named() {
    says(&archive(&[document()]), "d.img");
    says(&archive(&[file("d.img", b"1"), file("x.mf", b"")]), ".ovf");
}

#[test]
fn links_and_holes_are_refused() {
    for (kind, what) in [(b'1', "link"), (b'2', "link"), (b'S', "holes")] {
        let zero = b"00000000000\0";
        says(&archive(&[document(), member("d.img", kind, zero, b"")]), what);
    }
    let pax = member("p", b'x', b"00000000026\0", b"22 GNU.sparse.major=1\n");
    says(&archive(&[document(), pax, file("d.img", b"1")]), "holes");
}

#[test]
fn doubles_are_refused() {
    says(&archive(&[document(), file("d.img", b"1"), file("./d.img", b"2")]), "twice");
}

#[test]
fn sizes_that_do_not_agree_are_refused() {
    let one = ovf(
        &["ovf:id=\"f\" ovf:href=\"d.img\" ovf:size=\"2\""],
        &["ovf:diskId=\"d\" ovf:fileRef=\"f\""],
    );
    says(&archive(&[file("x.ovf", &one), file("d.img", b"1")]), "2 bytes, found 1");
}

#[test]
fn sizes_past_the_end_are_refused() {
    for size in [
        b"00000100000\0",
        b"77777777777\0",
        b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        says(&archive(&[document(), member("d.img", b'0', size, b"1")]), "cut");
    }
    for size in [b"-0000000001\0", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
        assert!(open(&archive(&[document(), member("d.img", b'0', size, b"1")])).is_err());
    }
    let pax = member("p", b'x', b"00000000036\0", b"30 size=18446744073709551615\n\n");
    assert!(open(&archive(&[document(), pax, file("d.img", b"1")])).is_err());
}

#[test]
fn extended_headers_are_bounded() {
    for kind in [b'x', b'L'] {
        let long = member("p", kind, b"00000400000\0", &[b'a'; 131_072]);
        says(&archive(&[document(), long, file("d.img", b"1")]), "header");
    }
    let name = member("p", b'L', b"00000004000\0", &[b'a'; 2048]);
    says(&archive(&[document(), name, file("d.img", b"1")]), "name");
}

#[test]
fn many_members_are_bounded() {
    let mut members = vec![document()];
    members.resize(65_538, file("m", b""));
    says(&archive(&members), "more than 65536");
}

#[test]
fn documents_are_bounded() {
    let mut long = simple("d.img");
    long.resize(5 << 20, b' ');
    says(&archive(&[file("x.ovf", &long), file("d.img", b"1")]), "text");
    let many = format!("<Envelope>{}</Envelope>", "<a/>".repeat(200_000));
    says(&archive(&[file("x.ovf", many.as_bytes())]), "OVF");
    let deep = format!("<Envelope>{}{}</Envelope>", "<a>".repeat(90_000), "</a>".repeat(90_000));
    let _ = open(&archive(&[file("x.ovf", deep.as_bytes())]));
    says(&archive(&[file("x.ovf", b"\xff\xfe<\0")]), "UTF-8");
}

#[test]
fn an_empty_member_is_an_empty_disk() {
    let packed = archive(&[document(), file("d.img", b"")]);
    let image = open(&packed).unwrap();
    assert_eq!(image.disks()[0].size, 0);
    assert_eq!(contents(&packed, &*image, 0), b"");
}

#[test]
fn a_cut_archive_is_told() {
    let packed = archive(&[document(), file("d.img", &[1; 3000])]);
    // Nothing but the end mark is missing, and then the padding.
    for cut in [1024, 1024 + 50] {
        let image = open(&packed[..packed.len() - cut]).unwrap();
        assert_eq!(image.info().warnings.len(), 1);
    }
    for length in (0..packed.len() - 1100).step_by(61) {
        assert!(open(&packed[..length]).is_err(), "{length}");
    }
}

#[test]
fn flipped_bytes_do_no_harm() {
    let two = ovf(
        &["ovf:id=\"f\" ovf:href=\"d.img\"", "ovf:id=\"g\" ovf:href=\"e.img\" ovf:chunkSize=\"9\""],
        &[
            "ovf:diskId=\"d\" ovf:fileRef=\"f\"",
            "ovf:diskId=\"e\" ovf:fileRef=\"g\" ovf:parentRef=\"d\"",
        ],
    );
    let pax = member("p", b'x', b"00000000022\0", b"18 path=./d.img\n\n\n");
    let packed = archive(&[
        file("x.ovf", &two),
        file("x.mf", b"SHA1(d.img)= 0011\n"),
        pax,
        file("other", &[3; 700]),
        file("e.img.000000000", &[4; 9]),
    ]);
    let mut random = Random::new(11);
    for _ in 0..4000 {
        let mut bytes = packed.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        // A header's checksum would find most of it.
        if random.one_in(2) {
            for header in [0, 512 + two.len().next_multiple_of(512)] {
                let Some(block) = bytes.get_mut(header..header + 512) else { continue };
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        explore(&bytes);
    }
}

fn explore(bytes: &[u8]) {
    let main = Rc::new(MemorySource::new(0, "x.ova", bytes.to_vec()));
    let host = Rc::new(MemoryHost::new());
    let Ok(image) = Ova::open(main, host, OpenOptions::read_only()) else { return };
    while let Ok(progress) = image.prepare() {
        if progress.done == progress.total {
            break;
        }
    }
    let _ = image.info();
    for (number, info) in image.disks().iter().enumerate() {
        let mut disk = image.disk(number as u32).unwrap();
        assert_eq!(disk.extents(info.size, 1), Err(Error::OutOfRange));
        if info.size > 0 {
            let answer = disk.extents(0, u64::MAX).unwrap();
            check_answer(&answer, 0, info.size).unwrap();
        }
    }
}
