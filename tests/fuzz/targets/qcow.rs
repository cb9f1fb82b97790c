//! The parser of the first version of QCOW.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_qcow::Qcow;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    Set::new("disk.qcow", bytes, &[]).explore::<Qcow>();
});
