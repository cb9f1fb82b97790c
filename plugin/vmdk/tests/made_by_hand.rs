//! Extents that no free tool writes, put together by hand. QEMU reads them too, which
//! shows that they are what they should be.

mod support;

use fumehood_plugin::Content;
use fumehood_test_support::Bench;
use support::generate::{self, Grain, Hosted, descriptor, disk, pattern};
use support::{Set, set};

/// A base of noise, and the descriptor of a delta over it.
fn over_base(bench: &Bench, kind: &str, line: &str, sectors: usize) -> Vec<u8> {
    let base: Vec<u8> = (0..sectors * 512).map(|at| (at / 512 % 251) as u8 | 1).collect();
    let flat = format!("RW {sectors} VMFS \"base-flat.vmdk\"");
    bench.write("base-flat.vmdk", &base);
    bench.write("base.vmdk", descriptor("vmfs", &[&flat], None).as_bytes());
    let child = descriptor(kind, &[line], Some(("0badcafe", "base.vmdk")));
    bench.write("child.vmdk", child.as_bytes());
    base
}

/// The disk of `child.vmdk`, with what it lacks taken from `base`.
fn layered(set: &Set, base: &[u8]) -> Vec<u8> {
    let mut found = set.read().unwrap();
    let image = set.open().unwrap();
    let mut disk = image.disk(0).unwrap();
    let mut at = 0;
    while at < found.len() as u64 {
        for extent in disk.extents(at, u64::MAX).unwrap() {
            let range = extent.offset as usize..extent.end() as usize;
            if extent.content == Content::Absent {
                found[range.clone()].copy_from_slice(&base[range]);
            }
            at = extent.end();
        }
    }
    found
}

#[test]
fn a_cowd_delta_reads_as_with_qemu() {
    for grain in [1, 16] {
        let bench = Bench::new(&format!("cowd-{grain}"));
        // More than two tables, the last grain cut where it is not one sector.
        let (count, sectors) = (4096 * 2 + 100, (4096 * 2 + 100) * grain - grain / 2);
        let grains = pattern(count, grain, false);
        let line = format!("RW {sectors} VMFSSPARSE \"child-delta.vmdk\"");
        let base = over_base(&bench, "vmfsSparse", &line, sectors);
        bench.write("child-delta.vmdk", &generate::cowd(sectors, grain, &grains));
        let expected = disk(&grains, grain, sectors, Some(&base));
        let set = set(&bench, "child.vmdk");
        assert!(layered(&set, &base) == expected, "{grain}");
        assert!(bench.qemu_reads("vmdk", "child.vmdk") == expected, "{grain}, by QEMU");
        assert_eq!((set.check(), set.warnings()), (vec![], vec![]));
        let info = set.open().unwrap().disks().remove(0);
        assert_eq!(info.granularity as usize, grain * 512);
        assert_eq!(info.parent.unwrap().identities, ["0badcafe"]);
        // The delta by itself: what it lacks is zero.
        let alone = Set::single(&bench.read("child-delta.vmdk"));
        assert!(alone.read().unwrap() == disk(&grains, grain, sectors, None));
        assert_eq!(alone.warnings().len(), 1);
    }
}

#[test]
fn an_sesparse_delta_reads_as_with_qemu() {
    let bench = Bench::new("sesparse");
    // Grain numbers above 4095 show how they are put together.
    let (count, sectors) = (3 * 4096 + 77, (3 * 4096 + 77) * 8 - 3);
    let grains = pattern(count, 8, true);
    let line = format!("RW {sectors} SESPARSE \"child-sesparse.vmdk\"");
    let base = over_base(&bench, "seSparse", &line, sectors);
    bench.write("child-sesparse.vmdk", &generate::sesparse(sectors, &grains));
    let expected = disk(&grains, 8, sectors, Some(&base));
    let set = set(&bench, "child.vmdk");
    assert!(layered(&set, &base) == expected);
    assert!(bench.qemu_reads("vmdk", "child.vmdk") == expected, "by QEMU");
    assert_eq!((set.check(), set.warnings()), (vec![], vec![]));
    assert_eq!(set.open().unwrap().disks()[0].granularity, 4096);
}

fn hosted(capacity: usize, grain: usize, kind: &str) -> Hosted {
    let line = format!("RW {capacity} SPARSE \"disk.vmdk\"");
    Hosted { capacity, grain, descriptor: descriptor(kind, &[&line], None) }
}

#[test]
fn hosted_extents_of_any_grain_read_as_with_qemu() {
    let bench = Bench::new("hosted");
    for (count, grain, cut) in [(1, 8, 7), (100, 8, 3), (70, 128, 1), (40, 16, 0)] {
        let capacity = count * grain - cut;
        let grains = pattern(count, grain, true);
        let hosted = hosted(capacity, grain, "monolithicSparse");
        bench.write("disk.vmdk", &hosted.sparse(&grains));
        let expected = disk(&grains, grain, capacity, None);
        let set = set(&bench, "disk.vmdk");
        assert!(set.read().unwrap() == expected, "{count} {grain}");
        assert!(bench.qemu_reads("vmdk", "disk.vmdk") == expected, "{count} {grain}, by QEMU");
        assert_eq!((set.check(), set.warnings()), (vec![], vec![]));
    }
}

#[test]
fn streams_with_a_footer_read_as_with_qemu() {
    let bench = Bench::new("stream");
    for (count, grain, cut, cut_last) in [
        (1, 128, 0, false),
        (100, 128, 0, false),
        (70, 128, 5, false),
        (73, 128, 5, true),
        (300, 8, 0, false),
    ] {
        let capacity = count * grain - cut;
        let grains = pattern(count, grain, false);
        let stream = hosted(capacity, grain, "streamOptimized").stream(&grains, cut_last);
        bench.write("disk.vmdk", &stream);
        let expected = disk(&grains, grain, capacity, None);
        let set = set(&bench, "disk.vmdk");
        assert!(set.read().unwrap() == expected, "{count} {grain} {cut_last}");
        assert!(
            bench.qemu_reads("vmdk", "disk.vmdk") == expected,
            "{count} {grain} {cut_last}, by QEMU"
        );
        assert_eq!((set.check(), set.warnings()), (vec![], vec![]));
        // As tapes and stores pad it.
        let padded = [&stream[..], &[0; 5 * 512 + 100]].concat();
        assert!(Set::single(&padded).read().unwrap() == expected);
    }
}

#[test]
fn tables_that_cannot_be_read_have_a_copy() {
    let grains = pattern(100, 8, true);
    let expected = disk(&grains, 8, 800, None);
    let sound = hosted(800, 8, "monolithicSparse").sparse(&grains);
    let directory = u64::from_le_bytes(sound[56..64].try_into().unwrap()) as usize * 512;

    let mut entry = sound.clone();
    generate::put32(&mut entry, directory + 4, u32::MAX);
    let set = Set::single(&entry);
    assert!(set.read().unwrap() == expected);
    assert_eq!(set.check().len(), 1, "{:?}", set.check());

    let mut outside = sound.clone();
    generate::put64(&mut outside, 56, 1 << 40);
    let set = Set::single(&outside);
    assert!(set.read().unwrap() == expected);
    assert!(set.warnings()[0].contains("redundant"), "{:?}", set.warnings());

    let mut without = outside.clone();
    generate::put32(&mut without, 8, 5);
    assert!(Set::single(&without).refusal().to_string().contains("grain directory"));
}

#[test]
fn every_kind_of_part_finds_its_place() {
    let grains = pattern(40, 8, true);
    let sparse = hosted(320, 8, "custom").sparse(&grains);
    let flat: Vec<u8> = (0..20 * 512).map(|at| (at / 512) as u8 + 100).collect();
    let lines = [
        "RW 3 FLAT \"flat file.vmdk\" 2",
        "RW 320 SPARSE \"sparse.vmdk\"",
        "RW 9 ZERO",
        "RDONLY 5 FLAT \"flat file.vmdk\"",
        "NOACCESS 7 FLAT \"nowhere.vmdk\"",
        "RW 15 FLAT \"flat file.vmdk\" 5",
    ];
    let text = descriptor("custom", &lines, None);
    let set = Set::new(text.as_bytes(), &[("flat file.vmdk", &flat), ("sparse.vmdk", &sparse)]);
    let expected =
        [&flat[2 * 512..5 * 512], &disk(&grains, 8, 320, None), &[0; 9 * 512], &flat[..5 * 512]]
            .concat();
    assert!(set.read_range(0, expected.len() as u64).unwrap() == expected);
    assert!(set.damage(expected.len() as u64).unwrap().contains("no access"));
    assert!(set.read_range((3 + 320 + 9 + 5 + 7) * 512, u64::MAX).unwrap() == flat[5 * 512..]);
    assert_eq!(set.open().unwrap().disks()[0].granularity, 512);
    assert_eq!(set.size(), 359 * 512);
    // A descriptor inside of an extent names files that are not opened.
    let inside = hosted(320, 8, "monolithicSparse");
    let inside = Hosted { descriptor: descriptor("custom", &lines, None), ..inside };
    let set = Set::single(&inside.sparse(&grains));
    assert!(set.read().unwrap() == disk(&grains, 8, 320, None));
    assert!(set.warnings()[0].contains("descriptor tells"), "{:?}", set.warnings());
}

#[test]
fn large_runs_are_one_extent() {
    // Grains that follow each other, as a disk filled in order has them.
    let grains = vec![Grain::Data(vec![1; 4096]); 3000];
    let set = Set::single(&hosted(24000, 8, "monolithicSparse").sparse(&grains));
    let extents = set.open().unwrap().disk(0).unwrap().extents(0, u64::MAX).unwrap();
    assert_eq!((extents.len(), extents[0].length), (1, 24000 * 512));
}
