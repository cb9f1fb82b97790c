//! The parser of Apple's disk images: UDIF and sparse images, and the list of a sparse
//! bundle, which is what a file is called if that is what it begins like.
#![no_main]

use fumehood_dmg::Dmg;
use fumehood_fuzz::Set;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let name = if bytes.starts_with(b"<?xml") { "Info.plist" } else { "disk.dmg" };
    let bands = [("bands/0".to_string(), &bytes[..bytes.len().min(512)])];
    Set::new(name, bytes, &bands).explore::<Dmg>();
});
