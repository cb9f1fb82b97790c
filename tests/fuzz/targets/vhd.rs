//! The VHD parser and writer.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_vhd::Vhd;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    Set::new("disk.vhd", bytes, &[]).explore::<Vhd>();
});
