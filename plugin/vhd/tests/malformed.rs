//! Images with one field wrong, images cut off, and random changes: each a clear error
//! or a disk that keeps the contract's rules, never a panic or an endless loop.
//! `VHD_MUTATIONS` sets how many random changes are tried.

mod support;

use std::rc::Rc;

use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer};
use fumehood_plugin::simulate::{JournalSource, Random, SimulatedHost};
use fumehood_plugin::{
    Access, Confidence, Content, CreateOptions, Error, Format, Glimpse, OpenOptions, Parent,
};
use fumehood_test_support::Sources;
use fumehood_test_support::damage::rounds;
use fumehood_vhd::Vhd;
use support::{PARENT_ID, open, read_all};

const SIZE: u64 = 200 << 10;
/// Where the parts of [`image`] lie.
const HEADER: usize = 512;
const BAT: usize = 1536;

/// A small image with some of its blocks written, in blocks of 16 KiB.
fn image(parent: bool) -> Vec<u8> {
    let mut options = CreateOptions::new(SIZE);
    options.settings = vec![("block_size".into(), "16384".into())];
    options.parent = parent.then(|| Parent {
        references: vec!["base.vhd".into()],
        identities: vec![PARENT_ID.into()],
        format: None,
    });
    let main = JournalSource::new(0, "disk.vhd", vec![]);
    let created = Vhd::create(Rc::new(main.clone()), Rc::new(MemoryHost::new()), options).unwrap();
    let mut host = SimulatedHost::new(created, main.clone(), vec![]).unwrap();
    for (number, offset) in [0, 40 << 10, 150 << 10].into_iter().enumerate() {
        host.write(offset, &[number as u8 + 1; 3 * 512]).unwrap();
    }
    host.close().unwrap();
    main.bytes()
}

fn put32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
}

/// Makes a structure's checksum right.
fn seal(bytes: &mut [u8], start: usize, length: usize, field: usize) {
    put32(bytes, start + field, 0);
    let sum: u32 = bytes[start..start + length].iter().map(|byte| u32::from(*byte)).sum();
    put32(bytes, start + field, !sum);
}

/// Changes the header.
fn header(bytes: &mut [u8], field: usize, value: u32) {
    put32(bytes, HEADER + field, value);
    seal(bytes, HEADER, 1024, 36);
}

/// Changes both footers.
fn footers(bytes: &mut [u8], field: usize, value: u32) {
    for start in [0, bytes.len() - 512] {
        put32(bytes, start + field, value);
        seal(bytes, start, 512, 64);
    }
}

/// Makes one field wrong.
type Change<'a> = &'a dyn Fn(&mut [u8]);

fn refused_at(bytes: &[u8], access: Access) -> Option<u64> {
    let main = JournalSource::new(0, "disk.vhd", bytes.to_vec());
    let options = OpenOptions { access, ..OpenOptions::read_only() };
    match Vhd::open(Rc::new(main.clone()), Rc::new(MemoryHost::new()), options) {
        Err(Error::Corrupt { offset, .. }) => Some(offset),
        Err(Error::Unsupported(_)) => Some(u64::MAX),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

#[test]
fn fields_that_contradict_the_format_are_refused() {
    let sound = image(false);
    let cases: [(&str, Change, u64); 11] = [
        ("magic", &|b| header(b, 0, 0), 512),
        ("block size 0", &|b| header(b, 32, 0), 544),
        ("block size odd", &|b| header(b, 32, 3 << 12), 544),
        ("block size of 2^31", &|b| header(b, 32, 1 << 31), 544),
        ("too few entries", &|b| header(b, 28, 12), 540),
        ("entries past the end", &|b| header(b, 28, 0x4000_0001), 528),
        ("table past the end", &|b| header(b, 16, 1), 528),
        ("checksum", &|b| b[HEADER + 36] ^= 1, 548),
        ("type 0", &|b| footers(b, 60, 0), u64::MAX),
        ("type 5", &|b| footers(b, 60, 5), u64::MAX),
        ("data offset", &|b| footers(b, 16, 1 << 20), u64::MAX),
    ];
    for (name, change, offset) in cases {
        let mut bytes = sound.clone();
        change(&mut bytes);
        let found = refused_at(&bytes, Access::Read).unwrap_or_else(|| panic!("{name}"));
        assert!(offset == u64::MAX || found == offset, "{name}: {found}");
    }
    let mut version = sound.clone();
    footers(&mut version, 12, 2 << 16);
    assert_eq!(refused_at(&version, Access::Read), Some(u64::MAX));
}

#[test]
fn entries_that_lie_where_none_may_are_damage_to_read_and_refused_to_write() {
    let sound = image(false);
    let entry = |block: usize| BAT + 4 * block;
    let first = u32::from_be_bytes(sound[BAT..BAT + 4].try_into().unwrap());
    let end = sound.len() as u32 / 512;
    for (block, place) in [(1, 0), (1, 1), (1, 3), (1, end - 5), (1, u32::MAX - 1), (2, 2)] {
        let mut bytes = sound.clone();
        put32(&mut bytes, entry(block), place);
        let mut disk = open(&bytes, &[]).unwrap().disk(0).unwrap();
        let extents = disk.extents(0, SIZE).unwrap();
        check_answer(&extents, 0, SIZE).unwrap();
        let damaged = extents.iter().find(|extent| matches!(extent.content, Content::Damaged(_)));
        assert_eq!(damaged.unwrap().offset, block as u64 * 16384, "{place}");
        assert_eq!(disk.check(false).unwrap().len(), 1);
        assert_eq!(refused_at(&bytes, Access::ReadWrite), Some(entry(block) as u64));
    }
    let mut twice = sound.clone();
    put32(&mut twice, entry(1), first + 1);
    assert_eq!(open(&twice, &[]).unwrap().disk(0).unwrap().check(false).unwrap().len(), 1);
    assert_eq!(refused_at(&twice, Access::ReadWrite), Some(entry(1) as u64));
}

#[test]
fn a_lost_footer_is_replaced_by_its_copy() {
    let sound = image(false);
    let disk = read_all(&sound).unwrap();
    let mut lost = sound.clone();
    let end = lost.len();
    lost[end - 512..].fill(0);
    let mut cut = sound.clone();
    cut.truncate(end - 512);
    for bytes in [lost, cut] {
        assert!(read_all(&bytes).unwrap() == disk);
        let opened = open(&bytes, &[]).unwrap();
        assert_eq!(opened.info().warnings.len(), 1);
        assert_eq!(opened.disk(0).unwrap().check(false).unwrap().len(), 1);
        let main = JournalSource::new(0, "disk.vhd", bytes);
        let options = OpenOptions { access: Access::ReadWrite, ..OpenOptions::read_only() };
        let image = Vhd::open(Rc::new(main.clone()), Rc::new(MemoryHost::new()), options).unwrap();
        let mut host = SimulatedHost::new(image, main.clone(), vec![]).unwrap();
        host.write(100 << 10, &[9; 512]).unwrap();
        host.close().unwrap();
        assert_eq!(open(&main.bytes(), &[]).unwrap().info().warnings, [""; 0]);
        assert_eq!(read_all(&main.bytes()).unwrap()[100 << 10], 9);
    }
    let mut saved = sound;
    let tail = saved.len() - 512;
    for start in [0, tail] {
        saved[start + 84] = 1;
        seal(&mut saved, start, 512, 64);
    }
    assert_eq!(refused_at(&saved, Access::Read), None);
    assert_eq!(refused_at(&saved, Access::ReadWrite), Some(u64::MAX));
}

#[test]
fn footers_of_511_bytes_are_read() {
    let main = JournalSource::new(0, "disk.vhd", vec![]);
    let mut options = CreateOptions::new(64 << 10);
    options.settings = vec![("subformat".into(), "fixed".into())];
    Vhd::create(Rc::new(main.clone()), Rc::new(MemoryHost::new()), options).unwrap();
    let mut bytes = main.bytes();
    bytes[5] = 5;
    let mut old = bytes.clone();
    old.pop();
    for bytes in [&bytes, &old] {
        let disk = read_all(bytes).unwrap();
        assert_eq!((disk.len(), disk[5]), (64 << 10, 5));
        let (head, tail) = (bytes[..4096].to_vec(), bytes[bytes.len() - 4096..].to_vec());
        let size = bytes.len() as u64;
        let mut glimpse = Glimpse { name: String::new(), size, head, tail };
        assert_eq!(Vhd::probe(&glimpse), Confidence::Certain);
        glimpse.size += 512;
        assert_eq!(Vhd::probe(&glimpse), Confidence::Maybe);
        glimpse.tail[3600] ^= 1;
        assert_eq!(Vhd::probe(&glimpse), Confidence::No);
    }
}

/// Walks the whole disk as far as it can be walked in a few steps.
fn walk(bytes: &[u8]) -> bool {
    let sources = Sources::new("disk.vhd", bytes);
    let Ok(image) = open(bytes, &[]) else { return false };
    let size = image.disks()[0].size;
    image.info();
    let mut disk = image.disk(0).unwrap();
    let mut at = 0;
    for _ in 0..100 {
        if at >= size {
            break;
        }
        let answer = sources.answer(&mut *disk, size, at, 1 << 20);
        at = answer.unwrap_or(at.saturating_add(4096));
    }
    let _ = disk.check(false);
    true
}

/// Opens for writing and writes, whatever comes of it.
fn write(bytes: &[u8]) {
    let main = MemorySource::new(0, "disk.vhd", bytes.to_vec()).writable();
    let options = OpenOptions { access: Access::ReadWrite, ..OpenOptions::read_only() };
    let Ok(image) = Vhd::open(Rc::new(main), Rc::new(MemoryHost::new()), options) else { return };
    let size = image.disks()[0].size.min(1 << 20);
    let mut disk = image.disk(0).unwrap();
    if let Ok(placements) = disk.place(0, size) {
        let ranges: Vec<_> =
            placements.iter().map(|placed| (placed.offset, placed.length)).collect();
        let _ = disk.commit(&ranges);
    }
    let _ = disk.zero(0, size / 4096 * 4096, true);
    let _ = (disk.flush(), disk.resize(size * 2), disk.rebase(None), disk.flush());
    let _ = image.close();
}

#[test]
fn no_truncation_breaks_anything() {
    for bytes in [image(false), image(true)] {
        for length in (0..bytes.len()).step_by(97).chain(bytes.len() - 600..bytes.len()) {
            walk(&bytes[..length]);
            write(&bytes[..length]);
        }
    }
}

#[test]
fn no_change_of_bytes_breaks_the_contract() {
    let count = rounds("VHD_MUTATIONS", 4000);
    let mut random = Random::new(0xc0_4ec7);
    let images = [image(false), image(true)];
    let mut opened = 0;
    for number in 0..count {
        let mut bytes = images[(number % 2) as usize].clone();
        for _ in 0..=random.below(3) {
            let at = match random.below(4) {
                0 => random.below(bytes.len() as u64),
                1 => random.below(512),
                2 => HEADER as u64 + random.below(64),
                _ => BAT as u64 + random.below(512),
            } as usize;
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next_word() as u8,
                _ => put32(&mut bytes, at & !3, random.next_word() as u32 >> random.below(32)),
            }
        }
        // Wrong checksums would hide everything else.
        seal(&mut bytes, HEADER, 1024, 36);
        seal(&mut bytes, 0, 512, 64);
        if random.one_in(2) {
            bytes.truncate(bytes.len() - 512);
        }
        opened += u64::from(walk(&bytes));
        write(&bytes);
    }
    assert!(opened > count / 5, "only {opened} of {count} were opened at all");
}
