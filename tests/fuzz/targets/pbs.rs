//! The parser of backup snapshots. An input is a manifest, or an index with its first
//! chunk behind it.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_pbs::Pbs;
use libfuzzer_sys::fuzz_target;

/// Where an index has its size and the size of its chunks, and where its digests begin.
const SIZES: usize = 64;
const TABLE: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let (index, chunk) = bytes.split_at(index_length(bytes));
    let granted: Vec<_> = name(index).map(|name| (name, chunk)).into_iter().collect();
    Set::new("index.json.blob", index, &granted).explore::<Pbs>();
});

/// How long the index at the beginning of an input is; all of it, if it is none.
fn index_length(bytes: &[u8]) -> usize {
    let word = |at: usize| {
        bytes.get(at..at + 8).map(|word| u64::from_le_bytes(word.try_into().expect("eight")))
    };
    let (Some(size), Some(chunk)) = (word(SIZES), word(SIZES + 8)) else { return bytes.len() };
    let digests = if chunk == 0 { 0 } else { size.div_ceil(chunk) };
    let length = digests.saturating_mul(32).saturating_add(TABLE as u64);
    usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len())
}

/// Under which name the first chunk is asked for.
fn name(index: &[u8]) -> Option<String> {
    let digest: String = index.get(TABLE..TABLE + 32)?.iter().map(|b| format!("{b:02x}")).collect();
    Some(format!("../../../.chunks/{}/{digest}", &digest[..4]))
}
