//! Random changes to small images: whatever the bytes, no panic, no endless loop,
//! and every answer keeps the contract's rules. `QCOW2_MUTATIONS` sets how many.

mod support;

use std::rc::Rc;

use fumehood_plugin::memory::check_answer;
use fumehood_plugin::simulate::JournalSource;
use support::{extended_image, open, put64, small_image};

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn mutate(image: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        // Half of the changes hit the header, and a quarter the tables' beginnings.
        let at = match random.below(4) {
            0 => random.below(image.len()),
            1 => random.below(image.len() / 512 + 1) * 512 + random.below(64),
            _ => random.below(160),
        };
        let at = at.min(image.len() - 1);
        let word = at & !7;
        match random.below(5) {
            0 => image[at] = random.next() as u8,
            1 => image[at] ^= 1 << random.below(8),
            2 if word + 8 <= image.len() => put64(image, word, random.next() >> random.below(64)),
            3 if word + 8 <= image.len() => put64(image, word, (random.below(16) * 512) as u64),
            _ if random.below(20) == 0 => image.truncate(random.below(image.len()).max(1)),
            _ => image[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        }
    }
}

/// Walks the whole disk by its extents, as far as it can be walked in a few steps.
fn walk(bytes: &[u8], snapshot: Option<&str>) -> bool {
    let Ok(opened) = open(bytes, snapshot, &[("raw", vec![1; 4096])]) else { return false };
    let info = opened.image.info();
    assert!(info.snapshots.len() <= 65_536);
    let size = opened.image.disks()[0].size;
    let mut disk = opened.image.disk(0).unwrap();
    let mut at = 0;
    for _ in 0..200 {
        if at >= size {
            break;
        }
        at = match disk.extents(at, 1 << 20) {
            Ok(extents) => {
                check_answer(&extents, at, size).unwrap();
                extents.last().unwrap().end()
            }
            Err(_) => at.saturating_add(512),
        };
    }
    let _ = disk.extents(size / 2, u64::MAX).map(|extents| check_answer(&extents, size / 2, size));
    disk.check(false).is_ok()
}

/// Writes wherever that is let, and repairs; what fails is not looked at.
fn scribble(bytes: &[u8], random: &mut Random) -> bool {
    let source = Rc::new(JournalSource::new(0, "changed.qcow2", bytes.to_vec()));
    // A damaged image may ask for a file of any size.
    source.limit(1 << 20);
    let Ok(image) = support::writer::open_source(source) else { return false };
    let size = image.disks()[0].size;
    let mut disk = image.disk(0).unwrap();
    for _ in 0..8 {
        let offset = random.next() % size.clamp(1, 64 << 10);
        let start = offset / (16 << 10) * (16 << 10);
        match random.below(6) {
            0 => drop(disk.zero(start, 16 << 10, random.below(2) == 0)),
            1 => drop(disk.place_encoded(start, 300)),
            2 => drop(disk.flush()),
            3 => drop(disk.resize(random.next() % (1 << random.below(34)) / 512 * 512)),
            _ => {
                let Ok(placements) = disk.place(offset, 5000) else { continue };
                let fresh = placements.iter().filter(|placement| placement.fresh);
                let ranges: Vec<_> = fresh.map(|room| (room.offset, room.length)).collect();
                drop(disk.commit(&ranges));
            }
        }
    }
    drop((disk.check(true), disk.flush(), image.close()));
    true
}

#[test]
fn no_change_of_bytes_harms_a_writer() {
    let mut random = Random(0x0dd_ba11);
    let images = [small_image(), extended_image()];
    let mut opened = 0u64;
    // Each opened one costs a thousand times what reading costs.
    let count = count() / 5;
    for number in 0..count {
        let mut bytes = images[usize::from(number % 2 == 1)].clone();
        mutate(&mut bytes, &mut random);
        opened += u64::from(scribble(&bytes, &mut random));
    }
    assert!(opened > count / 10, "only {opened} of {count} were opened at all");
}

/// How many changes are tried.
fn count() -> u64 {
    let count = std::env::var("QCOW2_MUTATIONS").ok().and_then(|count| count.parse().ok());
    count.unwrap_or(5_000)
}

#[test]
fn no_change_of_bytes_breaks_the_contract() {
    let mut random = Random(0x51c0_77e5);
    let (images, count) = ([small_image(), extended_image()], count());
    let mut opened = 0u64;
    for number in 0..count {
        let mut bytes = images[usize::from(number % 4 == 3)].clone();
        mutate(&mut bytes, &mut random);
        if number % 7 == 0 {
            // Room for tables at larger offsets than the small image has.
            bytes.resize(80 << 10, 0);
        }
        opened += u64::from(walk(&bytes, None));
        walk(&bytes, Some("7"));
    }
    assert!(opened > count / 10, "only {opened} of {count} were opened at all");
}
