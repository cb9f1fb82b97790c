//! The QED parser.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_qed::Qed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    Set::new("disk.qed", bytes, &[]).explore::<Qed>();
});
