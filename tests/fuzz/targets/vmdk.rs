//! The VMDK parser. An input is the main file, and the first extent that it may name: the
//! same bytes from where a sparse extent begins in them, or all of them.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_vmdk::Vmdk;
use libfuzzer_sys::fuzz_target;

/// Begin sparse extents.
const SIGNATURES: [&[u8]; 3] = [b"KDMV", b"COWD", b"\xbe\xba\xfe\xca"];

fuzz_target!(|bytes: &[u8]| {
    let (main, extent) = split(bytes);
    Set::new("disk.vmdk", main, &[("e".to_string(), extent)]).explore::<Vmdk>();
});

/// Cuts the input where a sparse extent begins behind a descriptor.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    if !bytes.starts_with(b"#") {
        return (bytes, bytes);
    }
    let is_extent = |part: &[u8]| SIGNATURES.contains(&part);
    match bytes.windows(4).position(is_extent) {
        Some(at) => bytes.split_at(at),
        None => (bytes, bytes),
    }
}
