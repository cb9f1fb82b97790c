//! Every codec with what the tools of others write, whole, cut, changed and too long.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use fumehood_decoder::{Decoder, Failure};
use fumehood_test_support::tool::filter;
use support::{Noise, lzop_blocks, sample};

type Codec = fn(&mut Decoder, usize, usize) -> Result<usize, Failure>;

fn decode(codec: Codec, stored: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
    let mut decoder = Decoder::default();
    decode_with(&mut decoder, codec, stored, most)
}

fn decode_with(
    decoder: &mut Decoder,
    codec: Codec,
    stored: &[u8],
    most: usize,
) -> Result<Vec<u8>, Failure> {
    decoder.input(stored.len()).copy_from_slice(stored);
    decoder.output(most);
    let length = codec(decoder, stored.len(), most)?;
    assert!(length <= most, "no more than was asked for");
    Ok(decoder.output(length).to_vec())
}

/// Whole and with bytes behind; one byte of room too many, and one too few.
fn bounds(codec: Codec, stored: &[u8], plain: &[u8], what: &str) {
    let most = plain.len();
    assert!(decode(codec, stored, most).as_deref() == Ok(plain), "{what}");
    assert!(decode(codec, stored, most + 1).as_deref() == Ok(plain), "{what}: more room");
    assert_eq!(decode(codec, stored, most - 1), Err(Failure::TooLong), "{what}: less room");
    assert_eq!(decode(codec, stored, 0), Err(Failure::TooLong), "{what}: no room");
    let padded = [stored, &[0x5a; 100]].concat();
    assert!(decode(codec, &padded, most).as_deref() == Ok(plain), "{what}: bytes behind");
}

/// No cut decodes to all of it.
fn cuts(codec: Codec, stored: &[u8], plain: &[u8], what: &str) {
    let mut decoder = Decoder::default();
    for length in (0..stored.len()).step_by(stored.len() / 200 + 1) {
        let cut = decode_with(&mut decoder, codec, &stored[..length], plain.len());
        assert!(cut.is_err(), "{what}: cut to {length}");
    }
}

/// Changed bytes: an error, or for codecs without a checksum other bytes. Never more
/// than there is room for; and what comes after in the same decoder knows nothing of it.
fn flips(codec: Codec, stored: &[u8], plain: &[u8], checked: bool, what: &str) {
    let mut noise = Noise(what.len() as u64);
    let mut decoder = Decoder::default();
    for _ in 0..600 {
        let mut changed = stored.to_vec();
        for _ in 0..=noise.below(2) {
            let at = noise.below(stored.len());
            changed[at] ^= 1 << noise.below(8);
        }
        // A panic is a trap in the sandbox, and the instance is thrown away.
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            decode_with(&mut decoder, codec, &changed, plain.len())
        }));
        match decoded {
            Ok(Ok(bytes)) if checked && bytes.len() == plain.len() => {
                assert!(bytes == plain, "{what}: other bytes pass for sound ones");
            }
            Ok(_) => {}
            Err(_) => decoder = Decoder::default(),
        }
    }
    let again = decode_with(&mut decoder, codec, stored, plain.len());
    assert!(again.as_deref() == Ok(plain), "{what}: after all of them");
}

#[test]
fn bzip2_at_every_size_of_block() {
    let plain = sample(400_000);
    for level in ["-1", "-9"] {
        let stored = filter("bzip2", &[level, "-c"], &plain);
        bounds(Decoder::bzip2, &stored, &plain, level);
        let twice = [&stored[..], &stored[..]].concat();
        bounds(Decoder::bzip2, &twice, &[&plain[..], &plain[..]].concat(), "two in a row");
    }
    let small = sample(20_000);
    let stored = filter("bzip2", &["-1", "-c"], &small);
    cuts(Decoder::bzip2, &stored, &small, "bzip2");
    flips(Decoder::bzip2, &stored, &small, true, "bzip2");
}

#[test]
fn xz_with_every_check_and_several_blocks() {
    let plain = sample(400_000);
    for check in ["none", "crc32", "crc64", "sha256"] {
        for more in [&[][..], &["-T2", "--block-size=65536"], &["--x86", "--lzma2=dict=4KiB"]] {
            let check = format!("--check={check}");
            let arguments = [&["-c", &check], more].concat();
            let stored = filter("xz", &arguments, &plain);
            bounds(Decoder::xz, &stored, &plain, &check);
        }
    }
    // The dictionary that the header asks for is not the memory that it gets.
    let stored = filter("xz", &["-c", "--lzma2=preset=0,dict=1GiB"], &plain);
    bounds(Decoder::xz, &stored, &plain, "a large dictionary");
    let small = sample(20_000);
    for check in ["crc32", "crc64", "sha256"] {
        let check = format!("--check={check}");
        let stored = filter("xz", &["-c", &check, "-T2", "--block-size=8192"], &small);
        cuts(Decoder::xz, &stored, &small, &check);
        flips(Decoder::xz, &stored, &small, true, &check);
    }
}

#[test]
fn lzma2_with_every_kind_of_chunk() {
    let plain = sample(400_000);
    for options in ["preset=0", "preset=9", "preset=6,lc=0,lp=4,pb=0", "preset=1,dict=4KiB"] {
        let filters = format!("--lzma2={options}");
        let stored = filter("xz", &["-c", "--format=raw", &filters], &plain);
        bounds(Decoder::lzma2, &stored, &plain, options);
    }
    let small = sample(20_000);
    let stored = filter("xz", &["-c", "--format=raw", "--lzma2"], &small);
    cuts(Decoder::lzma2, &stored, &small, "lzma2");
    flips(Decoder::lzma2, &stored, &small, false, "lzma2");
}

#[test]
fn lzo_of_every_compressor_of_lzop() {
    let plain = sample(700_000);
    for level in ["-1", "-3", "-7", "-9"] {
        let mut at = 0;
        let mut compressed = 0;
        for block in lzop_blocks(&filter("lzop", &[level, "-c"], &plain)) {
            let part = &plain[at..][..block.length];
            at += block.length;
            if block.stored.len() < block.length {
                bounds(Decoder::lzo, &block.stored, part, level);
                compressed += 1;
            }
        }
        assert_eq!(at, plain.len(), "{level}");
        assert!(compressed > 1, "{level}");
    }
    let small = sample(20_000);
    let block = lzop_blocks(&filter("lzop", &["-9", "-c"], &small)).remove(0);
    cuts(Decoder::lzo, &block.stored, &small, "lzo");
    flips(Decoder::lzo, &block.stored, &small, false, "lzo");
}

/// The encoder is of the same crate as the decoder: this is about bounds and damage.
/// Blocks of Apple's own encoder are read by the tests of the format that has them.
#[test]
fn lzfse_of_every_size() {
    for length in [1, 7, 8, 300, 4095, 4096, 5000, 700_000] {
        let plain = sample(length);
        let mut stored = Vec::new();
        lzfse_rust::encode_bytes(&plain, &mut stored).expect("room");
        bounds(Decoder::lzfse, &stored, &plain, &length.to_string());
    }
    for length in [2000, 20_000] {
        let small = sample(length);
        let mut stored = Vec::new();
        lzfse_rust::encode_bytes(&small, &mut stored).expect("room");
        cuts(Decoder::lzfse, &stored, &small, "lzfse");
        flips(Decoder::lzfse, &stored, &small, false, "lzfse");
    }
}

#[test]
fn what_is_none_of_them_is_refused_by_all() {
    let mut noise = Noise(7);
    let codecs: [Codec; 7] = [
        Decoder::zstd,
        Decoder::bzip2,
        Decoder::xz,
        Decoder::lzma2,
        Decoder::lzfse,
        Decoder::lzo,
        Decoder::adc,
    ];
    for codec in codecs {
        let mut decoder = Decoder::default();
        for round in 0..2000 {
            let bytes: Vec<u8> = (0..round % 97).map(|_| noise.below(256) as u8).collect();
            let decoded = catch_unwind(AssertUnwindSafe(|| {
                drop(decode_with(&mut decoder, codec, &bytes, 512));
            }));
            if decoded.is_err() {
                decoder = Decoder::default();
            }
        }
        assert_eq!(codec(&mut Decoder::default(), 1, 0), Err(Failure::Corrupt), "no such input");
    }
}

#[test]
fn snappy_of_another_encoder() {
    let plain = sample(400_000);
    let encode = |plain: &[u8]| snap::raw::Encoder::new().compress_vec(plain).expect("it fits");
    for length in [1, 59, 60, 61, 300, 4096, 32768, 65536, 65537, 400_000] {
        let part = &plain[..length];
        bounds(Decoder::snappy, &encode(part), part, "snappy");
    }
    // Nothing that could be copied: literals with lengths of their own.
    let mut noise = Noise(5);
    let dense: Vec<u8> = (0..70_000).map(|_| noise.below(256) as u8).collect();
    bounds(Decoder::snappy, &encode(&dense), &dense, "noise");
    let small = sample(20_000);
    cuts(Decoder::snappy, &encode(&small), &small, "snappy");
    flips(Decoder::snappy, &encode(&small), &small, false, "snappy");
}
