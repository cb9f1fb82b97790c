//! The VHDX parser and writer.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_vhdx::Vhdx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    Set::new("disk.vhdx", bytes, &[]).explore::<Vhdx>();
});
