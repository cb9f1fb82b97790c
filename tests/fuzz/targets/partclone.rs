//! The partclone parser. An input is an image.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_partclone::Partclone;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    Set::new("volume.pcl", bytes, &[]).explore::<Partclone>();
});
