//! The EWF parser. An input is a set of segment files, one behind the other.
#![no_main]

use fumehood_ewf::Ewf;
use fumehood_fuzz::Set;
use libfuzzer_sys::fuzz_target;

/// Begins every segment file.
const SIGNATURE: &[u8] = b"EVF\x09\x0d\x0a\xff\x00";

fuzz_target!(|bytes: &[u8]| {
    let segments = split(bytes);
    let named = segments.iter().enumerate().skip(1);
    let granted: Vec<_> =
        named.map(|(number, part)| (format!("disk.E{:02}", number + 1), *part)).collect();
    Set::new("disk.E01", segments[0], &granted).explore::<Ewf>();
});

/// Cuts the input where a segment begins; the first part is whatever it begins with.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut segments = Vec::new();
    let mut rest = bytes;
    while segments.len() < 8 {
        let next = rest.windows(SIGNATURE.len()).skip(1).position(|part| part == SIGNATURE);
        let Some(next) = next else { break };
        let (segment, behind) = rest.split_at(next + 1);
        segments.push(segment);
        rest = behind;
    }
    segments.push(rest);
    segments
}
