//! Images that libsparse's tools make, read here; images built by hand, read by those
//! tools and 7-Zip too.

mod support;

use std::fs;

use fumehood_android_sparse::AndroidSparse;
use fumehood_plugin::simulate::Random;
use fumehood_plugin::{Confidence, Content, Format, Glimpse};
use fumehood_test_support::Bench;
use support::{Builder, Set, by_simg2img};

/// A disk with runs of all kinds, in units of 4 KiB.
fn sample(units: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut disk = Vec::new();
    while disk.len() < units * 4096 {
        let length = (1 + random.below(9) as usize) * 4096;
        let word = random.next_word();
        match random.below(4) {
            0 => disk.resize(disk.len() + length, 0),
            1 => disk.extend(word.to_le_bytes()[..4].repeat(length / 4)),
            _ => disk.extend((0..length / 8).flat_map(|_| random.next_word().to_le_bytes())),
        }
    }
    disk.truncate(units * 4096);
    disk
}

#[test]
fn what_img2simg_writes_is_read() {
    let bench = Bench::new("img2simg");
    for (number, block) in ["4096", "1024", "2048", "65536", "12288"].into_iter().enumerate() {
        let disk = sample(480, number as u64);
        bench.write("disk.raw", &disk);
        bench.run("img2simg", &["disk.raw", "disk.simg", block]);
        let bytes = bench.read("disk.simg");
        let set = Set::single(&bytes);
        assert!(bytes.len() < disk.len(), "{block}: nothing is sparse");
        assert!(set.contents().unwrap() == disk, "{block}");
        assert!(set.contents().unwrap() == by_simg2img(&bench, &["disk.simg"]), "{block}");
        let image = set.open().unwrap();
        assert_eq!(image.disk(0).unwrap().check(false).unwrap(), []);
        let granularity = image.disks()[0].granularity;
        assert_eq!(granularity, 1 << block.parse::<u32>().unwrap().trailing_zeros());
        let head = bytes[..65536.min(bytes.len())].to_vec();
        let glimpse = Glimpse { name: "x".into(), size: 1, head, tail: vec![] };
        assert_eq!(AndroidSparse::probe(&glimpse), Confidence::Certain);
    }
}

#[test]
fn what_simg2simg_splits_is_put_together() {
    let bench = Bench::new("split");
    let disk = sample(600, 9);
    bench.write("disk.raw", &disk);
    bench.run("img2simg", &["disk.raw", "disk.simg"]);
    bench.run("simg2simg", &["disk.simg", "super.img_sparsechunk", "300000"]);
    let name = |number: usize| format!("super.img_sparsechunk.{number}");
    let count = (0..).take_while(|n| std::fs::exists(bench.path(&name(*n))).unwrap()).count();
    assert!(count >= 4, "{count}");
    let parts: Vec<_> =
        (0..count).map(|number| (name(number), bench.read(&name(number)))).collect();
    let set = Set::new(&parts[0].0, &parts[0].1, &parts[1..]);
    assert!(set.contents().unwrap() == disk);
    let names: Vec<String> = (0..count).map(name).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    assert!(by_simg2img(&bench, &names) == disk);
    let image = set.open().unwrap();
    assert!(image.info().details.contains(&("parts".into(), count.to_string())));
    assert_eq!(image.disk(0).unwrap().check(false).unwrap(), []);
    // One part alone is what libsparse makes of it alone.
    let alone = Set::new(&parts[2].0, &parts[2].1, &parts[3..]);
    assert!(alone.contents().unwrap() == by_simg2img(&bench, &[&name(2)]));
    assert_eq!(alone.open().unwrap().info().warnings.len(), 1);
}

/// All kinds of chunks.
fn varied(builder: Builder) -> Builder {
    builder.raw(1, 3).fill([1, 2, 3, 4], 5).skip(2).fill([0; 4], 3).crc(7).raw(2, 1)
}

#[test]
fn chunks_built_by_hand_are_read_as_others_read_them() {
    let bench = Bench::new("built");
    for (header, chunk_header) in [(28, 12), (40, 12), (28, 16), (100, 20)] {
        let mut builder = Builder::new(4096);
        (builder.header, builder.chunk_header) = (header, chunk_header);
        let bytes = varied(builder).build();
        bench.write("built.simg", &bytes);
        let found = Set::single(&bytes).contents().unwrap();
        assert_eq!(found.len(), 14 * 4096);
        assert!(found == by_simg2img(&bench, &["built.simg"]), "{header}, {chunk_header}");
        if (header, chunk_header) == (28, 12) {
            // 7-Zip knows no others.
            bench.run("7zz", &["x", "-y", "-o7z", "built.simg"]);
            let mut made = fs::read_dir(bench.path("7z")).unwrap();
            assert!(found == fs::read(made.next().unwrap().unwrap().path()).unwrap());
        }
    }
}

#[test]
fn patterns_are_computed_from_any_offset() {
    let set = Set::single(&varied(Builder::new(4096)).build());
    let disk = set.contents().unwrap();
    assert_eq!(disk[12288..12294], [1, 2, 3, 4, 1, 2]);
    for offset in [12289, 12290, 12291, 20_000, 32_767] {
        let part = set.read(offset, 9000).unwrap();
        assert!(part == disk[offset as usize..][..part.len()], "{offset}");
    }
    let mut disk = set.open().unwrap().disk(0).unwrap();
    let extents = disk.extents(0, 1 << 20).unwrap();
    let kinds: Vec<_> =
        extents.iter().map(|extent| (extent.length / 4096, &extent.content)).collect();
    assert!(matches!(
        kinds[..],
        [
            (3, Content::Stored(_)),
            (5, Content::Computed),
            (5, Content::Zero),
            (1, Content::Stored(_))
        ]
    ));
    assert!(disk.read(0, 4096).is_err(), "not computed");
    assert!(disk.read(14 * 4096 - 1, 2).is_err(), "past the end");
    assert!(disk.read(12288, usize::MAX).is_err());
}

#[test]
fn longer_headers_are_stepped_over() {
    let mut builder = Builder::new(8);
    builder.header = 100;
    builder.chunk_header = 20;
    let set = Set::single(&builder.raw(3, 2).fill([4; 4], 1).skip(1).raw(5, 1).build());
    let expected = [[3; 8], [3; 8], [4; 8], [0; 8], [5; 8]].concat();
    assert!(set.contents().unwrap() == expected);
}
