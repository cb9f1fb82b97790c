//! The qcow2 parser, with an external data file beside the image.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_qcow2::Qcow2;
use libfuzzer_sys::fuzz_target;

static DATA: [u8; 64 << 10] = [0xda; 64 << 10];

fuzz_target!(|bytes: &[u8]| {
    Set::new("disk.qcow2", bytes, &[("data".to_owned(), &DATA)]).explore::<Qcow2>();
});
