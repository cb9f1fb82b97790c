//! Images of our own making, read by us and by QEMU and 7-Zip.

mod support;

use fumehood_plugin::memory::check_answer;
use fumehood_plugin::{Contents, DigestKind};
use fumehood_test_support::Bench;
use support::udif::{ADC, BZIP2, COMMENT, IGNORE, Image, LZFSE, RAW, Run, XZ, ZLIB};
use support::{crc32, open, read_all, read_part, sample, set, seven_zip};

#[test]
fn every_codec_reads_as_others_read_it() {
    let bench = Bench::new("codecs");
    let disk = sample(1501);
    let variants = [
        (RAW, "UDRO"),
        (ZLIB, "UDZO"),
        (BZIP2, "UDBZ"),
        (XZ, "ULMO"),
        (LZFSE, "ULFO"),
        (ADC, "UDCO"),
    ];
    for (kind, variant) in variants {
        for (length, fork) in [(64, false), (512, false), (64, true)] {
            let bytes = Image { fork, ..Image::of(&disk, kind, length) }.bytes();
            bench.write("disk.dmg", &bytes);
            assert!(read_all(&bytes).unwrap() == disk, "{variant} {length} {fork}");
            if [RAW, ZLIB].contains(&kind) {
                assert!(
                    bench.qemu_reads("dmg", "disk.dmg") == disk,
                    "{variant} {length} {fork}: QEMU"
                );
            }
            // 7-Zip knows no stored blocks of LZFSE.
            if !fork && kind != LZFSE {
                assert!(seven_zip(&bench, "disk.dmg") == disk, "{variant} {length}: 7-Zip");
            }
            let image = open(&bytes).unwrap();
            assert!(image.info().details[0].1.starts_with(variant), "{:?}", image.info().details);
            assert_eq!(image.disk(0).unwrap().check(false).unwrap(), [], "{variant}");
            let info = &image.disks()[0];
            assert_eq!(info.contents, Contents::Disk);
            assert_eq!(info.digests[0].kind, DigestKind::Crc32);
            assert_eq!(info.digests[0].value, crc32(&disk).to_le_bytes(), "{variant}");
            assert_eq!(image.info().documents.len(), usize::from(!fork));
        }
    }
}

/// Three tables out of order with room between them, a data fork that does not begin the
/// file, comments, and runs that no one wrote.
fn scattered(disk: &mut [u8]) -> Image {
    let mut image = Image { sectors: 3000, before: 4096, ..Image::default() };
    image.add(&disk[2000 * 512..2900 * 512], 2000, ZLIB, 77);
    image.add(&disk[..600 * 512], 0, RAW, 50);
    image.add(&disk[700 * 512..1500 * 512], 700, BZIP2, 100);
    let filled = |first, count| Run { kind: IGNORE, first, count, offset: 0, length: 0 };
    let table = &mut image.tables[0];
    table.sectors += 100;
    table.runs.pop();
    table.runs.push(Run { kind: COMMENT, ..filled(900, 3) });
    table.runs.push(filled(900, 100));
    image.tables[2].data_offset = 8;
    for run in &mut image.tables[2].runs {
        run.offset = run.offset.saturating_sub(8);
    }
    disk[600 * 512..700 * 512].fill(0);
    disk[1500 * 512..2000 * 512].fill(0);
    disk[2900 * 512..].fill(0);
    image
}

#[test]
fn tables_lie_anywhere_and_what_none_describes_is_zero() {
    let mut disk = sample(3000);
    let bytes = scattered(&mut disk).bytes();
    assert!(read_all(&bytes).unwrap() == disk);
    let image = open(&bytes).unwrap();
    assert_eq!(image.disk(0).unwrap().check(false).unwrap(), []);
    assert_eq!(image.disks()[0].digests[0].value, crc32(&disk).to_le_bytes());
    let named = ("sectors 700 to 1499".to_string(), "part 2 of <&>".to_string());
    assert!(image.info().details.contains(&named), "{:?}", image.info().details);
    // Whatever is asked for, the answer holds it, and reads the same.
    let set = set("disk.dmg", &bytes, &[]);
    let mut map = image.disk(0).unwrap();
    for (offset, length) in [(0, 1), (511, 2), (599 * 512, 5000), (307_300, 90_000), (1_535_999, 1)]
    {
        let extents = map.extents(offset, length).unwrap();
        check_answer(&extents, offset, 1_536_000).unwrap();
        let part = read_part(&set, offset, length.min(1_536_000 - offset)).unwrap();
        assert!(part == disk[offset as usize..][..part.len()], "{offset}");
    }
    assert!(map.extents(1_536_000, 1).is_err());
}

#[test]
fn bytes_behind_the_trailer_are_passed_over() {
    let disk = sample(100);
    let mut bytes = Image::of(&disk, ZLIB, 64).bytes();
    bytes.extend([b'k'; 300]);
    assert!(read_all(&bytes).unwrap() == disk);
    bytes.extend([b'k'; 300]);
    assert!(read_all(&bytes).is_err(), "too many of them");
}

/// Old images have their trailer at the beginning.
#[test]
fn a_trailer_may_come_first() {
    let disk = sample(100);
    let bytes = Image { before: 512, ..Image::of(&disk, RAW, 64) }.bytes();
    let (file, trailer) = bytes.split_at(bytes.len() - 512);
    let turned = [trailer, &file[512..], &[0; 2000]].concat();
    assert!(read_all(&turned).unwrap() == disk);
}

#[test]
fn answers_stop_short_and_go_on() {
    let disk = [[b'a'; 512], [b'b'; 512]].concat().repeat(20_000);
    let mut image = Image::of(&disk, RAW, 1);
    // In another order, so that no two runs continue each other.
    for pair in image.tables[0].runs.as_chunks_mut::<2>().0 {
        let [one, two] = pair;
        core::mem::swap(&mut one.offset, &mut two.offset);
    }
    let bytes = image.bytes();
    let extents = open(&bytes).unwrap().disk(0).unwrap().extents(0, u64::MAX).unwrap();
    assert!((1000..65536).contains(&extents.len()), "{}", extents.len());
    let turned = [[b'b'; 512], [b'a'; 512]].concat().repeat(20_000);
    assert!(read_all(&bytes).unwrap() == turned);
}
