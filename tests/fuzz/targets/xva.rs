//! The XVA parser. The checksums of tar headers are made right first, or nothing behind
//! them would be reached.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_xva::Xva;
use libfuzzer_sys::fuzz_target;

/// Where the checksum stands in a header.
const CHECKSUM: std::ops::Range<usize> = 148..156;

fuzz_target!(|bytes: &[u8]| {
    Set::new("vm.xva", bytes, &[]).explore::<Xva>();
    let mut sealed = bytes.to_vec();
    for block in sealed.chunks_exact_mut(512) {
        // What ends its checksum as a header does is taken for one.
        if block[154..156] == *b"\0 " || block[154..156] == *b" \0" {
            block[CHECKSUM].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    Set::new("vm.xva", &sealed, &[]).explore::<Xva>();
});
