//! The parser of Apple's sparse images.
#![no_main]

use fumehood_asif::Asif;
use fumehood_fuzz::Set;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    Set::new("disk.asif", bytes, &[]).explore::<Asif>();
});
