//! The Parallels parser. An input is a single image, or a descriptor with the images
//! that it names behind it, one behind the other.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_parallels::Parallels;
use libfuzzer_sys::fuzz_target;

/// How images begin, in both generations.
const SIGNATURES: [&[u8]; 2] = [b"WithoutFreeSpace", b"WithouFreSpacExt"];

fuzz_target!(|bytes: &[u8]| {
    if !bytes.starts_with(b"<") {
        return Set::new("disk.hds", bytes, &[]).explore::<Parallels>();
    }
    let parts = split(bytes);
    let named = parts.iter().enumerate().skip(1);
    let granted: Vec<_> = named.map(|(number, part)| (number.to_string(), *part)).collect();
    Set::new("DiskDescriptor.xml", parts[0], &granted).explore::<Parallels>();
});

/// Cuts the input where an image begins; the first part is the descriptor.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while parts.len() < 8 {
        let begins = |part: &[u8]| SIGNATURES.contains(&part);
        let Some(next) = rest.windows(16).skip(1).position(begins) else { break };
        let (part, behind) = rest.split_at(next + 1);
        parts.push(part);
        rest = behind;
    }
    parts.push(rest);
    parts
}
