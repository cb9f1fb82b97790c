//! The surveys of compressed files, of all kinds: the first bytes say which.
#![no_main]

use fumehood_compressed::Compressed;
use fumehood_fuzz::Set;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| Set::new("disk.raw.gz", bytes, &[]).explore::<Compressed>());
