//! Folders that are damaged, incomplete or made to mislead.

mod common;

use common::{Folder, noise};
use fumehood_clonezilla::Clonezilla;
use fumehood_plugin::memory::check_answer;
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Access, Confidence, Contents, Error, Format, Glimpse, OpenOptions};
use fumehood_test_support::prepare;

const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03 and more";

/// Pieces of 16 bytes and one of 10, of a stream that begins as gzip's do.
fn split() -> Folder {
    let bytes = [&GZIP[..10], &noise(48, 1)].concat();
    let mut folder = Folder::new("sda1 \n").with("dev-fs.list", "/dev/sda1 ext4 1G\n");
    for (piece, letter) in bytes.chunks(16).zip('a'..) {
        folder = folder.with(&format!("sda1.ext4-ptcl-img.gz.a{letter}"), piece);
    }
    assert_eq!(folder.files.len(), 6);
    folder
}

/// One partition in a file of this name.
fn one(name: &str, bytes: &[u8]) -> Folder {
    Folder::new("sda1").with(name, bytes)
}

#[track_caller]
fn says(folder: &Folder, part: &str) {
    let said = folder.refusal();
    assert!(said.contains(part), "{said}");
}

#[test]
fn pieces_are_joined_in_order() {
    let opened = split().open().unwrap();
    let expected = [&GZIP[..10], &noise(48, 1)].concat();
    assert_eq!(opened.contents("sda1"), expected);
    let mut disk = opened.image.disk(0).unwrap();
    for at in 0..58 {
        let answer = disk.extents(at, 1).unwrap();
        assert_eq!((answer.len(), answer[0].offset), (1, at / 16 * 16));
    }
}

#[test]
fn a_gap_is_named() {
    let piece = |letter: &str| format!("sda1.ext4-ptcl-img.gz.a{letter}");
    says(
        &split().without(&piece("a")),
        "sda1.ext4-ptcl-img.gz.aa, though sda1.ext4-ptcl-img.gz.ab",
    );
    says(
        &split().without(&piece("b")),
        "sda1.ext4-ptcl-img.gz.ab, though sda1.ext4-ptcl-img.gz.ac",
    );
    says(
        &split().without(&piece("c")),
        "sda1.ext4-ptcl-img.gz.ac, though sda1.ext4-ptcl-img.gz.ad",
    );
    // Nothing but a list of files tells that the last one is missing.
    let cut = split().without(&piece("d"));
    let opened = cut.open().unwrap();
    assert_eq!(opened.contents("sda1").len(), 48);
    let doubt = "another, sda1.ext4-ptcl-img.gz.ad, may be missing";
    assert!(opened.warnings().contains(doubt), "{}", opened.warnings());
    let digest = "0".repeat(32);
    let listed = cut.with("MD5SUMS", format!("{digest}  parts\n{digest}  {}\n", piece("d")));
    says(&listed, "sda1.ext4-ptcl-img.gz.ad, which the folder's list");
    says(&Folder::new("sda1"), "a file for sda1");
}

#[test]
fn lengths_that_pieces_cannot_have_are_refused() {
    let piece = |letter: &str| format!("sda1.ext4-ptcl-img.gz.a{letter}");
    says(&split().with(&piece("b"), [0; 15]), "at offset 15: expected 16 bytes in");
    says(&split().with(&piece("c"), [0; 15]), "sda1.ext4-ptcl-img.gz.ac, as in the first piece");
    says(&split().with(&piece("b"), [0; 17]), "the 16 bytes at most");
    says(&split().with(&piece("d"), []), "found 0");
    says(&split().with(&piece("a"), []), "found []");
    says(&one("sda1.dd-ptcl-img.uncomp", b""), "found 0");
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    for (name, head, part) in [
        ("sda1.ntfs-img.aa", &b"\0ntfsclone-image"[..], "ntfsclone --restore-image"),
        ("sda1.ntfs-img", GZIP, "ntfsclone"),
        ("sda1.aa", GZIP, "partimage"),
        ("sda1.000", b"PaRtImAgE-VoLuMe", "partimage"),
        ("sda1", b"PaRtImAgE-VoLuMe", "partimage"),
        ("sda1.ext4-ptcl-img.lzip.aa", b"LZIP\x01", "lzip; compress it in another way"),
        ("sda1.xfs-ptcl-img.lzma", b"\x5d\0\0\x80\0", "LZMA"),
        ("sda1.xfs-ptcl-img.lrz", b"LRZI", "lrzip"),
        ("sda1.ext3-img", b"LZIP\x01", "lzip"),
    ] {
        says(&one(name, head), part);
        says(&one(name, head), name);
    }
}

#[test]
fn beginnings_that_contradict_the_name_are_refused() {
    for (ending, expected) in [
        ("gz", "a stream of gzip"),
        ("zst", "a stream of Zstandard"),
        ("xz.aa", "a stream of xz"),
        ("lz4", "a stream of LZ4"),
        ("bz2", "a stream of bzip2"),
        ("lzo.aaa", "a stream of lzop"),
        ("lzip", "a stream of lzip"),
        ("uncomp", "an image of partclone"),
    ] {
        let name = format!("sda1.ext4-ptcl-img.{ending}");
        says(&one(&name, b"something else"), expected);
        says(&one(&name, b"something else"), "at offset 0");
    }
    says(&one("sda1.ext3-img", b"something else"), "an image of partclone");
    says(&one("sda1.ext3-ptcl-img", b"something else"), "an image of partclone");
}

#[test]
fn an_encrypted_image_is_refused() {
    // The entry is encrypted as everything is.
    let folder = Folder::new("\u{1}\u{2}").with("ecryptfs.info", "disk_of_img=\"sda\"\n");
    let error = folder.open().err().unwrap();
    assert!(
        matches!(&error, Error::Unsupported(what) if what.contains("ecryptfs.info")),
        "{error}"
    );
}

#[test]
fn one_partition_that_is_bad_keeps_no_other_from_being_read() {
    let folder = split().with("parts", "sda1 sda2 sda3 sda4");
    let folder = folder.with("sda2.ntfs-ptcl-img.gz.ab", GZIP).with("sda3.ntfs-img", GZIP);
    let opened = folder.open().unwrap();
    assert_eq!(opened.names(), ["sda1"]);
    let warnings = opened.image.info().warnings;
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, part) in warnings.iter().zip([
        "sda2.ntfs-ptcl-img.gz.aa",
        "sda3 cannot be read and has no disk here",
        "a file for sda4",
    ]) {
        assert!(warning.contains(part), "{warning}");
    }
    // None of them is an error, all of them are.
    says(&folder.without("sda1.ext4-ptcl-img.gz.aa"), "sda1.ext4-ptcl-img.gz.aa");
}

#[test]
fn swap_space_is_no_disk() {
    let folder = split().with("parts", "sda1 sda2").with("swappt-sda2.info", "UUID=\"7\"\n");
    let opened = folder.open().unwrap();
    assert_eq!((opened.names().len(), opened.warnings().as_str()), (1, ""));
    assert!(opened.details("sda2")[0].contains("UUID=\"7\""));
    // Others of the machine's disks may have swap space, too.
    let blocks = "KNAME NAME FSTYPE MOUNTPOINT\nsda2  sda2 swap\nsdb1  sdb1 swap\n";
    let opened = folder.with("parts", "sda1").with("blkdev.list", blocks).open().unwrap();
    assert_eq!((opened.names().len(), opened.warnings().as_str()), (1, ""));
    assert_eq!((opened.details("sda2").len(), opened.details("sdb1").len()), (1, 0));
    let alone = Folder::new("sda2").with("swappt-sda2.info", "UUID=\"7\"\n");
    says(&alone, "swap space and layers alone");
}

#[test]
fn layers_lead_to_volumes() {
    let folder = split()
        .with("parts", "sda5 sda1 sda6")
        .with("luks-dev.list", "# <Block device>\n/dev/sda5 12-34 luks-12\n/dev/sda6 5-6 opened\n")
        .with("lvm_vg_dev.list", "vg /dev/mapper/luks-12 id\n/NOT_FOUND /dev/sdb1 \n")
        .with("lvm_logv.list", "/dev/vg/root ext4\n/dev/vg/root again\n\n/dev/../etc x\n")
        .with("vg-root.xfs-ptcl-img.gz", GZIP)
        .with("opened.dd-ptcl-img.uncomp", b"bytes");
    let opened = folder.open().unwrap();
    assert_eq!(opened.names(), ["sda1", "opened", "vg-root"]);
    assert_eq!(opened.warnings(), "");
    assert!(opened.details("sda5")[0].contains("saved opened, as luks-12"));
    assert!(opened.details("luks-12")[0].contains("physical volume of LVM, group vg"));
}

#[test]
fn bytes_alone_are_compared_with_the_table() {
    let table = "label: gpt\n/dev/sda1 : start= 8, size= 4, type=0FC6\n";
    let folder = one("sda1.dd-ptcl-img.uncomp.aa", &noise(2048, 3)).with("sda-pt.sf", table);
    let opened = folder.open().unwrap();
    assert_eq!(opened.warnings(), "");
    let info = opened.image.disks().remove(0);
    assert_eq!((info.contents, info.start_on_disk), (Contents::Volume, Some(4096)));
    let cut = folder.with("sda1.dd-ptcl-img.uncomp.aa", noise(2047, 3));
    assert!(cut.open().unwrap().warnings().contains("holds 2047 bytes"));
}

#[test]
fn an_entry_that_names_no_partitions_is_refused() {
    for (parts, offset) in [
        ("", 0),
        (" \n", 0),
        ("sda1 ../../etc/passwd", 5),
        ("/etc/../passwd", 0),
        (".hidden", 0),
        ("sda1 sda2;reboot", 5),
        ("sda1 s\u{e9}a", 5),
        ("sda1 1", 5),
        ("http://host/x", 0),
        ("sda1 \0", 5),
    ] {
        match Folder::new(parts).open().err().unwrap() {
            Error::Corrupt { offset: found, source_id: 0, .. } => {
                assert_eq!(found, offset, "{parts:?}")
            }
            other => panic!("{parts:?}: {other}"),
        }
    }
    let error = Folder::default().with("parts", b"sda1 \xff").open().err().unwrap();
    assert!(matches!(error, Error::Corrupt { offset: 5, .. }), "{error}");
}

#[test]
fn nothing_but_plain_names_is_asked_for() {
    let hostile = "/dev/../../etc/passwd /etc/passwd\n/dev/x;y ../z\n/dev/vg/../../a ext4\n";
    let mut folder = split();
    for name in ["disk", "dev-fs.list", "blkdev.list", "lvm_logv.list", "lvm_vg_dev.list"] {
        folder = folder.with(name, format!("KNAME NAME FSTYPE\n{hostile}"));
    }
    let luks = "/dev/sda9 id ../../etc/passwd\n/dev/../x id /dev/mapper/../../y\n";
    let sums = format!("{}  ../../etc/passwd\n{0}  /etc/passwd\n", "00".repeat(16));
    let folder = folder.with("luks-dev.list", luks).with("MD5SUMS", sums);
    let host = folder.host();
    let _ = folder.open_by(host.clone());
    for name in host.asked.borrow().iter() {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-+".contains(letter);
        assert!(name.chars().all(plain) && !name.starts_with('.'), "{name}");
    }
}

#[test]
fn work_is_bounded() {
    let many: String = (0..257).map(|number| format!("sd{number} ")).collect();
    says(&Folder::new(&many), "more of them");
    let long = format!("sda1{}", " ".repeat(300_000));
    says(&Folder::new(&long), "300004 bytes");
    // A partition without a file, of which nothing is known, and with which nothing helps.
    let host = Folder::new("sda1").host();
    let _ = Folder::new("sda1").open_by(host.clone());
    assert!(host.asked.borrow().len() < 2500, "{}", host.asked.borrow().len());
    // Texts that are longer than any are passed over.
    let line = |number: usize| format!("/dev/vg/a{number} ext4\n");
    let lines: String = (0..300_000).map(line).collect();
    let folder = split().with("lvm_logv.list", &lines).with("dev-fs.list", &lines);
    let opened = folder.with("clonezilla-img", vec![b'x'; 5 << 20]).open().unwrap();
    assert_eq!(opened.names(), ["sda1"]);
    assert!(opened.details("text not shown")[0].contains("clonezilla-img"));
    let lines: String = (0..300).map(line).collect();
    says(&split().with("lvm_logv.list", lines), "more than 256 partitions");
    let line = |number: usize| format!("{}  name{number}\n", "ab".repeat(16));
    let lines: String = (0..80_000).map(line).collect();
    assert!(split().with("MD5SUMS", lines).open().is_ok());
}

#[test]
fn many_pieces_are_gathered_in_steps() {
    let mut folder = Folder::new("sda1").with("sda1.dd-ptcl-img.uncomp.aaa", b"0");
    let letters = || b'a'..=b'z';
    for (first, second, third) in letters()
        .take(3)
        .flat_map(|a| letters().flat_map(move |b| letters().map(move |c| (a, b, c))))
    {
        let ending = String::from_utf8(vec![first, second, third]).unwrap();
        folder = folder.with(&format!("sda1.dd-ptcl-img.uncomp.{ending}"), [third]);
    }
    let opened = folder.open().unwrap();
    assert_eq!(opened.contents("sda1").len(), 3 * 26 * 26);
    // As many as two letters count, and no more are asked for.
    let mut folder = Folder::new("sda1");
    for (first, second) in letters().flat_map(|a| letters().map(move |b| (a, b))) {
        let ending = String::from_utf8(vec![first, second]).unwrap();
        folder = folder.with(&format!("sda1.dd-ptcl-img.uncomp.{ending}"), [second]);
    }
    assert_eq!(folder.open().unwrap().contents("sda1").len(), 26 * 26);
}

#[test]
fn storage_that_fails_once_is_asked_again() {
    for name in ["sda1.ext4-ptcl-img.gz.aa", "sda1.ext4-ptcl-img.gz.ac"] {
        let folder = split();
        let host = folder.host();
        let options = OpenOptions::read_only();
        let image = Clonezilla::open(folder.main(), host.clone(), options).unwrap();
        *host.fails.borrow_mut() = Some(name.into());
        assert!(matches!(prepare(&*image), Err(Error::Io(_))));
        prepare(&*image).unwrap();
        assert_eq!(image.disks()[0].size, 58);
    }
}

#[test]
fn what_is_withheld_is_told_apart_from_what_is_missing() {
    let mut folder = split().with("Info-dmi.txt", "secret").with("MD5SUMS", "");
    folder.withheld = ["Info-dmi.txt", "dev-fs.list", "MD5SUMS"].map(String::from).into();
    let opened = folder.open().unwrap();
    assert_eq!(opened.names(), ["sda1"]);
    assert!(opened.image.document("Info-dmi.txt").is_err());
    folder.withheld.insert("sda1.ext4-ptcl-img.gz.ac".into());
    says(&folder, "not granted: sda1.ext4-ptcl-img.gz.ac");
}

#[test]
fn an_image_is_for_reading() {
    let folder = split();
    let open = |options| Clonezilla::open(folder.main(), folder.host(), options).err().unwrap();
    let options = OpenOptions { access: Access::ReadWrite, ..OpenOptions::read_only() };
    assert!(matches!(open(options), Error::Unsupported(_)));
    let options = OpenOptions { snapshot: Some("x".into()), ..OpenOptions::read_only() };
    assert!(matches!(open(options), Error::Missing(_)));
}

#[test]
fn the_entry_is_recognised_by_its_name_and_contents() {
    for (name, head, sure) in [
        ("parts", &b"sda1 nvme0n1p2 cciss/c0d0p1\n"[..], true),
        ("parts", b"", false),
        ("parts", b"<?xml version=\"1.0\"?>", false),
        ("parts", b"\x7fELF\0", false),
        ("disk", b"sda1", false),
        ("sda1.img", b"sda1", false),
    ] {
        let (head, size) = (head.to_vec(), head.len() as u64);
        let glimpse = Glimpse { name: name.into(), size, tail: head.clone(), head };
        let expected = if sure { Confidence::Certain } else { Confidence::No };
        assert_eq!(Clonezilla::probe(&glimpse), expected, "{name} {glimpse:?}");
    }
}

/// A folder with every text.
fn full() -> Folder {
    let table = "label: dos\nlabel-id: 0x1\n/dev/sda1 : start= 1, size= 2, type=83\n";
    let parted = "Number  Start  End  Size  Type  File system     Flags\n 2  1s  2s  1s  primary  linux-swap(v1)\n";
    split()
        .with("parts", "sda1 sda3")
        .with("disk", "sda\n")
        .with("blkdev.list", "KNAME NAME   FSTYPE MOUNTPOINT\nsda3  `-sda3 xfs\n")
        .with("sda-pt.sf", table)
        .with("sda-pt.parted", parted)
        .with("swappt-sda2.info", "UUID=\"1\"\nLABEL=\"a\"\n")
        .with("lvm_vg_dev.list", "vg /dev/sda3 id\n")
        .with("lvm_logv.list", "/dev/vg/lv ext4\n")
        .with("luks-dev.list", "/dev/sda5 id name\n")
        .with("vg-lv.ext4-ptcl-img.zst", b"\x28\xb5\x2f\xfd----")
        .with("MD5SUMS", format!("{}  parts\n", "01".repeat(16)))
}

/// Opens a folder and asks for all that a host would.
fn explore(folder: &Folder) {
    let Ok(opened) = folder.open() else { return };
    let info = opened.image.info();
    for name in &info.documents {
        opened.image.document(name).unwrap();
    }
    for (number, info) in opened.image.disks().iter().enumerate() {
        let mut disk = opened.image.disk(number as u32).unwrap();
        assert_eq!(disk.extents(info.size, 1), Err(Error::OutOfRange));
        check_answer(&disk.extents(0, u64::MAX).unwrap(), 0, info.size).unwrap();
    }
    assert!(!opened.image.disks().is_empty());
}

#[test]
fn every_truncation_is_an_error_or_an_image() {
    let folder = full();
    let opened = folder.open().unwrap();
    assert_eq!(opened.names(), ["sda1", "vg-lv"], "{}", opened.warnings());
    for (name, bytes) in &folder.files {
        for length in 0..bytes.len() {
            explore(&folder.clone().with(name, &bytes[..length]));
        }
        if name != "parts" {
            explore(&folder.clone().without(name));
        }
    }
}

#[test]
fn flipped_bytes_do_no_harm() {
    let folder = full();
    let names: Vec<&String> = folder.files.keys().collect();
    let mut random = Random::new(12);
    for _ in 0..3000 {
        let mut changed = folder.clone();
        for _ in 0..=random.below(3) {
            let name = names[random.below(names.len() as u64) as usize];
            let bytes = changed.files.get_mut(name).unwrap();
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        explore(&changed);
    }
}
