//! Files of version 2 built by hand: the traps that no honest writer sets.

mod common;

use common::second::{
    Builder, CASE, Chunk, DATA, DEVICE, DONE, ENCRYPTED, ERRORS, HASHED, KEYS, MD5, NEXT, RESTART,
    TABLE, bzip2_object, descriptors, errors, object, reseal, seal, single, split, table, text,
};
use common::{Numbers, Set, bzip2, md5, sample, survive};
use fumehood_plugin::{Content, Error};
use miniz_oxide::deflate::compress_to_vec_zlib;

const CHUNK: usize = 32768;

fn one_chunk() -> Builder {
    Builder::new(1, 1).media(1, 64).chunks(0, &[Chunk::Sealed(sample(CHUNK))])
}

/// What is wrong with a file that cannot be opened, and where.
fn corruption(file: Vec<u8>) -> (u64, String) {
    match single(file).open().err().expect("it opened") {
        Error::Corrupt { offset, what, .. } => (offset, what),
        other => panic!("{other:?}"),
    }
}

fn refusal(file: Vec<u8>) -> String {
    match single(file).open().err().expect("it opened") {
        Error::Unsupported(what) => what,
        other => panic!("{other:?}"),
    }
}

/// The warnings of a file that opens all the same.
fn warnings(file: &[u8]) -> Vec<String> {
    let set = single(file.to_vec());
    let warnings = set.open().unwrap().info().warnings;
    let findings = set.open().unwrap().disk(0).unwrap().check(false).unwrap();
    assert!(warnings.len() <= findings.len());
    warnings
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let whole = one_chunk().end(DONE);
    let with = |at: usize, byte: u8| {
        let mut file = whole.clone();
        file[at] = byte;
        file
    };
    let mut logical = whole.clone();
    logical[..8].copy_from_slice(b"LEF2\r\n\x81\0");
    assert!(refusal(logical).contains("Lx01"));
    assert!(refusal(with(8, 3)).contains("version 3.1"));
    assert!(refusal(with(10, 3)).contains("compression method 3"));
    assert!(corruption(with(12, 0)).1.contains("segment number is 0"));
    let file = Builder::new(1, 1)
        .device(&[("ts", "64"), ("bp", "512"), ("dt", "l")])
        .case(&[("sb", "64")])
        .end(DONE);
    assert!(refusal(file).contains("logical"));
    for length in 8..32 {
        assert!(matches!(single(whole[..length].to_vec()).open(), Err(Error::Unrecognised)));
    }
}

#[test]
fn encrypted_evidence_is_refused_by_name() {
    let encrypted = Builder::new(1, 1).stating(DEVICE, HASHED | ENCRYPTED, 0, 16, &[7; 16]);
    assert!(refusal(encrypted.clone().end(DONE)).contains("encrypted"));
    assert!(refusal(encrypted.end(NEXT)).contains("encrypted"));
    assert!(refusal(one_chunk().section(KEYS, &[1; 48]).end(DONE)).contains("encrypted"));
}

#[test]
fn descriptors_lead_back_and_nowhere_else() {
    let builder = one_chunk();
    let (last, end) = (builder.last, builder.file.len() as u64);
    // To itself, behind itself, into the header, into other data, and out of the file.
    for previous in [end, end + 64, 1, 31, last + 1, last - 1, u64::MAX, u64::MAX - 63] {
        let file = builder.clone().stating(DONE, 0, previous, 0, &[]).file;
        corruption(file);
    }
    for size in [end - 31, end, u64::MAX, 1 << 63] {
        let (offset, what) = corruption(builder.clone().stating(DONE, 0, 0, size, &[]).file);
        assert_eq!(offset, end);
        assert!(what.contains("expected it to end before"), "{what}");
    }
    // Of two sections that can be told from one descriptor, none is shown.
    let file = builder.clone().stating(MD5, 0, last, 16, &[0; 32]).end(DONE);
    assert!(corruption(file).1.contains("16 more"));
    // A descriptor of another length, and one whose checksum is wrong.
    let mut file = builder.clone().end(DONE);
    let at = file.len() - 64;
    file[at + 24] = 65;
    reseal(&mut file, at);
    assert!(corruption(file).1.contains("65 bytes"));
    let mut file = builder.end(DONE);
    file[at + 50] = 1;
    let (offset, what) = corruption(file);
    assert!(offset == at as u64 && what.contains("checksum") && what.contains("cut short"));
}

#[test]
fn sections_before_a_broken_one_are_lost_and_no_others() {
    let bytes = sample(2 * CHUNK);
    let chunk = |part: usize| [Chunk::Sealed(bytes[part * CHUNK..][..CHUNK].to_vec())];
    let first = Builder::new(1, 1).media(2, 128).chunks(0, &chunk(0)).end(NEXT);
    let mut second = Builder::new(2, 1).media(2, 128).chunks(1, &chunk(1)).end(DONE);
    let at = descriptors(&second)[3];
    second[at] ^= 1;
    let set = Set::new(&vec![("a.Ex01".into(), first), ("a.Ex02".into(), second)]);
    assert!(set.contents().unwrap().1 == bytes);
    let warnings = set.open().unwrap().info().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("a.Ex02 at"), "{warnings:?}");
}

#[test]
fn impossible_measures_are_refused() {
    let good = [("ts", "64"), ("bp", "512"), ("sb", "64"), ("tb", "1")];
    for (tag, value, said) in [
        ("ts", "", "nothing for ts"),
        ("ts", "65", "65 sectors"),
        ("ts", "18446744073709551615", "sectors"),
        ("ts", "18446744073709551616", "expected a number"),
        ("ts", "-1", "expected a number"),
        ("bp", "", "nothing for bp"),
        ("bp", "0", "0 bytes a sector"),
        ("bp", "513", "513 bytes a sector"),
        ("bp", "4294967808", "bytes a sector"),
        ("sb", "", "nothing for sb"),
        ("sb", "0", "0 sectors a chunk"),
        ("sb", "32769", "32769 sectors a chunk"),
        ("sb", "4294967360", "sectors a chunk"),
        ("tb", "0", "hold only 0"),
        ("tb", "one", "expected a number"),
    ] {
        let values = good.map(|(own, kept)| (own, if own == tag { value } else { kept }));
        let file = Builder::new(1, 1).device(&values).case(&values).end(DONE);
        let (_, what) = corruption(file);
        assert!(what.contains(said), "{tag}={value}: {what}");
    }
    let none = [("tb", "9223372036854775807"), ("ts", "18446744073709551615")];
    let values = good.map(|(own, kept)| match none.iter().find(|(tag, _)| *tag == own) {
        Some(found) => *found,
        None => (own, kept),
    });
    let (_, what) = corruption(Builder::new(1, 1).device(&values).case(&values).end(DONE));
    assert!(what.contains("no disk has"), "{what}");
    for file in [
        Builder::new(1, 1).end(DONE),
        Builder::new(1, 1).device(&good).end(DONE),
        Builder::new(1, 1).case(&good).end(DONE),
    ] {
        assert!(corruption(file).1.contains("no device information"));
    }
}

#[test]
fn broken_texts_are_refused_and_bombs_stop() {
    for data in [vec![], vec![0; 64], text("")[..10].to_vec(), text("1\nmain\n")] {
        let file = Builder::new(1, 1).section(DEVICE, &data).case(&[("sb", "64")]).end(DONE);
        corruption(file);
    }
    let bomb = compress_to_vec_zlib(&vec![b'\n'; 300 << 10], 9);
    let file = Builder::new(1, 1).section(DEVICE, &bomb).section(CASE, &bomb).end(DONE);
    assert!(corruption(file).1.contains("longer than"));
}

#[test]
fn hashes_of_sections_are_compared() {
    let whole = one_chunk().section(ERRORS, &errors(&[(1, 1)])).section(MD5, &seal(md5(&[])));
    let whole = whole.end(DONE);
    let found = descriptors(&whole);
    let wrong = |number: usize| {
        let mut file = whole.clone();
        let at = found[found.len() - 1 - number];
        file[at + 32] ^= 1;
        let sum = adler2::adler32_slice(&file[at..at + 60]);
        file[at + 60..at + 64].copy_from_slice(&sum.to_le_bytes());
        file
    };
    for number in [0, 1] {
        assert!(corruption(wrong(number)).1.contains("MD5"));
    }
    // Sector data is the host's to verify, chunk by chunk.
    assert_eq!(warnings(&wrong(2)), [""; 0]);
    let table = single(wrong(3));
    assert_eq!(table.readable(CHUNK as u64), [false]);
    let findings = table.open().unwrap().disk(0).unwrap().check(false).unwrap();
    assert!(findings.iter().any(|finding| finding.what.contains("states")), "{findings:?}");
    for number in [4, 5] {
        let warnings = warnings(&wrong(number));
        assert!(warnings.len() == 1 && warnings[0].contains("MD5"), "{warnings:?}");
    }
    assert_eq!(single(wrong(5)).open().unwrap().disks()[0].digests, []);
}

#[test]
fn tables_that_place_the_same_chunk_are_refused() {
    let chunks = |part: usize| [Chunk::Fill([part as u8; 8]), Chunk::Fill([9; 8])];
    let builder = Builder::new(1, 1).media(4, 256).chunks(0, &chunks(0));
    let file = builder.clone().chunks(1, &chunks(1)).end(DONE);
    let (_, what) = corruption(file);
    assert!(what.contains("begins with chunk 1"), "{what}");
    let (_, what) = corruption(builder.clone().chunks(0, &chunks(0)).end(DONE));
    assert!(what.contains("begins with chunk 0"), "{what}");
    // In another order, and with a gap, they are as good.
    let file = Builder::new(1, 1).media(4, 256).chunks(2, &chunks(2)).chunks(0, &chunks(0));
    assert_eq!(single(file.clone().end(DONE)).readable(CHUNK as u64), [true; 4]);
    let file = builder.chunks(3, &chunks(3)[..1]).end(DONE);
    assert_eq!(single(file.clone()).readable(CHUNK as u64), [true, true, false, true]);
    assert_eq!(warnings(&file), ["the tables place 3 chunks, the image states 4"]);
}

#[test]
fn more_entries_than_room_are_not_believed() {
    for (first, count) in [(0u64, u32::MAX), (0, 2), (1 << 62, 1), (u64::MAX, 1)] {
        let mut header = first.to_le_bytes().to_vec();
        header.extend(count.to_le_bytes());
        header.extend([0; 4]);
        let data = [seal(header), vec![0; 12], seal(vec![0; 16])].concat();
        let file = Builder::new(1, 1).media(1, 64).section(TABLE, &data).end(DONE);
        assert_eq!(warnings(&file).len(), 2);
        assert_eq!(single(file).readable(CHUNK as u64), [false]);
    }
    let lists = errors(&[(1, 1)])[..40].to_vec();
    let file = one_chunk().section(ERRORS, &lists).end(DONE);
    assert_eq!(warnings(&file).len(), 1);
    for (kind, data) in [(MD5, vec![]), (MD5, vec![1; 16]), (TABLE, vec![]), (ERRORS, vec![])] {
        assert_eq!(warnings(&one_chunk().section(kind, &data).end(DONE)).len(), 1);
    }
}

#[test]
fn entries_outside_and_short_chunks_damage_only_themselves() {
    let end = 1 << 40;
    let chunks = [
        Chunk::Entry(end, 32772, 2),
        Chunk::Entry(u64::MAX, u32::MAX, 1),
        Chunk::Sealed(sample(CHUNK)),
        // Too short, with flags that are not known, and compressed in no stream.
        Chunk::Entry(400, 100, 2),
        Chunk::Entry(400, 32772, 8),
        Chunk::Entry(400, 0, 1),
        Chunk::Entry(400, 100, 0),
        Chunk::Fill([1; 8]),
    ];
    let file = Builder::new(1, 1).media(8, 512).chunks(0, &chunks).end(DONE);
    let set = single(file);
    let expected = [false, false, true, false, false, false, false, true];
    assert_eq!(set.readable(CHUNK as u64), expected);
    let findings = set.open().unwrap().disk(0).unwrap().check(false).unwrap();
    assert_eq!(findings.len(), 5, "{findings:?}");
    assert!(findings[3].what.contains("flags 0x8"), "{findings:?}");
}

#[test]
fn large_windows_are_answered_in_parts() {
    let count = 70_000u32;
    let entries: Vec<_> = (0..count).map(|number| (400 + u64::from(number % 7), 40, 1)).collect();
    let sectors = u64::from(count) * 64;
    let file = Builder::new(1, 1).media(count.into(), sectors).section(DATA, &[0; 4096]);
    let file = file.section(TABLE, &table(0, &entries)).end(DONE);
    let mut disk = single(file).open().unwrap().disk(0).unwrap();
    assert_eq!(disk.extents(0, u64::MAX).unwrap().len(), 16384);
    let window = disk.extents(60_000 * 32768 + 7, 64 << 20).unwrap();
    assert_eq!((window[0].offset, window.len()), (60_000 * 32768, 2049));
    let Content::Encoded(encoded) = &window[0].content else { panic!() };
    assert_eq!((encoded.offset, encoded.stored_length), (400 + 60_000 % 7, 40));
    assert_eq!(disk.extents(u64::from(count) * 32768, 1), Err(Error::OutOfRange));
}

#[test]
fn a_flipped_byte_fails_its_chunk_alone() {
    let bytes = sample(8 * CHUNK);
    let chunks: Vec<Chunk> = bytes
        .chunks(CHUNK)
        .enumerate()
        .map(|(number, bytes)| match number % 2 {
            0 => Chunk::Sealed(bytes.to_vec()),
            _ => Chunk::Packed(bytes.to_vec()),
        })
        .collect();
    let file = Builder::new(1, 1).media(8, 512).chunks(0, &chunks).end(DONE);
    let mut disk = single(file.clone()).open().unwrap().disk(0).unwrap();
    for (number, extent) in disk.extents(0, u64::MAX).unwrap().into_iter().enumerate() {
        let Content::Encoded(encoded) = extent.content else { panic!() };
        let mut file = file.clone();
        file[encoded.offset as usize + 5] ^= 0x10;
        let expected: Vec<bool> = (0..8).map(|other| other != number).collect();
        assert_eq!(single(file).readable(CHUNK as u64), expected, "{number}");
    }
}

#[test]
fn every_truncation_is_survived() {
    let bytes = sample(7 * 512 * 16);
    let files = split(&bytes, CHUNK, 1, "a.Ex");
    assert_eq!(files.len(), 2);
    for number in 0..files.len() {
        let length = files[number].1.len();
        let ends = (0..length.min(1500)).chain((1500..length).step_by(61));
        for end in ends.chain(length.saturating_sub(1500)..length) {
            let mut cut = files.clone();
            cut[number].1.truncate(end);
            survive(&Set::new(&cut));
        }
    }
}

#[test]
fn thousands_of_mutations_are_survived() {
    let mut numbers = Numbers(88_172_645_463_325_252);
    let mut bytes = sample(4 * CHUNK);
    bytes[..CHUNK].fill(3);
    let files = split(&bytes, CHUNK, 4, "a.Ex");
    let found = descriptors(&files[0].1);
    let mut opened = 0;
    for _ in 0..6000 {
        let mut mutant = files.clone();
        let file = &mut mutant[0].1;
        for _ in 0..=numbers.below(4) {
            // Around the descriptors: in them, or in what stands before them.
            let near = found[numbers.below(found.len())] + 64;
            let at = near.saturating_sub(numbers.below(200)).min(file.len() - 1);
            file[at] = [0, 0xff, 0x7f, 0x80, numbers.below(256) as u8][numbers.below(5)];
        }
        // Half of them with checksums made good, so that more than these is tried.
        if numbers.below(2) == 0 {
            found.iter().for_each(|at| reseal(file, *at));
        }
        opened += usize::from(survive(&Set::new(&mutant)));
    }
    assert!(opened > 500, "{opened}");
}

#[test]
fn values_are_no_names_of_files() {
    // What the texts say reaches no host: only names of the series are asked for.
    let device = object(&[("ts", "64"), ("bp", "512"), ("md", "/etc/passwd"), ("lb", "../x")]);
    let file = Builder::new(1, 1).section(DEVICE, &device).case(&[("sb", "64")]);
    let file = file.chunks(0, &[Chunk::Fill([0; 8])]).end(NEXT);
    let set = Set::new(&vec![("a.Ex01".into(), file), ("/etc/passwd".into(), vec![])]);
    assert_eq!(set.open().unwrap().info().warnings, ["segment a.Ex02 is missing"]);
}

/// What the plugin unpacks of a text in a set that names bzip2: a document shows it.
fn unpacked(stream: &[u8]) -> Result<Vec<u8>, Error> {
    let file = Builder::with_header(2, 2, 1, 5)
        .section(DEVICE, &bzip2_object(&[("ts", "64"), ("bp", "512")]))
        .section(CASE, &bzip2_object(&[("sb", "64")]))
        .section(RESTART, stream)
        .end(DONE);
    single(file).open().unwrap().document("restart.txt")
}

#[test]
fn bzip2_unpacks_what_the_tool_packs() {
    let mut numbers = Numbers(99);
    let noise: Vec<u8> = (0..500_000).map(|_| b' ' + numbers.below(95) as u8).collect();
    let runs: Vec<u8> = (0..90_000usize).flat_map(|n| vec![b'a' + (n % 7) as u8; n % 13]).collect();
    let lines = (0..9999).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    for plain in [vec![], vec![b'x'], vec![b'y'; 2_000_000], noise, runs, lines] {
        let wide: Vec<u8> = plain.iter().flat_map(|byte| [*byte, 0]).collect();
        for level in ["-1", "-9"] {
            assert!(unpacked(&bzip2(&wide, level).unwrap()).unwrap() == plain);
        }
    }
}

#[test]
fn broken_bzip2_is_refused() {
    let mut numbers = Numbers(99);
    let stream = bzip2(&sample(20_000), "-9").unwrap();
    for end in (0..stream.len() - 10).step_by(97) {
        assert!(matches!(unpacked(&stream[..end]), Err(Error::Corrupt { .. })), "{end}");
    }
    for _ in 0..300 {
        let mut mutant = stream.clone();
        // The checksum of the whole, at the end, says nothing that those of blocks do not.
        mutant[numbers.below(stream.len() - 10)] ^= 1 << numbers.below(8);
        let found = unpacked(&mutant);
        assert!(found.is_err() || mutant[3] != stream[3], "{found:?}");
    }
    let bomb = bzip2(&vec![0; 20 << 20], "-9").unwrap();
    let Err(Error::Corrupt { what, .. }) = unpacked(&bomb) else { panic!() };
    assert!(what.contains("longer"), "{what}");
    // As EnCase's description has it; no writer of such is known.
    let Err(Error::Corrupt { what, .. }) = unpacked(&stream[4..]) else { panic!() };
    assert!(what.contains("without a stream"), "{what}");
}
