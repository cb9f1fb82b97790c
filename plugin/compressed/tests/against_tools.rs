//! Files that the formats' own tools write, in all their shapes: the contents must be
//! what was compressed, and what can be entered in the middle must not be unpacked.

mod common;

use common::{File, filter, sample, verify};
use fumehood_test_support::Bench;

const SIZE: usize = 2_500_001;

/// What each kind of extent must be: none, some, or anything.
#[track_caller]
fn expect(what: &str, counts: [usize; 5], unpacked: bool) {
    let [_, _, scratch, encoded, damaged] = counts;
    assert_eq!((scratch > 0, damaged), (unpacked, 0), "{what}: {counts:?}");
    assert!(unpacked || encoded > 0, "{what}: {counts:?}");
}

#[test]
fn gzip_of_all_levels() {
    let (bench, plain) = (Bench::new("gzip"), sample(SIZE));
    for level in ["-1", "-6", "-9"] {
        let packed = filter(&bench, "gzip", &["-c", level], &plain);
        expect(level, verify(level, &packed, &plain), false);
    }
    for options in
        [&["-p4"][..], &["-p4", "-i"], &["-p2", "-9", "-R"], &["-p1", "-11", "-b", "512"], &["-0"]]
    {
        if options.contains(&"-11") {
            // A minute for the whole.
            let packed = filter(&bench, "pigz", options, &plain[..100_000]);
            verify("pigz -11", &packed, &plain[..100_000]);
            continue;
        }
        let packed = filter(&bench, "pigz", options, &plain);
        expect(&format!("{options:?}"), verify(&format!("{options:?}"), &packed, &plain), false);
    }
}

#[test]
fn bgzf_is_taken_by_its_blocks() {
    let plain = sample(600_000);
    let block = |bytes: &[u8]| {
        let data = miniz_oxide::deflate::compress_to_vec(bytes, 6);
        let size = (data.len() + 25) as u16;
        let mut block = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0".to_vec();
        block.extend(size.to_le_bytes());
        block.extend(data);
        block.extend(crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes).to_le_bytes());
        block.extend((bytes.len() as u32).to_le_bytes());
        block
    };
    let mut packed: Vec<u8> = plain.chunks(65_280).flat_map(block).collect();
    packed.extend(block(b""));
    let bench = Bench::new("bgzf");
    assert!(filter(&bench, "gzip", &["-dc"], &packed) == plain, "gzip reads it");
    let counts = verify("bgzf", &packed, &plain);
    assert_eq!(counts[3], plain.len().div_ceil(65_280));
    let bare = File::new("x.bgz", &packed);
    let image = bare.open_bare().unwrap();
    assert!(bare.contents(&*image).unwrap() == plain, "it needs no scratch");
}

#[test]
fn gzip_tells_the_checksum_of_one_member_and_its_name() {
    let (bench, plain) = (Bench::new("name"), sample(70_000));
    bench.write("disk.img", &plain);
    let packed = bench.output("gzip", &["-c", "disk.img"]);
    let file = File::new("other.gz", &packed);
    let (image, _) = file.open().unwrap();
    let digests = &image.disks()[0].digests;
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&plain);
    assert_eq!(digests[0].value, crc.to_le_bytes());
    assert!(image.info().details.iter().any(|(_, value)| value == "disk.img"));
    // Several members have no checksum in common.
    let twice = [packed.clone(), packed.clone()].concat();
    expect("twice", verify("twice", &twice, &[plain.clone(), plain.clone()].concat()), false);
    assert!(File::new("x.gz", &twice).open().unwrap().0.disks()[0].digests.is_empty());
    // What fills a tape is no member, and what else is there is told.
    let tape = [packed.clone(), vec![0; 9000]].concat();
    verify("zeroes behind", &tape, &plain);
    let noise = File::new("x.gz", &[packed, vec![7; 10]].concat());
    let (image, _) = noise.open().unwrap();
    assert!(image.info().warnings[0].contains("10 bytes"));
    assert!(noise.contents(&*image).unwrap() == plain);
}

#[test]
fn xz_by_its_blocks() {
    let (bench, plain) = (Bench::new("xz"), sample(SIZE));
    for options in [
        &["-0", "-T1"][..],
        &["-0", "-T2", "--block-size=1MiB"],
        &["-0", "-T1", "--block-size=100000", "-C", "crc32"],
        &["-0", "-T1", "--block-size=900000", "-C", "sha256"],
        &["-0", "-T1", "--block-size=900000", "-C", "none"],
        &["-6", "-T1", "--block-list=1000000,1000000,0"],
    ] {
        let packed = filter(&bench, "xz", &[&["-c"], options].concat(), &plain);
        let counts = verify(&format!("{options:?}"), &packed, &plain);
        assert_eq!(counts[2], 0, "{options:?}");
    }
    let packed = filter(&bench, "pixz", &["-0", "-t"], &plain);
    assert_eq!(verify("pixz", &packed, &plain)[2], 0);
    // Streams with padding between, and an empty one.
    let part = |bytes: &[u8]| filter(&bench, "xz", &["-c", "-0"], bytes);
    let (first, second) = plain.split_at(SIZE / 3);
    let streams = [part(first), vec![0; 4096], part(b""), part(second), vec![0; 8]].concat();
    expect("streams", verify("streams", &streams, &plain), false);
}

#[test]
fn xz_filters_are_unpacked() {
    let (bench, plain) = (Bench::new("filters"), sample(1_000_000));
    for own in ["--x86", "--arm", "--delta=dist=4", "--powerpc"] {
        let options = ["-c", "-T1", "--block-size=300000", own, "--lzma2=preset=0"];
        let packed = filter(&bench, "xz", &options, &plain);
        expect(own, verify(own, &packed, &plain), true);
    }
}

#[test]
fn zstd_by_its_frames() {
    let (bench, plain) = (Bench::new("zstd"), sample(SIZE));
    bench.write("disk", &plain);
    // With its size, from a file; without it, from a pipe.
    let known = bench.output("zstd", &["-q", "-c", "disk"]);
    assert_eq!(verify("known", &known, &plain)[2], 0);
    for options in [&["-c"][..], &["-c", "-19", "--long=24"], &["-c", "--no-check"]] {
        let plain = if options.contains(&"-19") { &plain[..1_000_000] } else { &plain };
        let packed = filter(&bench, "zstd", options, plain);
        assert_eq!(verify(&format!("{options:?}"), &packed, plain)[2], 0);
    }
    let parts: Vec<Vec<u8>> =
        plain.chunks(700_000).map(|part| filter(&bench, "zstd", &["-c", "-q"], part)).collect();
    let mut framed = parts.concat();
    expect("frames", verify("frames", &framed, &plain), false);
    let packed = bench.output("pzstd", &["-q", "-c", "-p", "4", "disk"]);
    expect("pzstd", verify("pzstd", &packed, &plain), false);
    // The seekable format, which no tool of the distribution writes.
    let lengths =
        parts.iter().zip(plain.chunks(700_000)).map(|(part, plain)| (part.len(), plain.len()));
    let lengths: Vec<(usize, usize)> = lengths.collect();
    for checked in [false, true] {
        let mut seekable = framed.clone();
        seekable.extend(seek_table(&lengths, checked));
        expect("seekable", verify("seekable", &seekable, &plain), false);
    }
    // A table of another file is given up, and the frames are walked.
    let mut wrong = lengths.clone();
    wrong.swap(0, 1);
    wrong[0].1 += 1;
    framed.extend(seek_table(&wrong, false));
    expect("wrong table", verify("wrong table", &framed, &plain), false);
}

/// A seek table by its description: a skippable frame of entries and a footer.
fn seek_table(lengths: &[(usize, usize)], checked: bool) -> Vec<u8> {
    let mut body = Vec::new();
    for (stored, decoded) in lengths {
        body.extend((*stored as u32).to_le_bytes());
        body.extend((*decoded as u32).to_le_bytes());
        if checked {
            body.extend([1, 2, 3, 4]);
        }
    }
    body.extend((lengths.len() as u32).to_le_bytes());
    body.push(if checked { 0x80 } else { 0 });
    body.extend([0xb1, 0xea, 0x92, 0x8f]);
    let mut frame = vec![0x5e, 0x2a, 0x4d, 0x18];
    frame.extend((body.len() as u32).to_le_bytes());
    [frame, body].concat()
}

#[test]
fn lz4_by_its_blocks() {
    let (bench, plain) = (Bench::new("lz4"), sample(SIZE));
    for options in [
        &["-B4"][..],
        &["-B5", "-BX"],
        &["-B6", "--no-frame-crc"],
        &["-B7", "-9"],
        &["-l"],
        &["-B4", "--content-size"],
    ] {
        bench.write("disk", &plain);
        let packed = bench.output("lz4", &[&["-q", "-c"], options, &["disk"]].concat());
        expect(&format!("{options:?}"), verify(&format!("{options:?}"), &packed, &plain), false);
    }
    for options in [&["-c", "-BD", "-B4"][..], &["-c", "-BD", "-B6"], &["-c", "-BD", "-B5", "-BX"]]
    {
        let packed = filter(&bench, "lz4", options, &plain);
        expect(&format!("{options:?}"), verify(&format!("{options:?}"), &packed, &plain), true);
    }
    // Frames of all kinds in a row, with one to skip.
    let part = |options: &[&str], bytes: &[u8]| filter(&bench, "lz4", options, bytes);
    let (first, rest) = plain.split_at(300_000);
    let (second, third) = rest.split_at(400_000);
    let skip = b"\x53\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    let frames = [
        skip.clone(),
        part(&["-c", "-B4"], first),
        part(&["-c", "-l"], second),
        skip,
        part(&["-c", "-B4"], third),
    ];
    expect("frames", verify("frames", &frames.concat(), &plain), false);
}

#[test]
fn lzop_by_its_blocks() {
    let (bench, plain) = (Bench::new("lzop"), sample(SIZE));
    bench.write("disk", &plain);
    for options in [&["-3"][..], &["-9"], &["-1", "-F"], &["--crc32"]] {
        let plain = if options == ["-9"] { &plain[..1_000_000] } else { &plain };
        bench.write("disk", plain);
        let packed = bench.output("lzop", &[&["-c"], options, &["disk"]].concat());
        expect(&format!("{options:?}"), verify(&format!("{options:?}"), &packed, plain), false);
    }
}

#[test]
fn bzip2_is_unpacked() {
    let (bench, plain) = (Bench::new("bzip2"), sample(1_000_000));
    for level in ["-1", "-9"] {
        let packed = filter(&bench, "bzip2", &["-c", level], &plain);
        expect(level, verify(level, &packed, &plain), true);
    }
    let part = |bytes: &[u8]| filter(&bench, "bzip2", &["-c"], bytes);
    let (first, second) = plain.split_at(699_999);
    let streams = [part(first), part(b""), part(second)].concat();
    expect("streams", verify("streams", &streams, &plain), true);
    // Runs at the limits of what one count can say.
    let runs: Vec<u8> = (0..600usize).flat_map(|n| vec![(n % 3) as u8 + 1; n]).collect();
    verify("runs", &part(&runs), &runs);
}

#[test]
fn long_zeroes_cost_nothing() {
    let bench = Bench::new("zeroes");
    let mut plain = vec![0; 24 << 20];
    plain[12_345_678] = 1;
    for tool in ["gzip", "bzip2"] {
        let packed = filter(&bench, tool, &["-c"], &plain);
        let file = File::new("disk.raw.x", &packed);
        let (image, steps) = file.open().unwrap();
        assert!(steps > 1, "{tool}: {steps}");
        let counts = common::count(&file.extents(&*image));
        assert!(counts[0] == 2 && counts[2] + counts[3] == 1, "{tool}: {counts:?}");
        assert!(file.scratch.bytes().len() < 300_000, "{tool}");
        assert!(file.contents(&*image).unwrap() == plain, "{tool}");
    }
}

#[test]
fn a_frame_too_long_to_be_decoded_whole_is_unpacked() {
    let bench = Bench::new("long");
    let mut plain = sample(700_000);
    plain.resize(66 << 20, 0);
    bench.write("disk", &plain);
    let short = filter(&bench, "zstd", &["-c"], &plain[..100_000]);
    let long = bench.output("zstd", &["-q", "-c", "disk"]);
    let packed = [short.clone(), long, short].concat();
    let file = File::new("disk.zst", &packed);
    let (image, _) = file.open().unwrap();
    let [zero, _, scratch, encoded, _] = common::count(&file.extents(&*image));
    assert!(zero > 0 && scratch > 0 && encoded == 2, "{zero} {scratch} {encoded}");
    let expected = [&plain[..100_000], &plain, &plain[..100_000]].concat();
    assert!(file.contents(&*image).unwrap() == expected);
}

#[test]
fn what_is_empty_is_an_empty_file() {
    let bench = Bench::new("empty");
    for tool in ["gzip", "xz", "zstd", "lz4", "bzip2", "lzop"] {
        let packed = filter(&bench, tool, &["-c"], b"");
        let (image, _) = File::new("empty", &packed).open().unwrap();
        assert_eq!(image.disks()[0].size, 0, "{tool}");
        assert!(image.disk(0).unwrap().extents(0, 1).is_err());
    }
}
