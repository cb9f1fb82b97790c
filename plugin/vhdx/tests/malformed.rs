//! Images damaged by hand and by chance: typed errors that say where, and whatever the
//! bytes, no panic, no endless loop, and no answer that breaks the contract's rules.

mod support;

use std::time::Instant;

use fumehood_plugin::memory::check_answer;
use fumehood_plugin::simulate::{JournalSource, Random};
use fumehood_plugin::{Content, Error, Parent};
use fumehood_test_support::damage::rounds;
use support::{contents, created, findings, open, open_read, opened, settings};

const MIB: usize = 1 << 20;
/// Where an image made here with a log of 1 MiB keeps its structures.
const HEADERS: [usize; 2] = [64 << 10, 128 << 10];
const REGIONS: [usize; 2] = [192 << 10, 256 << 10];
const LOG: usize = MIB;
const METADATA: usize = 2 * MIB;
const ITEMS: usize = METADATA + (64 << 10);
const BAT: usize = 3 * MIB;

fn crc(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    };
    !bytes.iter().fold(!0, step)
}

fn put(image: &mut [u8], offset: usize, bytes: &[u8]) {
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// Puts the checksum of a structure where it belongs.
fn seal(image: &mut [u8], offset: usize, length: usize) {
    put(image, offset + 4, &[0; 4]);
    let sum = crc(&image[offset..offset + length]).to_le_bytes();
    put(image, offset + 4, &sum);
}

/// A closed image: a block in use, zeroes, nothing, a block in use.
fn sound() -> Vec<u8> {
    let (source, mut host) = created(&settings(4 << 20, &[("block_size", "1M")]), &[]);
    host.write(512, &[1; 512]).unwrap();
    host.write(3 << 20, &[4; 1024]).unwrap();
    host.flush().unwrap();
    host.write(1 << 20, &[2; 512]).unwrap();
    host.flush().unwrap();
    host.zero(1 << 20, 1 << 20, true).unwrap();
    host.close().unwrap();
    source.bytes()
}

/// An image that was not closed, with sectors of a parent's.
fn differencing() -> Vec<u8> {
    let mut options = settings(4 << 20, &[("block_size", "1M")]);
    options.parent = Some(Parent {
        references: vec!["p.vhdx".into()],
        identities: vec!["11111111-2222-4333-8444-555555555555".into()],
        format: None,
    });
    let (source, mut host) = created(&options, &[9; 4 << 20]);
    host.write(512, &[1; 512]).unwrap();
    host.write(1 << 20, &[1; 1 << 20]).unwrap();
    host.zero(3 << 20, 1 << 20, true).unwrap();
    host.flush().unwrap();
    host.write(2 << 20, &[3; 1024]).unwrap();
    host.flush().unwrap();
    source.bytes()
}

type Change = fn(&mut Vec<u8>);

fn error_after(change: Change) -> Option<Error> {
    let mut image = sound();
    change(&mut image);
    for (start, length) in [(REGIONS[0], 65536), (HEADERS[0], 4096), (HEADERS[1], 4096)] {
        if image.len() >= start + length {
            seal(&mut image, start, length);
        }
    }
    open_read(&image).err()
}

#[test]
fn what_cannot_be_is_refused_by_its_place() {
    let corrupt: [(u64, &str, Change); 22] = [
        (HEADERS[0] as u64, "valid header", |i| {
            HEADERS.into_iter().for_each(|at| put(i, at, b"hEad"));
        }),
        (0, "inside the file", |i| i.truncate(BAT)),
        (1000, "at least 1 MiB", |i| i.truncate(1000)),
        (0, "log", |i| HEADERS.into_iter().for_each(|at| put(i, at + 72, &[1]))),
        (0, "log", |i| HEADERS.into_iter().for_each(|at| put(i, at + 68, &[0, 0, 0, 0x70]))),
        (LOG as u64, "log entry", |i| HEADERS.into_iter().for_each(|at| put(i, at + 48, &[7]))),
        (0, "twice", |i| i.copy_within(REGIONS[0] + 16..REGIONS[0] + 32, REGIONS[0] + 48)),
        (0, "overlaps", |i| put(i, REGIONS[0] + 32, &(MIB as u64).to_le_bytes())),
        (REGIONS[0] as u64, "expected the BAT", |i| {
            put(i, REGIONS[0] + 16, &[0; 4]);
            put(i, REGIONS[0] + 16 + 28, &[0]);
        }),
        (METADATA as u64, "\"metadata\"", |i| put(i, METADATA, b"x")),
        (METADATA as u64 + 10, "2047", |i| put(i, METADATA + 10, &[0xff, 0xff])),
        (METADATA as u64 + 64, "twice", |i| {
            i.copy_within(METADATA + 32..METADATA + 48, METADATA + 64)
        }),
        (METADATA as u64 + 32, "64 KiB", |i| put(i, METADATA + 32 + 16, &[1, 0, 0, 0])),
        (METADATA as u64 + 32, "64 KiB", |i| put(i, METADATA + 32 + 20, &[1, 0, 0x20, 0])),
        (METADATA as u64, "file parameters", |i| {
            put(i, METADATA + 32, &[0; 8]);
            put(i, METADATA + 32 + 24, &[0]);
        }),
        (ITEMS as u64, "block size", |i| put(i, ITEMS, &[0; 4])),
        (ITEMS as u64, "block size", |i| put(i, ITEMS, &[0, 0, 0x30, 0])),
        (ITEMS as u64, "64 TiB", |i| put(i, ITEMS + 8, &[0; 8])),
        (ITEMS as u64, "64 TiB", |i| put(i, ITEMS + 8, &[0xff; 8])),
        (ITEMS as u64, "logical", |i| put(i, ITEMS + 32, &[0, 4, 0, 0])),
        (METADATA as u64, "parent locator", |i| put(i, ITEMS + 4, &[2])),
        (BAT as u64, "BAT of at least", |i| put(i, ITEMS + 8, &(1u64 << 40).to_le_bytes())),
    ];
    for (offset, word, change) in corrupt {
        let error = error_after(change);
        let Some(Error::Corrupt { offset: at, what, .. }) = &error else {
            panic!("{word}: {error:?}");
        };
        assert!(offset == 0 || *at == offset, "{word}: {at} {what}");
        assert!(what.contains(word), "{word}: {what}");
    }
    let unsupported: [(&str, Change); 3] = [
        ("version 2", |i| HEADERS.into_iter().for_each(|at| put(i, at + 66, &[2]))),
        ("required region", |i| {
            put(i, REGIONS[0] + 8, &[3]);
            put(i, REGIONS[0] + 16 + 64, &[7; 16]);
            put(i, REGIONS[0] + 16 + 64 + 28, &[1]);
        }),
        ("required metadata item", |i| put(i, METADATA + 128, &[9; 16])),
    ];
    for (word, change) in unsupported {
        let error = error_after(change);
        assert!(
            matches!(&error, Some(Error::Unsupported(what)) if what.contains(word)),
            "{error:?}"
        );
    }
    assert_eq!(open_read(b"vhdxfil").err(), Some(Error::Unrecognised));
}

/// One header or region table, destroyed, is made good by the other.
#[test]
fn copies_stand_in() {
    let expected = contents(&sound(), MIB as u64).unwrap();
    for place in [HEADERS[0], HEADERS[1], REGIONS[0]] {
        let mut image = sound();
        image[place + 9] ^= 1;
        assert!(contents(&image, MIB as u64).unwrap() == expected);
        let source = JournalSource::new(0, "disk", image);
        let mut host = opened(&source, &[]);
        host.write(2 << 20, &[3; 512]).unwrap();
        host.close().unwrap();
        assert_eq!(contents(&source.bytes(), MIB as u64).unwrap()[2 << 20], 3);
    }
}

/// A block that cannot be is damaged; the others are read.
#[test]
fn a_damaged_entry_damages_its_block_only() {
    let cases: [(u64, &str); 8] = [
        (4, "state"),
        (5, "state"),
        (7, "state"),
        (6, "between 1 MiB"),
        (1 << 20 | 6, "over the log"),
        (3 << 20 | 6, "over the BAT"),
        (1000 << 20 | 6, "between 1 MiB"),
        (8 << 20 | 1 << 5 | 6, "bits 3 to 19"),
    ];
    for (entry, word) in cases {
        let mut image = sound();
        put(&mut image, BAT, &entry.to_le_bytes());
        let (opened, _) = open_read(&image).unwrap();
        let extents = opened.disk(0).unwrap().extents(0, 4 << 20).unwrap();
        assert!(
            matches!(&extents[0].content, Content::Damaged(what) if what.contains(word)),
            "{entry:#x}: {extents:?}"
        );
        assert!(matches!(extents.last().unwrap().content, Content::Stored(_)));
        assert!(findings(&image)[0].what.contains(word));
        let source = JournalSource::new(0, "disk", image);
        let refused = open(source).unwrap().disk(0).unwrap().place(0, 512);
        assert!(matches!(refused, Err(Error::Corrupt { offset, .. }) if offset == BAT as u64));
    }
    let mut image = sound();
    let entry = image[BAT + 24..BAT + 32].to_vec();
    put(&mut image, BAT + 16, &entry);
    assert!(findings(&image)[0].what.contains("overlaps"));
}

#[test]
fn sectors_without_a_bitmap_are_damaged() {
    let image = differencing();
    let source = JournalSource::new(0, "disk", image);
    open(source.clone()).unwrap().close().unwrap();
    let mut image = source.bytes();
    put(&mut image, BAT + 8 * 4096, &[0; 8]);
    let (opened, _) = open_read(&image).unwrap();
    let extents = opened.disk(0).unwrap().extents(0, 1).unwrap();
    assert!(matches!(&extents[0].content, Content::Damaged(what) if what.contains("bitmap")));
    assert!(!findings(&image).is_empty());
}

/// Walks all that can be walked, and writes where that is possible.
fn walk(bytes: &[u8]) -> bool {
    let Ok((image, _)) = open_read(bytes) else { return false };
    let info = image.disks().remove(0);
    let _ = image.info();
    let mut disk = image.disk(0).unwrap();
    let mut at = 0;
    for _ in 0..100 {
        if at >= info.size {
            break;
        }
        at = match disk.extents(at, 1 << 30) {
            Ok(extents) => {
                check_answer(&extents, at, info.size).unwrap();
                extents.last().unwrap().end()
            }
            Err(_) => at.saturating_add(1 << 20),
        };
    }
    let _ = disk.read(0, 4096);
    if info.size < 1 << 30 {
        let _ = disk.check(false);
    }
    true
}

fn write(bytes: &[u8]) {
    let source = JournalSource::new(0, "disk", bytes.to_vec());
    source.limit(64 << 20);
    let Ok(image) = open(source) else { return };
    let info = image.disks().remove(0);
    let mut disk = image.disk(0).unwrap();
    let granule = u64::from(info.granularity).min(info.size);
    for at in [0, 2 << 20] {
        if let Ok(placed) = disk.place(at, 512) {
            let fresh = placed.iter().filter(|placement| placement.fresh);
            let ranges: Vec<_> = fresh.map(|p| (p.offset, p.length)).collect();
            let _ = disk.commit(&ranges);
        }
    }
    let _ = disk.zero(0, granule, true);
    let _ = disk.flush();
    let _ = disk.resize(3 << 20);
    let _ = disk.rebase(None);
    let _ = image.close();
}

fn mutate(image: &mut Vec<u8>, random: &mut Random) {
    let areas = [
        (HEADERS[0], 80),
        (HEADERS[1], 80),
        (REGIONS[0], 100),
        (LOG, 200),
        (LOG, 20 << 12),
        (METADATA, 256),
        (ITEMS, 300),
        (BAT, 64),
        (BAT + 8 * 4096, 16),
        (0, 8 << 20),
    ];
    for _ in 0..=random.below(3) {
        let (start, length) = areas[random.below(areas.len() as u64) as usize];
        let at = (start + random.below(length as u64) as usize).min(image.len() - 1);
        match random.below(5) {
            0 => image[at] = random.below(256) as u8,
            1 => image[at] ^= 1 << random.below(8),
            2 if at + 8 < image.len() => {
                let word = (random.below(16) << 20 | random.below(8)).to_le_bytes();
                put(image, at & !7, &word);
            }
            3 if random.one_in(10) => image.truncate(at.max(1)),
            _ => image[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
        }
    }
    // Most changes are to reach what lies behind the checksums.
    if random.below(8) != 0 && image.len() > 4 << 20 {
        seal(image, HEADERS[0], 4096);
        seal(image, HEADERS[1], 4096);
        seal(image, REGIONS[0], 65536);
        for start in (LOG..LOG + (16 << 12)).step_by(4096) {
            let length = &image[start + 8..start + 12];
            let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
            if image[start..].starts_with(b"loge") && (4096..1 << 16).contains(&length) {
                seal(image, start, length);
            }
        }
    }
}

/// `VHDX_MUTATIONS` sets how many are tried.
#[test]
fn no_change_of_bytes_breaks_the_contract() {
    let count = rounds("VHDX_MUTATIONS", 600);
    let images = [sound(), differencing()];
    let mut random = Random::new(0x51c0_77e5);
    let (mut walked, mut longest) = (0, 0);
    for number in 0..count {
        let mut bytes = images[(number % 2) as usize].clone();
        mutate(&mut bytes, &mut random);
        let start = Instant::now();
        walked += u64::from(walk(&bytes));
        write(&bytes);
        longest = longest.max(start.elapsed().as_millis());
    }
    assert!(walked > count / 5, "only {walked} of {count} were opened at all");
    println!("{walked} of {count} opened; the longest took {longest} ms");
}

#[test]
fn no_truncation_breaks_it_either() {
    for image in [sound(), differencing()] {
        for length in (0..image.len()).step_by(100_000) {
            walk(&image[..length]);
            write(&image[..length]);
        }
    }
}

/// The log says how long the file was: less is a file that lost its end.
#[test]
fn a_file_shorter_than_its_log_knows_is_refused() {
    let image = differencing();
    let error = open_read(&image[..image.len() - MIB]).err();
    assert!(
        matches!(&error, Some(Error::Corrupt { what, .. }) if what.contains("has 7340032 now")),
        "{error:?}"
    );
}

#[test]
fn a_log_is_shown_carried_out_and_the_file_is_not_touched() {
    let image = differencing();
    let (opened, sources) = open_read(&image).unwrap();
    assert!(opened.info().warnings[0].contains("log"));
    let extents = opened.disk(0).unwrap().extents(0, 4 << 20).unwrap();
    let lengths: Vec<_> = extents.iter().map(|extent| extent.length / 512).collect();
    assert_eq!(lengths, [1, 1, 2046, 2050, 2046, 2048], "{extents:?}");
    assert_eq!(sources.main.read(0, image.len()).unwrap(), image);
}
