//! Images built by hand: the forms that no tool at hand writes any more, and the traps
//! that no honest tool sets.

mod support;

use std::rc::Rc;

use fumehood_partclone::Partclone;
use fumehood_plugin::memory::MemoryHost;
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Content, DigestKind, Error, Format, Glimpse, OpenOptions};
use support::{Built, contents, crc, open, range, refusal, sources};

const MAP: &str = "##..#.###.....#######..#.#.#.######........#";

/// Changes a field of the header and makes the checksum over it right.
fn changed(image: &[u8], offset: usize, value: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    image[offset..offset + value.len()].copy_from_slice(value);
    let sum = crc(&image[..106]);
    image[106..110].copy_from_slice(&sum.to_le_bytes());
    image
}

fn corrupt_at(error: Error) -> u64 {
    match error {
        Error::Corrupt { offset, .. } => offset,
        other => panic!("{other}"),
    }
}

#[test]
fn every_form_of_format_2_reads_right() {
    let sums = [(0, 0, 0), (0x20, 4, 1), (0x20, 4, 3), (0x20, 4, 999), (0x30, 8, 4), (0x31, 16, 5)];
    for (mode, length, per_sum) in sums {
        for reseed in [0, 1] {
            for (bitmap_mode, map) in [(1, MAP), (8, MAP), (0, "#############")] {
                let mut built = Built::new(map).sums(mode, length, per_sum);
                (built.reseed, built.bitmap_mode) = (reseed, bitmap_mode);
                let what = format!("{mode:#x} {per_sum} {reseed} {bitmap_mode}");
                assert!(contents(&built.image()).unwrap() == built.volume(), "{what}");
                let opened = open(&built.image()).unwrap();
                assert_eq!(opened.info().warnings, [""; 0], "{what}");
                let encoded = opened.disk(0).unwrap().extents(0, 512).unwrap();
                let expected = (reseed == 1 && mode != 0).then_some(match mode {
                    0x20 => DigestKind::Crc32Plain,
                    0x30 => DigestKind::Xxh64,
                    _ => DigestKind::Xxh128,
                });
                let found = match &encoded[0].content {
                    Content::Encoded(encoded) => encoded.digest.as_ref().map(|digest| digest.kind),
                    _ => None,
                };
                assert_eq!(found, expected, "{what}");
            }
        }
    }
}

#[test]
fn both_forms_of_format_1_read_right() {
    let built = Built::new(MAP);
    for trailer in [4, 8] {
        let image = built.image1(trailer);
        assert!(contents(&image).unwrap() == built.volume(), "{trailer}");
    }
    let mut image = built.image1(4);
    // A value that is neither of the two is a free block; its data is not there either.
    image[4160 + 2] = 77;
    assert!(contents(&image).unwrap() == built.volume());
    let warnings = open(&image).unwrap().info().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("neither 0 nor 1"), "{warnings:?}");
    image.pop();
    assert_eq!(corrupt_at(refusal(&image)), 4160 + MAP.len() as u64 + 8);
    let mut image = built.image1(4);
    image[4160 + MAP.len()] ^= 1;
    assert_eq!(corrupt_at(refusal(&image)), 4160 + MAP.len() as u64);
}

#[test]
fn a_device_larger_than_its_file_system_ends_in_zeroes() {
    let mut built = Built::new(MAP);
    built.device_size += 5 * 512;
    let image = built.image();
    assert_eq!(open(&image).unwrap().disks()[0].size, built.device_size);
    assert!(contents(&image).unwrap() == built.volume());
    let opened = open(&image).unwrap();
    let end = MAP.len() as u64 * 512;
    assert_eq!(range(&image, &*opened, end + 100, 700).unwrap(), vec![0; 700]);
    built.device_size = u64::MAX;
    assert_eq!(open(&built.image()).unwrap().disks()[0].size, end);
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    let image = Built::new(MAP).sums(0x20, 4, 3).image();
    let word = |value: u64| value.to_le_bytes();
    let short = |value: u32| value.to_le_bytes();
    for (offset, value, expected) in [
        (34, &[0u8, 0][..], 34),
        (60, &word(0), 60),
        (60, &word(1 << 55), 60),
        (60, &word(1 << 39), 110),
        (60, &word(MAP.len() as u64 + 64), 110 + 14),
        (76, &word(1 << 20), 76),
        (76, &word(3), 110),
        (84, &short(0), 84),
        (84, &short(u32::MAX), 84),
        (98, &[8, 0], 98),
        (100, &short(0), 100),
        (105, &[0], 76),
    ] {
        let error = refusal(&changed(&image, offset, value));
        assert_eq!(corrupt_at(error), expected, "{offset} {value:?}");
    }
    let mut unsealed = image.clone();
    unsealed[20] ^= 1;
    assert_eq!(corrupt_at(refusal(&unsealed)), 106);
    let mut bitmap = image;
    bitmap[112] ^= 1;
    assert_eq!(corrupt_at(refusal(&bitmap)), 110 + MAP.len().div_ceil(8) as u64);
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let image = Built::new(MAP).sums(0x20, 4, 3).image();
    for (offset, value, name) in [
        (33, &b"3"[..], "format \"0003\""),
        (34, &[0xc0, 0xde], "big-endian"),
        (60, &(1u64 << 41).to_le_bytes(), "blocks"),
        (84, &1000u32.to_le_bytes(), "multiple of 512"),
        (88, &20u32.to_le_bytes(), "features"),
        (92, &[3, 0], "features"),
        (96, &[0xff, 0], "0xff"),
        (105, &[2], "bitmap"),
    ] {
        match refusal(&changed(&image, offset, value)) {
            Error::Unsupported(what) => assert!(what.contains(name), "{what}"),
            other => panic!("{name}: {other}"),
        }
    }
    let settings = vec![("checksums".into(), "maybe".into())];
    let options = OpenOptions { settings, ..OpenOptions::read_only() };
    let refused = Partclone::open(sources(&image).main, Rc::new(MemoryHost::new()), options);
    assert!(matches!(refused.err(), Some(Error::Unsupported(_))));
    for bytes in [&b""[..], b"partclone", b"another file altogether"] {
        assert_eq!(refusal(bytes), Error::Unrecognised);
    }
    assert!(matches!(refusal(b"partclone-image"), Error::Corrupt { .. }));
}

#[test]
fn what_was_cut_off_is_damaged_and_the_rest_reads() {
    for built in [Built::new(MAP), Built::new(MAP).sums(0x20, 4, 3)] {
        let (image, volume) = (built.image(), built.volume());
        let cut = &image[..image.len() - 1500];
        let opened = open(cut).unwrap();
        assert!(opened.info().warnings[0].contains("cut off"));
        assert_eq!(opened.disk(0).unwrap().check(false).unwrap().len(), 1);
        assert!(range(cut, &*opened, 0, 20 * 512).unwrap() == volume[..20 * 512]);
        let last = volume.len() as u64 - 512;
        assert!(range(cut, &*opened, last, 512).is_err());
        let longer = [&image[..], b"more"].concat();
        assert!(contents(&longer).unwrap() == volume);
        assert!(open(&longer).unwrap().info().warnings[0].contains("4 bytes behind"));
    }
}

#[test]
fn a_damaged_group_fails_alone() {
    let built = Built::new(MAP).sums(0x20, 4, 3);
    let mut image = built.image();
    let data = 110 + MAP.len().div_ceil(8) + 4;
    image[data + 3 * 512 + 4 + 7] ^= 1;
    let opened = open(&image).unwrap();
    let numbers: Vec<u64> =
        (0u64..).zip(MAP.bytes()).filter(|(_, b)| *b == b'#').map(|(n, _)| n).collect();
    for (rank, number) in numbers.iter().enumerate() {
        let read = range(&image, &*opened, number * 512, 512);
        assert_eq!(read.is_err(), (3..6).contains(&rank), "{rank}");
    }
}

/// A source that is as large as it says, and zero but for its beginning and end.
struct Hollow {
    head: Vec<u8>,
    tail: Vec<u8>,
    size: u64,
}

impl fumehood_plugin::Source for Hollow {
    fn id(&self) -> u32 {
        0
    }
    fn name(&self) -> String {
        "hollow".into()
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn read(&self, offset: u64, length: usize) -> fumehood_plugin::Result<Vec<u8>> {
        let tail = self.size - self.tail.len() as u64;
        let byte = |at: u64| match at.checked_sub(tail) {
            Some(at) => self.tail[at as usize],
            None => usize::try_from(at).ok().and_then(|at| self.head.get(at)).copied().unwrap_or(0),
        };
        if offset >= self.head.len() as u64 && offset + length as u64 <= tail {
            return Ok(vec![0; length]);
        }
        Ok((offset..offset + length as u64).map(byte).collect())
    }
}

#[test]
fn a_volume_of_many_tebibytes_takes_steps_and_little_memory() {
    let blocks = 1u64 << 31;
    let mut built = Built::new("");
    built.block = 4096;
    built.device_size = blocks * 4096;
    let head = changed(&built.header(), 60, &blocks.to_le_bytes());
    let length = blocks / 8;
    // The checksum over so many zeroes, by the tables of another implementation.
    let sum = !crc_of_zeroes(length);
    let main = Hollow { head, tail: sum.to_le_bytes().to_vec(), size: 110 + length + 4 };
    let image =
        Partclone::open(Rc::new(main), Rc::new(MemoryHost::new()), OpenOptions::read_only())
            .unwrap();
    let mut steps = 0;
    loop {
        let progress = image.prepare().unwrap();
        steps += 1;
        if progress.done == progress.total {
            break;
        }
    }
    assert!((10..100).contains(&steps), "{steps}");
    let extents = image.disk(0).unwrap().extents(1 << 40, u64::MAX).unwrap();
    assert_eq!(extents.len(), 1);
    assert_eq!((extents[0].end(), &extents[0].content), (blocks * 4096, &Content::Zero));
}

/// CRC-32 (with the inversion) of `length` zeroes, by squaring the matrix of one byte.
fn crc_of_zeroes(length: u64) -> u32 {
    let times = |matrix: &[u32; 32], vector: u32| {
        (0..32).filter(|bit| vector >> bit & 1 == 1).fold(0, |sum, bit| sum ^ matrix[bit])
    };
    let bit: [u32; 32] =
        std::array::from_fn(|at| if at == 0 { 0xedb8_8320 } else { 1 << (at - 1) });
    let mut step = bit;
    for _ in 0..3 {
        step = step.map(|column| times(&step, column));
    }
    let (mut sum, mut rest) = (u32::MAX, length);
    while rest > 0 {
        if rest & 1 == 1 {
            sum = times(&step, sum);
        }
        step = step.map(|column| times(&step, column));
        rest >>= 1;
    }
    !sum
}

#[test]
fn random_changes_never_panic() {
    let mut random = Random::new(5);
    let mut mode8 = Built::new(MAP).sums(0x20, 4, 2);
    mode8.bitmap_mode = 8;
    let seeds =
        [Built::new(MAP).sums(0x20, 4, 3).image(), mode8.image(), Built::new(MAP).image1(4)];
    for seed in &seeds {
        for _ in 0..3000 {
            let mut image = seed.clone();
            for _ in 0..=random.below(3) {
                // Mostly where the structures are.
                let end = if random.one_in(4) { image.len() as u64 } else { 200 };
                let at = random.below(end) as usize;
                image[at] ^= 1 << random.below(8);
            }
            if random.one_in(8) {
                image.truncate(random.below(image.len() as u64) as usize);
            }
            if image.len() > 110 && random.one_in(2) {
                image = changed(&image, 50, &[0]);
            }
            probe(&image);
        }
    }
}

fn probe(bytes: &[u8]) {
    let glimpse = Glimpse { head: bytes.to_vec(), ..Glimpse::default() };
    let Ok(image) = open(bytes) else { return };
    assert_eq!(Partclone::probe(&glimpse), Confidence::Certain);
    let _ = image.info();
    let size = image.disks()[0].size;
    let Ok(mut disk) = image.disk(0) else { return };
    let _ = sources(bytes).walk(&mut *disk, size, 1 << 20, 64);
    let _ = disk.check(false);
}
