//! Answers of `extents` that break the contract, one rule each.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{
    Cipher, Codec, Content, Digest, DigestKind, DigestValue, Encoded, Encryption, Extent, Stored,
    Window,
};

use crate::hostile;
use crate::image::Attacker;

const SECTOR: u64 = 512;

/// The answer of this attack about `offset`; a raw disk's where it is none of these.
pub fn answer(attacker: &Attacker, offset: u64, length: u64) -> Vec<Extent> {
    let size = attacker.main.size();
    let zero = |offset, length| Extent { offset, length, content: Content::Zero };
    let whole = |content| vec![Extent { offset: 0, length: size, content }];
    let stored = |source, offset| Content::Stored(Stored { source, offset, writable: false });
    match attacker.attack.as_str() {
        "extents:outside-source" => whole(stored(0, 1)),
        "extents:far-outside-source" => whole(stored(0, u64::MAX - 5)),
        "extents:beyond-disk" => vec![zero(0, size + 1)],
        "extents:beyond-everything" => vec![zero(0, u64::MAX)],
        "extents:wrapping" => vec![zero(0, size / 2), zero(size / 2, u64::MAX)],
        "extents:overlapping" => vec![zero(0, 2 * SECTOR), zero(SECTOR, SECTOR)],
        "extents:gapped" => vec![zero(0, SECTOR), zero(2 * SECTOR, SECTOR)],
        "extents:backwards" => vec![zero(SECTOR, SECTOR), zero(0, SECTOR)],
        "extents:empty" => Vec::new(),
        "extents:zero-length" => vec![zero(0, SECTOR), zero(SECTOR, 0)],
        "extents:elsewhere" => vec![zero(size - SECTOR, SECTOR)],
        "extents:65537" => sectors(65_537),
        "extents:million" => sectors(1_000_000),
        "extents:never-granted" => whole(stored(12_345, 0)),
        "extents:source-max" => whole(stored(u32::MAX, 0)),
        // One thing for short windows, another for long ones.
        "extents:moody" if length > 8192 => whole(Content::Zero),
        "extents:giant-damage" => damaged(offset, length, &hostile::giant("woe ")),
        "extents:escapes-damage" => damaged(offset, length, hostile::ESCAPES),
        "declared:overflow" => whole(stored(attacker.declared, u64::MAX - SECTOR)),
        "declared:reference" => whole(stored(attacker.declared, 0)),
        attack if attack.starts_with("computed:") => whole(Content::Computed),
        attack => match block(attack) {
            Some(extent) => vec![extent, zero(SECTOR, size - SECTOR)],
            None => whole(Content::Stored(attacker.stored(0))),
        },
    }
}

/// Attacks with one encoded block.
fn block(attack: &str) -> Option<Extent> {
    let zlib = |block: &mut Encoded| block.codec = Codec::Zlib;
    Some(match attack {
        "block:4g" => encoded(SECTOR, |block| block.decoded_length = u32::MAX),
        "block:4g-stored" => encoded(SECTOR, |block| block.stored_length = u32::MAX),
        "block:past-end" => encoded(SECTOR, |block| block.skip = 1),
        "block:skip-max" => encoded(SECTOR, |block| block.skip = u32::MAX),
        "block:outside-source" => encoded(SECTOR, |block| block.offset = u64::MAX),
        "block:wrong-digest-length" => encoded(SECTOR, |block| block.digest = digest(3)),
        "block:giant-digest" => encoded(SECTOR, |block| block.digest = digest(1 << 20)),
        "block:wrong-digest" => encoded(SECTOR, |block| block.digest = digest(4)),
        "block:not-zlib" => encoded(SECTOR, zlib),
        "block:bomb" => encoded(SECTOR, |block| {
            (block.codec, block.stored_length) = (Codec::Zlib, 4096);
        }),
        "block:zstd-bomb" => encoded(SECTOR, |block| {
            (block.codec, block.stored_length) = (Codec::Zstd, 4096);
        }),
        "block:unkept-key" => encoded(SECTOR, |block| block.encryption = encryption(16)),
        "block:wrong-vector" => encoded(SECTOR, |block| block.encryption = encryption(15)),
        "block:giant-window" => deflated(window(0, 0, 1 << 16)),
        "block:eight-bits" => deflated(window(8, 0, 512)),
        "block:window-outside-source" => deflated(window(1, u64::MAX, 512)),
        "block:window-of-zlib" => encoded(SECTOR, |block| {
            (block.codec, block.window) = (Codec::Zlib, window(0, 0, 512));
        }),
        _ => return None,
    })
}

fn deflated(window: Option<Window>) -> Extent {
    encoded(SECTOR, |block| (block.codec, block.window) = (Codec::Deflate, window))
}

fn encryption(vector: usize) -> Option<Encryption> {
    let vector = vec![7; vector];
    Some(Encryption { cipher: Cipher::AesCbc, key: 7, vector, tag: Vec::new() })
}

fn window(bits: u8, offset: u64, length: u32) -> Option<Window> {
    Some(Window { bits, source: 0, offset, length })
}

/// An extent at the disk's start, in a block of its length, with one thing changed.
fn encoded(length: u64, change: impl FnOnce(&mut Encoded)) -> Extent {
    let mut block = Encoded::new(0, 0, length as u32, Codec::Identity, length as u32);
    change(&mut block);
    Extent { offset: 0, length, content: Content::Encoded(block) }
}

fn digest(length: usize) -> Option<Digest> {
    let value = DigestValue::Given(vec![7; length]);
    Some(Digest { kind: DigestKind::Crc32, value, over_decoded: true })
}

/// Extents of a byte each, none of which continues the one before.
fn sectors(count: u64) -> Vec<Extent> {
    let content = |at| if at % 2 == 0 { Content::Zero } else { Content::Absent };
    (0..count).map(|at| Extent { offset: at, length: 1, content: content(at) }).collect()
}

fn damaged(offset: u64, length: u64, text: &str) -> Vec<Extent> {
    let what = String::from(text);
    vec![Extent { offset, length, content: Content::Damaged(what) }]
}
