//! The OVA parser.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_ova::Ova;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| Set::new("vm.ova", bytes, &[]).explore::<Ova>());
