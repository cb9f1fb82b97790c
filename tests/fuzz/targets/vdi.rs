//! The VDI parser.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_vdi::Vdi;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    Set::new("disk.vdi", bytes, &[]).explore::<Vdi>();
});
