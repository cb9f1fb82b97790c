//! The AFF4 parser. An input is a volume, and behind a mark a second one of its series.
#![no_main]

use fumehood_aff4::Aff4;
use fumehood_fuzz::Set;
use libfuzzer_sys::fuzz_target;

/// Stands between two volumes.
const MARK: &[u8] = b"next volume\n";

fuzz_target!(|bytes: &[u8]| {
    let mark = bytes.windows(MARK.len()).position(|part| part == MARK);
    let (main, other) = bytes.split_at(mark.unwrap_or(bytes.len()));
    let granted = other.strip_prefix(MARK).map(|other| ("disk_2.aff4".to_string(), other));
    Set::new("disk_1.aff4", main, granted.as_slice()).explore::<Aff4>();
});
