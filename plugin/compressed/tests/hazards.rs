//! What no honest writer makes, and what becomes of honest files on their way: cuts,
//! flipped bytes, a scratch that is torn, full or not there.

mod common;

use std::rc::Rc;

use common::{File, filter, sample};
use fumehood_compressed::Compressed;
use fumehood_plugin::memory::{MemoryHost, MemorySource, check_answer};
use fumehood_plugin::simulate::{JournalSource, Random};
use fumehood_plugin::{Content, Error, Format, OpenOptions, Source, SourceHandle};
use fumehood_test_support::Bench;

/// A small file of each kind: name of the tool, and what it made of `plain`.
fn all(bench: &Bench, plain: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let cases: [(&str, &[&str]); 11] = [
        ("gzip", &["-c"]),
        ("pigz", &["-c", "-i"]),
        ("xz", &["-c", "-0", "--block-size=30000"]),
        ("xz", &["-c", "--x86", "--lzma2=preset=0"]),
        ("zstd", &["-c"]),
        ("zstd", &["-c", "-q", "--no-check", "plain"]),
        ("lz4", &["-c", "-B4", "-BX"]),
        ("lz4", &["-c", "-BD", "-B4"]),
        ("lz4", &["-c", "-l"]),
        ("lzop", &["-c", "--crc32"]),
        ("bzip2", &["-c", "-1"]),
    ];
    cases.iter().map(|(tool, options)| (*tool, filter(bench, tool, options, plain))).collect()
}

/// Opens and walks it; any error may be the answer.
fn explore(bytes: &[u8]) -> Result<(), Error> {
    let file = File::new("disk.gz", bytes);
    let (image, _) = file.open()?;
    image.info();
    let size = image.disks()[0].size;
    let mut disk = image.disk(0)?;
    assert_eq!(disk.extents(size, 1), Err(Error::OutOfRange));
    disk.check(false)?;
    let mut at = 0;
    while at < size {
        let answer = disk.extents(at, 1 << 20)?;
        check_answer(&answer, at, size).unwrap();
        at = answer.last().unwrap().end();
        for extent in &answer {
            if let Content::Encoded(encoded) = &extent.content {
                let end = encoded.offset + u64::from(encoded.stored_length);
                let size = file.find(encoded.source).unwrap().size();
                assert!(end <= size, "{extent:?}");
                assert!(encoded.decoded_length <= 64 << 20);
                if let Some(window) = encoded.window {
                    let end = window.offset + u64::from(window.length);
                    assert!(window.bits < 8 && end <= file.scratch.size(), "{extent:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn cut_files_are_refused() {
    let bench = Bench::new("cut");
    for (tool, packed) in all(&bench, &sample(60_000)) {
        for length in (0..packed.len()).step_by(packed.len() / 25) {
            // A legacy LZ4 frame has no end, and lzop's are a word of zeroes.
            let result = explore(&packed[..length]);
            assert!(result.is_err() || tool == "lz4" && packed[0] == 2, "{tool}: {length}");
        }
        for cut in 1..20 {
            let _ = explore(&packed[..packed.len() - cut]);
        }
    }
}

#[test]
fn flipped_bytes_do_no_harm() {
    let bench = Bench::new("flips");
    let mut random = Random::new(5);
    for (_, packed) in all(&bench, &sample(20_000)) {
        for _ in 0..200 {
            let mut bytes = packed.clone();
            for _ in 0..=random.below(2) {
                // Headers and trailers are the smallest part.
                let length = bytes.len() as u64;
                let at = match random.below(3) {
                    0 => random.below(40.min(length)),
                    1 => length - 1 - random.below(80.min(length)),
                    _ => random.below(length),
                };
                bytes[at as usize] ^= 1 << random.below(8);
            }
            let _ = explore(&bytes);
        }
    }
}

#[test]
fn changed_contents_are_found() {
    let (bench, plain) = (Bench::new("changed"), sample(120_000));
    for (tool, packed) in all(&bench, &plain) {
        for place in 1..12 {
            let mut bytes = packed.clone();
            let at = bytes.len() * place / 12;
            bytes[at] ^= 0x10;
            let file = File::new("x.gz", &bytes);
            let Ok((image, _)) = file.open() else { continue };
            // Decoders of blocks without a checksum find most changes, not all.
            let checked = tool != "zstd" && packed[0] != 2;
            let found = file.contents(&*image);
            assert!(found.is_err() || !checked, "{tool}: {at}");
        }
    }
}

#[test]
fn a_block_with_a_wrong_checksum_is_damaged_alone() {
    let (bench, plain) = (Bench::new("block"), sample(600_000));
    let mut packed = filter(&bench, "lz4", &["-c", "-B4", "-BX"], &plain);
    // In the first block, which is noise that no compression made smaller.
    packed[30_000] ^= 1;
    let file = File::new("x.lz4", &packed);
    let (image, _) = file.open().unwrap();
    assert!(image.info().warnings[0].contains("65536 bytes"));
    let findings = image.disk(0).unwrap().check(false).unwrap();
    assert_eq!((findings.len(), findings[0].offset), (1, 0));
    assert!(file.range(&*image, 0, 10).is_err());
    let rest = file.range(&*image, 65536, plain.len() as u64 - 65536).unwrap();
    assert!(rest == plain[65536..]);
}

#[test]
fn a_torn_scratch_is_filled_again() {
    let (bench, plain) = (Bench::new("torn"), sample(300_000));
    for (tool, packed) in all(&bench, &plain) {
        let file = File::new("x.gz", &packed);
        file.open().unwrap();
        let good = file.scratch.bytes();
        let mut random = Random::new(3);
        for round in 0..18 {
            let mut torn = good.clone();
            match round % 3 {
                // A header that was not written, a file that was cut, a flipped bit.
                0 => torn[..4096].fill(0),
                1 => torn.truncate(random.below(good.len() as u64) as usize),
                _ => {
                    // Not among what was unpacked: that is only read when it is asked for.
                    let part = if random.one_in(2) { 0..136 } else { good.len() - 24..good.len() };
                    let at = part.start + random.below(part.len() as u64) as usize;
                    torn[at] ^= 1 << random.below(8);
                }
            }
            file.scratch.resize(0).unwrap();
            file.scratch.write(0, &torn).unwrap();
            let (image, steps) = file.open().unwrap();
            let found = file.contents(&*image);
            assert!(
                found.is_ok_and(|found| found == plain),
                "{tool}: round {round}, {steps} steps"
            );
        }
        // Of another file, and of another version of this one.
        let mut other = packed.clone();
        let middle = other.len() / 2;
        other[middle] ^= 1;
        let changed = File { main: MemorySource::new(0, "x.gz", other), ..file };
        if let Ok((_, steps)) = changed.open() {
            assert!(steps > 1 || changed.scratch.bytes() != good, "{tool}: it is not believed");
        }
    }
}

#[test]
fn a_scratch_that_came_to_harm_never_gives_other_bytes() {
    let (bench, plain) = (Bench::new("harm"), sample(300_000));
    let mut random = Random::new(11);
    for (tool, packed) in all(&bench, &plain) {
        let file = File::new("x.gz", &packed);
        let (image, _) = file.open().unwrap();
        let good = file.scratch.bytes();
        // Where the bytes lie that were unpacked.
        let kept: Vec<_> = file
            .extents(&*image)
            .into_iter()
            .filter_map(|extent| match extent.content {
                Content::Encoded(encoded) if encoded.source == 99 => {
                    Some(encoded.offset..encoded.offset + u64::from(encoded.stored_length))
                }
                _ => None,
            })
            .collect();
        let mut refused = 0;
        for round in 0..60 {
            let at = match kept.get(round) {
                Some(range) => range.start + random.below(range.end - range.start),
                // The header, the last page and the directory, or anything.
                None if round % 3 == 0 => random.below(136),
                None if round % 3 == 1 => good.len() as u64 - 1 - random.below(500),
                None => random.below(good.len() as u64),
            };
            let mut harmed = good.clone();
            harmed[at as usize] ^= 1 << random.below(8);
            file.scratch.resize(0).unwrap();
            file.scratch.write(0, &harmed).unwrap();
            *file.last.borrow_mut() = None;
            let found = file.open().and_then(|(image, _)| file.contents(&*image));
            let is_kept = kept.iter().any(|range| range.contains(&at));
            assert!(found.is_err() || !is_kept, "{tool}: {at} is not compared");
            refused += usize::from(found.is_err());
            assert!(found.is_err() || found == Ok(plain.clone()), "{tool}: {at}: other bytes");
        }
        assert!(refused > 0 || kept.is_empty(), "{tool}");
    }
}

/// Damage while the image is open: each part is refused or right, wherever it begins.
#[test]
fn only_the_harmed_piece_is_refused() {
    let (bench, plain) = (Bench::new("piece"), sample(400_000));
    let packed = filter(&bench, "bzip2", &["-c", "-1"], &plain);
    let file = File::new("x.bz2", &packed);
    let (image, _) = file.open().unwrap();
    let good = file.scratch.bytes();
    // The first piece is noise, so that it is not zero; it lies where all begins.
    file.scratch.write(4096 + 70, &[!good[4096 + 70]]).unwrap();
    let piece = 64 << 10;
    for offset in [0, 69, 71, 40_000, piece - 1] {
        assert!(file.range(&*image, offset, 1).is_err(), "{offset}");
    }
    let rest = file.range(&*image, piece, plain.len() as u64 - piece).unwrap();
    assert!(rest == plain[piece as usize..]);
}

#[test]
fn a_damaged_page_is_told_and_dropped() {
    let (bench, plain) = (Bench::new("page"), sample(300_000));
    let packed = filter(&bench, "lzop", &["-c"], &plain);
    let file = File::new("x.lzo", &packed);
    file.open().unwrap();
    file.scratch.write(4096 + 8, &[0xff; 4]).unwrap();
    let (image, _) = file.open().unwrap();
    let said = file.contents(&*image).unwrap_err().to_string();
    assert!(said.contains("open it again"), "{said}");
    let (image, _) = file.open().unwrap();
    assert!(file.contents(&*image).unwrap() == plain);
}

#[test]
fn without_room_the_way_out_is_told() {
    let (bench, plain) = (Bench::new("room"), sample(3_000_000));
    let packed = filter(&bench, "bzip2", &["-c"], &plain);
    let open = |scratch: Option<SourceHandle>| {
        let main = Rc::new(MemorySource::new(0, "x.bz2", packed.clone()));
        let options = OpenOptions { scratch, ..OpenOptions::read_only() };
        let image = Compressed::open(main, Rc::new(MemoryHost::new()), options).unwrap();
        loop {
            match image.prepare() {
                Ok(progress) => assert!(progress.done < progress.total),
                Err(error) => return (error, image.prepare().unwrap_err(), image),
            }
        }
    };
    let full = JournalSource::new(99, "scratch", vec![]);
    full.limit(1 << 20);
    for scratch in [None, Some(Rc::new(full) as SourceHandle)] {
        let (error, again, image) = open(scratch);
        let said = error.to_string();
        for part in ["bzip2", "xz -T0", "bzip2 -d", &packed.len().to_string()] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(error, again, "it stays so");
        assert!(image.disks().is_empty() && image.disk(0).is_err());
    }
    // What can be entered without help needs no scratch.
    for (tool, options) in [("lz4", &["-c"][..]), ("xz", &["-c", "-0"]), ("zstd", &["-c"])] {
        let packed = filter(&bench, tool, options, &plain);
        let file = File::new("x", &packed);
        assert!(file.contents(&*file.open_bare().unwrap()).unwrap() == plain, "{tool}");
    }
}

/// The error of a file, which must not open.
fn refusal(bytes: &[u8]) -> String {
    File::new("x", bytes).open().err().expect("it opened").to_string()
}

#[test]
fn what_is_not_read_is_named() {
    let (bench, plain) = (Bench::new("named"), sample(200_000));
    let long = filter(&bench, "zstd", &["-c", "--long=27"], &plain);
    assert!(refusal(&long).contains("128 MiB"), "{}", refusal(&long));
    bench.write("words", &plain[60_000..90_000]);
    let dictionary = filter(&bench, "zstd", &["-c", "-D", "words"], &plain);
    // A file as a dictionary has no number: then only its decoding fails.
    assert!(!refusal(&dictionary).is_empty());
    let filtered = ["-c", "--x86", "--lzma2=preset=0,dict=64MiB"];
    let filtered = filter(&bench, "xz", &filtered, &plain);
    assert!(refusal(&filtered).contains("64 MiB"));
    let two = ["-c", "--x86", "--delta=dist=2", "--lzma2=preset=0"];
    assert!(refusal(&filter(&bench, "xz", &two, &plain)).contains("filter"));
    bench.write("a", b"one");
    bench.write("b", b"two");
    let archive = bench.output("lzop", &["-c", "a", "b"]);
    assert!(refusal(&archive).contains("several files"), "{}", refusal(&archive));
    let mut numbered = b"\x28\xb5\x2f\xfd\x21\x07\x01\x09\0\0a".to_vec();
    assert!(refusal(&numbered).contains("dictionary 7"));
    numbered[4] = 0x20;
    assert!(!refusal(&numbered).contains("dictionary"));
    let options = OpenOptions { snapshot: Some("s".into()), ..OpenOptions::read_only() };
    let main = Rc::new(MemorySource::new(0, "x", long));
    assert!(Compressed::open(main, Rc::new(MemoryHost::new()), options).is_err());
}

#[test]
fn tables_that_cannot_be_are_refused() {
    // A seek table with more entries than the file has bytes.
    let mut table = b"\x28\xb5\x2f\xfd\x20\x01\x09\0\0a".to_vec();
    table.extend(b"\x5e\x2a\x4d\x18\x09\0\0\0\xff\xff\xff\xff\0\xb1\xea\x92\x8f");
    let file = File::new("x", &table);
    let (image, _) = file.open().unwrap();
    assert_eq!(file.contents(&*image).unwrap(), b"a", "it is walked");
    // An index of .xz that says it is longer than the file, with the right checksum.
    let mut footer = vec![0xff, 0xff, 0xff, 0x00, 0, 4];
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&footer);
    footer.splice(0..0, sum.to_le_bytes());
    footer.extend(b"YZ");
    let head = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46";
    assert!(refusal(&[&head[..], &[0; 64], &footer].concat()).contains("xz"));
    // Blocks of lzop and lz4 that are larger than any.
    let mut large = b"\x04\x22\x4d\x18\x60\x40\x82".to_vec();
    large.extend(b"\xff\xff\xff\x7f");
    assert!(refusal(&large).contains("at most"));
    // BGZF blocks that end before they begin, or past the file.
    for size in [0u16, 20, 60_000] {
        let mut block = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0".to_vec();
        block.extend(size.to_le_bytes());
        block.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let _ = explore(&block);
    }
}
