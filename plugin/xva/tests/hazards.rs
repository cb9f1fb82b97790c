//! Exports built by hand: the traps that no honest writer sets, and exports that end too
//! early.

mod common;

use common::generator::{Sum, Tar, Vdi, around, disk, manifest, object, seal, text};
use common::{contents, open, refusal, survive};
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Content, Error, Format, Glimpse};
use fumehood_xva::Xva;

/// Less than the usual, which is soon done.
const CHUNK: usize = 1 << 16;
const SIZE: usize = 3 * CHUNK + 700;
/// For what is about numbers and not about bytes.
const SMALL: u64 = 4096;

/// An export of one disk of so many bytes, without its chunks.
fn begin(size: u64) -> Tar {
    let mut tar = Tar { chunk: CHUNK, ..Tar::new() };
    tar.file("ova.xml", manifest(&[Vdi("Ref:1", "a", size, "0")]).as_bytes());
    tar
}

fn whole() -> Vec<u8> {
    let mut tar = begin(SIZE as u64);
    tar.disk("Ref:1", &disk(SIZE, CHUNK, 4), Sum::Xxhash, &[]);
    tar.end()
}

/// The same for a disk of four chunks of a kibibyte each.
fn small(chunks: &[(u64, usize)]) -> Vec<u8> {
    let mut tar = begin(SMALL);
    chunks
        .iter()
        .for_each(|(number, length)| tar.chunk("Ref:1", *number, &vec![1; *length], Sum::Sha1));
    tar.end()
}

fn expect_corrupt(bytes: &[u8], phrase: &str) {
    match refusal(bytes) {
        Error::Corrupt { offset, what, .. } => {
            assert!(offset < bytes.len() as u64 && what.contains(phrase), "{offset}: {what}");
        }
        other => panic!("{phrase}: {other}"),
    }
}

fn expect_unsupported(bytes: &[u8], phrase: &str) {
    let refused = refusal(bytes);
    assert!(matches!(&refused, Error::Unsupported(what) if what.contains(phrase)), "{refused}");
}

#[test]
fn only_exports_are_claimed() {
    let glimpse = |head: &[u8]| Glimpse { head: head.to_vec(), ..Glimpse::default() };
    assert_eq!(Xva::probe(&glimpse(&whole()[..65536])), Confidence::Certain);
    assert_eq!(Xva::probe(&glimpse(&whole()[..512])), Confidence::Certain);
    let mut appliance = Tar::new();
    appliance.file("machine.ovf", b"<Envelope/>");
    appliance.file("ova.xml", b"");
    let appliance = appliance.end();
    for other in [&b""[..], b"ova.xml", &appliance, &[0; 4096], &whole()[..511]] {
        assert_eq!(Xva::probe(&glimpse(other)), Confidence::No);
        assert!(open(other).is_err());
    }
    assert_eq!(refusal(&appliance), Error::Unrecognised);
    let mut changed = whole();
    changed[1] ^= 1;
    assert_eq!(Xva::probe(&glimpse(&changed)), Confidence::No);
    expect_corrupt(&changed, "checksum");
    expect_corrupt(&whole()[..700], "first file");
}

#[test]
fn numbers_count_as_the_importer_counts() {
    // By number and length: a short chunk, an empty one, a gap behind it.
    let bytes = small(&[(0, 1024), (1, 0), (2, 512), (4, 1024), (5, 512)]);
    let image = open(&bytes).unwrap();
    let found = contents(&*image, &bytes, 0).unwrap();
    let expected = [vec![1; 1536], vec![0; 1024], vec![1; 1536]].concat();
    assert!(found == expected);
    // Empty ones at the end move nothing; what is left out before them is zero.
    let bytes = small(&[(0, 1024), (4, 0), (5, 0)]);
    let found = contents(&*open(&bytes).unwrap(), &bytes, 0).unwrap();
    assert!(found == [vec![1; 1024], vec![0; 3072]].concat());
    // The first length is that of the archive, not that of the disk.
    let mut tar = Tar::new();
    let disks = [Vdi("Ref:1", "a", 512, "0"), Vdi("Ref:2", "b", 2048, "1")];
    tar.file("ova.xml", manifest(&disks).as_bytes());
    tar.chunk("Ref:1", 0, &[1; 512], Sum::None);
    tar.chunk("Ref:2", 0, &[1; 1024], Sum::None);
    tar.chunk("Ref:2", 2, &[1; 512], Sum::None);
    let bytes = tar.end();
    let found = contents(&*open(&bytes).unwrap(), &bytes, 1).unwrap();
    assert!(found == [vec![1; 1024], vec![0; 512], vec![1; 512]].concat());
}

#[test]
fn chunks_that_cannot_be_are_refused() {
    expect_corrupt(&small(&[(0, 0), (1, 1024)]), "empty");
    expect_corrupt(&small(&[(0, 1024), (0, 1024)]), "comes where 1");
    expect_corrupt(&small(&[(3, 1024), (2, 1024)]), "comes where 4");
    expect_corrupt(&small(&[(0, 1024), (4, 1)]), "reaches to 4097");
    expect_corrupt(&small(&[(0, 1024), (6, 0)]), "reaches to 6144");
    expect_corrupt(&small(&[(0, 4097)]), "reaches to 4097");
    expect_corrupt(&small(&[(0, 1024), ((1 << 31) + 1, 1)]), "too large a number");
    expect_corrupt(&small(&[(0, 1024), (u64::MAX, 1)]), "too large a number");
    let foreign = |folder: &str| {
        let mut tar = begin(SMALL);
        tar.chunk(folder, 0, &[1; 1024], Sum::None);
        tar.end()
    };
    for folder in ["Ref:2", "Ref:12", "Ref:", "/etc", "..", "Ref:1/..", "Ref:1/"] {
        expect_corrupt(&foreign(folder), "no disk in ova.xml");
    }
    let mut tar = begin(SMALL);
    tar.raw("Ref:1/00000000", b'2', &[]);
    expect_corrupt(&tar.end(), "is no file");
    // The chunks of a disk in two places.
    let mut tar = Tar::new();
    let disks = [Vdi("Ref:1", "a", SMALL, "0"), Vdi("Ref:2", "b", SMALL, "1")];
    tar.file("ova.xml", manifest(&disks).as_bytes());
    for (disk, number) in [("Ref:1", 0), ("Ref:2", 0), ("Ref:1", 1)] {
        tar.chunk(disk, number, &[1; 1024], Sum::None);
    }
    expect_corrupt(&tar.end(), "not among the others");
}

#[test]
fn checksums_follow_their_chunks() {
    let with = |name: &str, text: &[u8]| {
        let mut tar = begin(1024);
        tar.chunk("Ref:1", 0, &[1; 1024], Sum::None);
        tar.file(name, text);
        tar.end()
    };
    assert!(open(&with("Ref:1/00000000.checksum", &[b'a'; 40])).is_ok());
    assert!(open(&with("Ref:1/00000000.xxhash", b"0123456789ABCDEF\n")).is_ok());
    expect_corrupt(&with("Ref:1/00000001.xxhash", &[b'a'; 16]), "does not follow");
    expect_corrupt(&with("Ref:1/00000000.xxhash", &[b'a'; 40]), "no hexadecimal");
    expect_corrupt(&with("Ref:1/00000000.checksum", &[b'a'; 16]), "no hexadecimal");
    expect_corrupt(&with("Ref:1/00000000.checksum", &[b'x'; 40]), "no hexadecimal");
    expect_corrupt(&with("Ref:1/00000000.checksum", &[]), "no hexadecimal");
    expect_corrupt(&with("Ref:1/00000000.checksum", &[b'a'; 5000]), "no hexadecimal");
    let mut tar = begin(1024);
    tar.file("Ref:1/00000000.xxhash", &[b'a'; 16]);
    expect_corrupt(&tar.end(), "does not follow");
}

#[test]
fn members_that_cannot_be_are_refused() {
    let with_size = |size: &[u8]| {
        let mut tar = begin(SMALL);
        tar.chunk("Ref:1", 0, &[1; 1024], Sum::None);
        tar.header("Ref:1/00000001", b'0', size);
        tar.data(&[1; 1024]);
        tar.end()
    };
    for size in [&b"0000000000x\0"[..], b"-0000000001\0", &[0xff; 12], &[0; 12], b"00000000009\0"] {
        expect_corrupt(&with_size(size), "size");
    }
    // Past the end of the file, and of all numbers.
    for size in [&b"77777777777\0"[..], b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let image = open(&with_size(size)).unwrap();
        assert_eq!(image.info().warnings.len(), 2, "{:?}", image.info());
    }
    let mut tar = begin(100 << 20);
    tar.chunk("Ref:1", 0, &vec![0; (64 << 20) + 1], Sum::None);
    expect_unsupported(&tar.end(), "over 67108864");
    let mut tar = begin(SMALL);
    tar.raw("Ref:1/00000000", b'S', &[1; 1024]);
    expect_unsupported(&tar.end(), "holes left out");
    let mut tar = begin(SMALL);
    tar.raw("PaxHeaders/1", b'x', b"22 GNU.sparse.major=1\n");
    expect_unsupported(&tar.end(), "holes left out");
    for (kind, data) in [(b'x', vec![b'1'; 70_000]), (b'L', vec![b'a'; 70_000])] {
        let mut tar = begin(SMALL);
        tar.raw("x", kind, &data);
        expect_corrupt(&tar.end(), "of 70000 bytes");
    }
    let mut tar = begin(SMALL);
    tar.raw("x", b'x', b"99 path=Ref:1/00000000\n");
    expect_corrupt(&tar.end(), "without records");
    let mut changed = whole();
    let second = changed.windows(14).position(|part| part == b"Ref:1/00000000").unwrap();
    changed[second + 3] ^= 1;
    expect_corrupt(&changed, "checksum of a tar header");
}

#[test]
fn long_names_and_sizes_beside_the_header_count() {
    let mut tar = begin(1024);
    tar.raw("././@LongLink", b'L', b"./Ref:1/00000000\0");
    tar.file("something else", &[1; 512]);
    tar.raw("PaxHeaders/1", b'x', b"23 path=Ref:1/00000001\n12 size=512\n");
    tar.header("Ref:1/0", b'0', b"00000000000\0");
    tar.data(&[2; 512]);
    tar.raw("pax_global_header", b'g', b"16 comment=other\n");
    tar.raw("Ref:1/", b'5', &[]);
    let bytes = tar.end();
    let image = open(&bytes).unwrap();
    assert_eq!(image.info().warnings, [""; 0]);
    assert!(contents(&*image, &bytes, 0).unwrap() == [[1; 512], [2; 512]].concat());
}

#[test]
fn manifests_that_cannot_be_are_refused() {
    let with = |text: &str| {
        let mut tar = Tar::new();
        tar.file("ova.xml", text.as_bytes());
        tar.end()
    };
    for bad in ["", "<", "<value/>", "<value><struct></struct></value>", "<a><b></a></b>"] {
        expect_corrupt(&with(bad), "ova.xml");
    }
    let entities = "<!DOCTYPE value [<!ENTITY a \"b\">]><value>&a;</value>";
    expect_corrupt(&with(entities), "DTD");
    let file = "<!DOCTYPE value [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><value>&a;</value>";
    expect_corrupt(&with(file), "DTD");
    let mut tar = Tar::new();
    tar.file("ova.xml", b"<value>\xff</value>");
    expect_corrupt(&tar.end(), "UTF-8");
    expect_unsupported(&with("<appliance version=\"0.1\"><vm name=\"a\"/></appliance>"), "2007");
    expect_unsupported(&with(&" ".repeat((4 << 20) + 1)), "ova.xml of");
    expect_corrupt(&with(&format!("<value>{}</value>", "<a/>".repeat(400_000))), "limit");
    // Deep, which must not cost stack.
    let deep = 100_000;
    let deep = format!("{}{}", "<value>".repeat(deep), "</value>".repeat(deep));
    expect_corrupt(&with(&deep), "no objects");
    let vdi = |id: &str, size: &str| object("VDI", id, &text("virtual_size", size));
    for size in ["", "-1", "x", "9223372036854775808", "99999999999999999999", "1e3"] {
        expect_corrupt(&with(&around(&vdi("Ref:1", size))), "Ref:1 of");
    }
    expect_corrupt(&with(&around(&vdi("Ref:1", "1").repeat(2))), "two disks are called Ref:1");
    let many: String = (0..4097).map(|number| vdi(&format!("Ref:{number}"), "1")).collect();
    expect_unsupported(&with(&around(&many)), "4096 disks");
    assert_eq!(open(&with(&around(""))).unwrap().disks(), []);
    assert_eq!(open(&with(&around("<value>x</value><b/>"))).unwrap().disks(), []);
}

#[test]
fn names_are_made_harmless_and_told_apart() {
    let disks = [
        Vdi("Ref:1", "disk\u{202e}\u{7}", 1024, "0"),
        Vdi("Ref:2", "same", 1024, "2"),
        Vdi("Ref:3", "same", 1024, "1"),
        Vdi("Ref:4", "", 1024, "x"),
    ];
    let mut tar = Tar::new();
    // A bell cannot stand in XML.
    tar.file("ova.xml", manifest(&disks).replace('\u{7}', "").as_bytes());
    for id in ["Ref:1", "Ref:2", "Ref:3", "Ref:4"] {
        tar.chunk(id, 0, &[1; 1024], Sum::None);
    }
    let image = open(&tar.end()).unwrap();
    let names: Vec<_> = image.disks().into_iter().map(|disk| disk.name).collect();
    assert_eq!(names, ["disk", "same Ref:3", "same Ref:2", "Ref:4"]);
}

#[test]
fn what_was_cut_off_is_damaged_and_the_rest_is_read() {
    // The chunks 0, 3, 4 and 5 are there, each with its checksum.
    let size = 5 * CHUNK + 700;
    let expected = disk(size, CHUNK, 4);
    let mut tar = begin(size as u64);
    tar.disk("Ref:1", &expected, Sum::Xxhash, &[]);
    let bytes = tar.end();
    let is_header = |at: &usize| bytes[*at..].starts_with(b"Ref:1/000");
    let at: Vec<usize> = (0..bytes.len()).step_by(512).filter(is_header).collect();
    assert_eq!(at.len(), 8);
    // Where the file ends, how much of the disk is known, how many warnings there are.
    for (end, known, warnings) in [
        (at[0], 0, 1),
        (at[0] + 100, 0, 2),
        (at[1] - 1, 0, 2),
        (at[1], CHUNK, 1),
        (at[1] + 520, CHUNK, 2),
        (at[2], CHUNK, 1),
        // What was left out before a chunk is zero once that is there.
        (at[3] - 1, CHUNK, 2),
        (at[3], 4 * CHUNK, 1),
        (at[5], 5 * CHUNK, 1),
        (at[6] + 512 + 699, 5 * CHUNK, 2),
        (at[6] + 512 + 700, size, 0),
        (at[7] + 10, size, 1),
    ] {
        for zeroes in [0, if end % 512 == 0 { 1024 } else { 0 }] {
            let bytes = [&bytes[..end], &vec![0; zeroes]].concat();
            let image = open(&bytes).unwrap();
            let told = image.info().warnings;
            assert_eq!(told.len(), warnings, "{end}: {told:?}");
            let mut disk = image.disk(0).unwrap();
            let range = (0, known as u64);
            let found = common::read(&mut *disk, &common::source(&bytes), size as u64, range);
            assert!(found.unwrap() == expected[..known], "{end}");
            if known == size {
                continue;
            }
            let extents = disk.extents(known as u64, u64::MAX).unwrap();
            let [lost] = extents.as_slice() else { panic!("{extents:?}") };
            assert!(matches!(&lost.content, Content::Damaged(what) if what.contains("Ref:1")));
            assert_eq!((lost.offset, lost.end()), (known as u64, size as u64));
            assert_eq!(disk.check(false).unwrap()[0].offset, known as u64);
            let missing = format!("last {} of {size} bytes", size - known);
            assert!(told.last().unwrap().contains(&missing), "{told:?}");
        }
    }
}

#[test]
fn disks_that_are_not_there_are_told() {
    let suspended = text("suspend_VDI", "Ref:5") + &text("name_label", "m");
    let vdi = |id: &str| object("VDI", id, &text("virtual_size", "1024"));
    let vbd = text("VDI", "Ref:6") + &text("type", "Disk");
    let nothing = text("VDI", "OpaqueRef:NULL") + &text("type", "CD");
    let objects = [
        object("VM", "Ref:0", &suspended),
        vdi("Ref:5"),
        vdi("Ref:6"),
        vdi("Ref:7"),
        object("VBD", "Ref:1", &vbd),
        object("VBD", "Ref:2", &nothing),
    ];
    let mut tar = Tar::new();
    tar.file("ova.xml", around(&objects.concat()).as_bytes());
    tar.chunk("Ref:5", 0, &[1; 1024], Sum::None);
    tar.file("notes.txt", b"not ours");
    let image = open(&tar.end()).unwrap();
    let disks = image.disks();
    let names: Vec<_> = disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["Ref:6", "Ref:5"]);
    let memory = ("holds".to_string(), "the memory of a suspended machine".to_string());
    assert!(disks[1].details.contains(&memory));
    let warnings = image.info().warnings;
    assert!(
        warnings.len() == 2 && warnings[0].contains("Ref:6") && warnings[1].contains("1 members")
    );
}

#[test]
fn changed_bytes_do_no_harm() {
    let mut tar = Tar::new();
    let disks = [Vdi("Ref:1", "a", 5000, "0"), Vdi("Ref:2", "b", 2048, "1")];
    tar.file("ova.xml", manifest(&disks).as_bytes());
    tar.chunk("Ref:1", 0, &[1; 1024], Sum::Sha1);
    tar.chunk("Ref:1", 2, &[], Sum::Sha1);
    tar.raw("PaxHeaders/1", b'x', b"23 path=Ref:1/00000003\n");
    tar.chunk("Ref:1", 3, &[1; 1024], Sum::Sha1);
    tar.chunk("Ref:1", 4, &[1; 904], Sum::None);
    tar.chunk("Ref:2", 0, &[1; 1024], Sum::Xxhash);
    tar.chunk("Ref:2", 1, &[1; 1024], Sum::Xxhash);
    let whole = tar.end();
    let mut random = Random::new(17);
    let mut opened = 0;
    for _ in 0..4000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(3) {
            let blocks = bytes.len() as u64 / 512;
            let block = random.below(blocks) as usize * 512;
            let length = if random.one_in(3) { 512 } else { 160 };
            let place = block + random.below(length) as usize;
            bytes[place] ^= 1 << random.below(8);
            if !random.one_in(4) && bytes[block + 100] == b'0' {
                seal(&mut bytes[block..block + 512]);
            }
        }
        if random.one_in(4) {
            bytes.truncate(random.below(bytes.len() as u64) as usize);
        }
        opened += usize::from(survive(&bytes));
    }
    assert!(opened > 500, "{opened}");
}
