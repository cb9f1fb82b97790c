//! The parser of Android's sparse images. An input is the parts of a set, one behind the
//! other.
#![no_main]

use fumehood_android_sparse::AndroidSparse;
use fumehood_fuzz::Set;
use libfuzzer_sys::fuzz_target;

/// Begins every part: magic and major version.
const SIGNATURE: &[u8] = b"\x3a\xff\x26\xed\x01\x00";

fuzz_target!(|bytes: &[u8]| {
    let parts = split(bytes);
    let name = |number: usize| format!("disk_sparsechunk.{number}");
    let named = parts.iter().enumerate().skip(1);
    let granted: Vec<_> = named.map(|(number, part)| (name(number), *part)).collect();
    Set::new(&name(0), parts[0], &granted).explore::<AndroidSparse>();
});

/// Cuts the input where a part begins; the first part is whatever it begins with.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while parts.len() < 8 {
        let next = rest.windows(SIGNATURE.len()).skip(1).position(|part| part == SIGNATURE);
        let Some(next) = next else { break };
        let (part, behind) = rest.split_at(next + 1);
        parts.push(part);
        rest = behind;
    }
    parts.push(rest);
    parts
}
