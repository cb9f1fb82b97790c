//! Archives with one field wrong, archives cut off, and random changes: each a clear
//! error or disks that keep the contract's rules, never a panic or an endless loop.
//! `VBK_MUTATIONS` sets how many random changes are tried.

mod support;

use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Content, Error, Format, Glimpse};
use fumehood_test_support::damage::rounds;
use fumehood_vbk::Vbk;
use support::writer::{Change, File, PAGE, Store, Writer, crc32c, put, seal_slot};
use support::{open, read, refusal, sample, survive};

fn files() -> Vec<File> {
    vec![
        File::new("disk", sample(40 << 10), 4096, Store::Lz4),
        File::new("summary.xml", b"<a/>".to_vec(), 4, Store::Plain),
    ]
}

fn archive(version: u32) -> Vec<u8> {
    Writer::new(version).write(&files())
}

/// The archive with one kind of entry changed.
fn changed(
    version: u32,
    choose: impl Fn(&mut Writer) -> &mut Option<Change>,
    change: Change,
) -> Vec<u8> {
    let mut writer = Writer::new(version);
    *choose(&mut writer) = Some(change);
    writer.write(&files())
}

fn probe(bytes: &[u8]) -> Confidence {
    let head = bytes[..bytes.len().min(65536)].to_vec();
    Vbk::probe(&Glimpse { head, size: bytes.len() as u64, ..Glimpse::default() })
}

/// The text of the damage at the disk's beginning, or of the refusal of the disk.
fn damage(bytes: &[u8]) -> String {
    let image = open(bytes).unwrap();
    match image.disk(0) {
        Err(error) => error.to_string(),
        Ok(mut disk) => match disk.extents(0, 1).unwrap().remove(0).content {
            Content::Damaged(what) => what,
            other => panic!("{other:?}"),
        },
    }
}

#[test]
fn the_header_is_recognised_and_others_are_refused_by_name() {
    let good = archive(9);
    assert_eq!(probe(&good), Confidence::Certain);
    assert_eq!(probe(&good[..100]), Confidence::No);
    assert_eq!(probe(&[0; 65536]), Confidence::No);
    for version in [1, 7, 8, 14, 0x10008] {
        let mut bytes = good.clone();
        put(&mut bytes, 0, &u32::to_le_bytes(version));
        assert_eq!(probe(&bytes), Confidence::Certain);
        assert!(refusal(&bytes).contains(&format!("format version {version}")));
    }
    let mut bytes = good.clone();
    put(&mut bytes, 12, b"sha");
    assert!(refusal(&bytes).contains("\"sha\""));
    let mut bytes = good.clone();
    put(&mut bytes, 4, &[0]);
    assert!(refusal(&bytes).contains("initialised"));
    for size in [0u32, 3, 1 << 30] {
        let mut bytes = good.clone();
        put(&mut bytes, 0x10b, &size.to_le_bytes());
        assert!(refusal(&bytes).contains("block size"));
    }
    assert!(matches!(open(&[]), Err(Error::Unrecognised)));
    assert!(matches!(open(&[0; 8192]), Err(Error::Unrecognised)));
}

#[test]
fn the_other_slot_serves_where_one_is_damaged() {
    let slots = [PAGE, 2 * PAGE];
    for (number, slot) in slots.into_iter().enumerate() {
        // In the middle of it, at its checksum, and where the second is found by.
        for place in [30, 0, 116, 119] {
            let mut bytes = archive(9);
            bytes[slot + place] ^= 0x40;
            let image = open(&bytes).unwrap();
            let warnings = image.info().warnings;
            assert!(warnings[0].contains(&format!("slot {}", number + 1)), "{warnings:?}");
            assert!(read(&bytes, &*image, 0).unwrap() == sample(40 << 10));
        }
    }
    let mut bytes = archive(9);
    bytes[slots[0] + 30] ^= 1;
    bytes[slots[1] + 30] ^= 1;
    assert!(refusal(&bytes).contains("no snapshot slot is whole"));
    // Empty ones.
    let mut bytes = archive(9);
    put(&mut bytes, slots[0] + 4, &[0]);
    put(&mut bytes, slots[1] + 4, &[0]);
    assert!(refusal(&bytes).contains("no snapshot slot"));
}

/// Puts what looks like a second slot into the first one's room for banks.
fn put_decoy(bytes: &mut [u8], sealed: bool) {
    let (from, to) = (PAGE, 2 * PAGE);
    let head = bytes[from..from + 140].to_vec();
    put(bytes, to, &head);
    put(bytes, to + 8, &99u64.to_le_bytes());
    put(bytes, to + 28, &(7u64 << 32).to_le_bytes());
    put(bytes, to + 116, &100u32.to_le_bytes());
    if sealed {
        seal_slot(bytes, to);
    }
}

#[test]
fn the_second_slot_is_not_looked_for_inside_of_the_first() {
    let writer = || Writer { most_banks: 600, versions: [4, 5], ..Writer::new(9) };
    let good = writer().write(&files());
    for sealed in [false, true] {
        let mut bytes = good.clone();
        put_decoy(&mut bytes, sealed);
        let sum = crc32c(&bytes[PAGE + 4..PAGE + 124 + 16 * 600]);
        put(&mut bytes, PAGE, &sum.to_le_bytes());
        let image = open(&bytes).unwrap();
        assert_eq!(image.info().warnings, [""; 0]);
        assert!(image.info().details.contains(&("snapshot version".into(), "5".into())));
        assert!(read(&bytes, &*image, 0).unwrap() == sample(40 << 10));
    }
    // The first is damaged: what has no CRC of its own is passed over.
    let mut bytes = good;
    put_decoy(&mut bytes, false);
    let image = open(&bytes).unwrap();
    assert_eq!(image.info().warnings.len(), 1, "{:?}", image.info().warnings);
    assert!(image.info().details.contains(&("snapshot version".into(), "5".into())));
    assert!(read(&bytes, &*image, 0).unwrap() == sample(40 << 10));
}

#[test]
fn the_newest_slot_counts_and_the_older_serves_if_it_leads_nowhere() {
    for (versions, newest) in [([4, 5], 1), ([5, 4], 0)] {
        let mut bytes = Writer { versions, ..Writer::new(9) }.write(&files());
        let slot = PAGE + newest * PAGE;
        assert!(
            open(&bytes).unwrap().info().details.contains(&("snapshot version".into(), "5".into()))
        );
        // Its directory lies in a bank that there is none of.
        put(&mut bytes, slot + 28, &(7u64 << 32).to_le_bytes());
        seal_slot(&mut bytes, slot);
        let image = open(&bytes).unwrap();
        assert!(image.info().warnings[0].contains("bank 7"), "{:?}", image.info().warnings);
        assert!(image.info().details.contains(&("snapshot version".into(), "4".into())));
        assert!(read(&bytes, &*image, 0).unwrap() == sample(40 << 10));
    }
}

#[test]
fn roots_and_counts_out_of_range_are_corrupt() {
    // Field, value, and words of the error; in both slots.
    let cases = [
        (28, u64::MAX, "ends after 0"),
        (28, 0x7fff_ffff, "page 2147483647 of bank 0"),
        (36, 1 << 40, "entries"),
        (36, 16000, "larger than the file"),
        (52, 1 << 60, "larger than the file"),
    ];
    for version in [9, 13] {
        for (field, value, words) in cases {
            let mut bytes = archive(version);
            for slot in [PAGE, 2 * PAGE] {
                put(&mut bytes, slot + field, &u64::to_le_bytes(value));
                seal_slot(&mut bytes, slot);
            }
            assert!(refusal(&bytes).contains(words), "{version} {field}: {}", refusal(&bytes));
        }
    }
    // A bank past the end, and more banks than there may be.
    for (field, value) in [(128, u64::MAX - 4), (128, 1 << 40)] {
        let mut bytes = archive(9);
        for slot in [PAGE, 2 * PAGE] {
            put(&mut bytes, slot + field, &u64::to_le_bytes(value));
            seal_slot(&mut bytes, slot);
        }
        assert!(refusal(&bytes).contains("past the file's end"));
    }
    let mut bytes = archive(9);
    for slot in [PAGE, 2 * PAGE] {
        put(&mut bytes, slot + 120, &101u32.to_le_bytes());
        seal_slot(&mut bytes, slot);
    }
    assert!(refusal(&bytes).contains("101 banks"));
}

#[test]
fn an_encrypted_bank_is_refused_by_name() {
    let mut bytes = archive(13);
    let bank = Writer::new(13).bank();
    put(&mut bytes, bank + 2, &[2]);
    assert!(refusal(&bytes).contains("encrypted"));
}

#[test]
fn a_chain_of_pages_in_a_loop_ends() {
    let bank = Writer::new(9).bank();
    let mut writer = Writer::new(9);
    writer.change_item = None;
    let many =
        (0..100).map(|number| File::new(&format!("{number}.xml"), vec![1; 4], 4, Store::Plain));
    let bytes = writer.write(&many.collect::<Vec<_>>());
    assert_eq!(open(&bytes).unwrap().info().documents.len(), 100);
    // Every page is followed by itself.
    let mut looped = bytes.clone();
    for page in 0..(bytes.len() - bank) / PAGE - 1 {
        let at = bank + PAGE + page * PAGE;
        put(&mut looped, at, &(page as u64).to_le_bytes());
    }
    survive(&looped);
}

#[test]
fn folders_that_hold_themselves_are_refused() {
    assert!(refusal(&Writer { depth: 40, ..Writer::new(9) }.write(&files())).contains("deeper"));
    for version in [9, 13] {
        // The file becomes a folder whose page is the one that it stands on: each of
        // its items is again such a folder.
        let mut found = false;
        for page in 0u64..16 {
            let change: Change = Box::new(move |_, item| {
                put(item, 0, &[1]);
                put(item, 0x94, &page.to_le_bytes());
                put(item, 0x9c, &2u32.to_le_bytes());
            });
            let bytes = changed(version, |writer| &mut writer.change_item, change);
            found |= open(&bytes).is_err_and(|error| error.to_string().contains("deeper"));
        }
        assert!(found, "{version}");
    }
}

#[test]
fn items_of_other_kinds_are_refused_by_number() {
    for (kind, words) in [
        (2, "external file (type 2)"),
        (4, "patch (type 4)"),
        (5, "increment (type 5)"),
        (9, "type 9"),
    ] {
        let change: Change = Box::new(move |_, item| put(item, 0, &[kind]));
        let bytes = changed(13, |writer| &mut writer.change_item, change);
        assert!(refusal(&bytes).contains(words), "{}", refusal(&bytes));
        // Beside a disk it is a warning.
        let change: Change =
            Box::new(move |number, item| put(item, 0, &[if number == 1 { kind } else { 3 }]));
        let bytes = changed(13, |writer| &mut writer.change_item, change);
        let image = open(&bytes).unwrap();
        assert!(image.info().warnings[0].contains(words));
        assert!(read(&bytes, &*image, 0).is_ok());
    }
    let change: Change = Box::new(|_, item| put(item, 4, &129u32.to_le_bytes()));
    assert!(refusal(&changed(9, |writer| &mut writer.change_item, change)).contains("129 bytes"));
}

#[test]
fn blocks_of_other_kinds_are_refused_by_number() {
    for (kind, words) in [
        (2, "type 2 (reserved)"),
        (3, "type 3 (archived)"),
        (4, "type 4 (in a blob)"),
        (5, "type 5 (reserved in a blob)"),
        (6, "type 6 (unknown)"),
    ] {
        let change: Change = Box::new(move |number, bytes| {
            if number == 0 {
                bytes[4] = kind;
            }
        });
        let what = damage(&changed(9, |writer| &mut writer.change_descriptor, change));
        assert!(what.starts_with("unsupported") && what.contains(words), "{what}");
    }
    for (code, words) in [(2, "2 (RL)"), (3, "3 (ZLH)"), (4, "4 (ZLL)"), (5, "5 (unknown)")] {
        let change: Change = Box::new(move |_, bytes| bytes[34] = code);
        let what = damage(&changed(13, |writer| &mut writer.change_store, change));
        assert!(what.starts_with("unsupported") && what.contains(words), "{what}");
    }
    let change: Change = Box::new(|_, bytes| bytes[45] = 1);
    let what = damage(&changed(9, |writer| &mut writer.change_descriptor, change));
    assert!(what.contains("encrypted"), "{what}");
    let change: Change = Box::new(|_, bytes| bytes[59] = 1);
    let what = damage(&changed(9, |writer| &mut writer.change_store, change));
    assert!(what.contains("encrypted"), "{what}");
}

#[test]
fn blocks_that_do_not_fit_are_damaged_and_the_rest_is_read() {
    // Field of the store's entry, value, and words of the error.
    let cases: [(usize, u32, &str); 6] = [
        (36, 0x1000_0000, "in room for"),
        (36, 5, "in room for"),
        (40, 1 << 30, "a block of 1073741824 bytes"),
        (40, 0, "a block of 0 bytes"),
        (9, u32::MAX, "in room for"),
        (18, 1, "another than the file's"),
    ];
    for (field, value, words) in cases {
        let change: Change = Box::new(move |number, bytes| {
            if number == 0 {
                put(bytes, field, &value.to_le_bytes());
            }
        });
        let bytes = changed(13, |writer| &mut writer.change_store, change);
        assert!(damage(&bytes).contains(words), "{field}: {}", damage(&bytes));
        let image = open(&bytes).unwrap();
        let mut disk = image.disk(0).unwrap();
        assert!(matches!(disk.extents(4096, 1).unwrap()[0].content, Content::Encoded(_)));
        // The bank's checksum is right: the field was changed before.
        assert_eq!(disk.check(false).unwrap().len(), 1);
    }
    let change: Change = Box::new(|_, bytes| put(bytes, 21, &1000u64.to_le_bytes()));
    let what = damage(&changed(9, |writer| &mut writer.change_descriptor, change));
    assert!(what.contains("entry 1000"), "{what}");
    let change: Change = Box::new(|_, bytes| put(bytes, 0, &5u32.to_le_bytes()));
    let what = damage(&changed(9, |writer| &mut writer.change_descriptor, change));
    assert!(what.contains("a block of 5 bytes"), "{what}");
}

#[test]
fn tables_that_do_not_fit_are_corrupt() {
    for (field, value) in [(8, 0u64), (8, 8192), (8, 1 << 40)] {
        let change: Change = Box::new(move |_, bytes| put(bytes, field, &value.to_le_bytes()));
        let image = open(&changed(9, |writer| &mut writer.change_table, change)).unwrap();
        let error = image.disk(0).err().unwrap().to_string();
        assert!(error.contains("blocks of"), "{error}");
    }
    for count in [0u64, 1089, u64::MAX] {
        let change: Change = Box::new(move |_, bytes| put(bytes, 16, &count.to_le_bytes()));
        let bytes = changed(9, |writer| &mut writer.change_table, change);
        assert!(!damage(&bytes).is_empty());
    }
    // The file's size, and its count of blocks.
    for (field, value) in [(0xa8, u64::MAX), (0xa8, 1), (0xa0, u64::MAX), (0xa0, 0)] {
        let change: Change = Box::new(move |_, item| put(item, field, &value.to_le_bytes()));
        survive(&changed(13, |writer| &mut writer.change_item, change));
    }
}

#[test]
fn a_bank_that_changed_is_found_by_checking() {
    let mut bytes = archive(9);
    let bank = Writer::new(9).bank();
    bytes[bank + PAGE - 1] ^= 1;
    let findings = open(&bytes).unwrap().disk(0).unwrap().check(false).unwrap();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].what.contains("CRC of bank 0"));
}

#[test]
fn cut_archives_end_in_errors() {
    for version in [9, 13] {
        let bytes = archive(version);
        for length in (0..bytes.len()).step_by(509) {
            survive(&bytes[..length]);
        }
        let cut = &bytes[..bytes.len() - 1];
        assert!(open(cut).unwrap().info().warnings[0].contains("cut off"));
    }
}

#[test]
fn random_changes_never_break_the_contract() {
    let times = rounds("VBK_MUTATIONS", 3000);
    let mut random = Random::new(42);
    let mut opened = 0;
    for version in [9, 13] {
        let good = archive(version);
        let bank = Writer::new(version).bank();
        for _ in 0..times / 2 {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(4) {
                // Slots are sealed again, so that what they say is believed.
                let at = match random.below(3) {
                    0 => random.below(0x110),
                    1 => (PAGE + 4) as u64 + random.below(150) + PAGE as u64 * random.below(2),
                    _ => bank as u64 + random.below((bytes.len() - bank) as u64),
                } as usize;
                bytes[at] = match random.below(3) {
                    0 => random.next_word() as u8,
                    1 => bytes[at] ^ 1 << random.below(8),
                    _ => [0, 0xff][random.below(2) as usize],
                };
            }
            seal_slot(&mut bytes, PAGE);
            seal_slot(&mut bytes, 2 * PAGE);
            opened += u64::from(survive(&bytes));
        }
    }
    assert!(opened > times / 4, "{opened} of {times} opened");
}
