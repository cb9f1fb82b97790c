//! The EWF parser. An input is a set of segment files, one behind the other.
#![no_main]

use fumehood_ewf::Ewf;
use fumehood_fuzz::Set;
use libfuzzer_sys::fuzz_target;

/// What begins every segment file, and what its name ends in, by version.
const SIGNATURES: [(&[u8; 8], &str); 2] =
    [(b"EVF\x09\x0d\x0a\xff\x00", "E"), (b"EVF2\x0d\x0a\x81\x00", "Ex")];

fuzz_target!(|bytes: &[u8]| {
    let segments = split(bytes);
    let second = bytes.starts_with(SIGNATURES[1].0);
    let series = SIGNATURES[usize::from(second)].1;
    let name = |number: usize| format!("disk.{series}{:02}", number + 1);
    let further = segments.iter().enumerate().skip(1);
    let granted: Vec<_> = further.map(|(number, part)| (name(number), *part)).collect();
    Set::new(&name(0), segments[0], &granted).explore::<Ewf>();
});

/// Cuts the input where a segment begins; the first part is whatever it begins with.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut segments = Vec::new();
    let mut rest = bytes;
    while segments.len() < 8 {
        let begins = |part: &[u8]| SIGNATURES.iter().any(|(signature, _)| part == *signature);
        let next = rest.windows(8).skip(1).position(begins);
        let Some(next) = next else { break };
        let (segment, behind) = rest.split_at(next + 1);
        segments.push(segment);
        rest = behind;
    }
    segments.push(rest);
    segments
}
