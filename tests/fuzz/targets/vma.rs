//! The VMA parser. Checksums are made right first, or nothing behind them would be
//! reached: of the header, and of every place where an extent seems to begin.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_vma::Vma;
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};

fuzz_target!(|bytes: &[u8]| {
    Set::new("vm.vma", bytes, &[]).explore::<Vma>();
    let mut sealed = bytes.to_vec();
    let size = bytes.get(56..60).map(|size| u32::from_be_bytes(size.try_into().unwrap()));
    if let Some(header) = size.and_then(|size| sealed.get_mut(..size as usize)) {
        seal(header, 32);
    }
    for at in (0..bytes.len()).step_by(512) {
        if bytes[at..].starts_with(b"VMAE")
            && let Some(header) = sealed.get_mut(at..at + 512)
        {
            seal(header, 24);
        }
    }
    Set::new("vm.vma", &sealed, &[]).explore::<Vma>();
});

fn seal(header: &mut [u8], at: usize) {
    if header.len() >= at + 16 {
        header[at..at + 16].fill(0);
        let sum = Md5::digest(&*header);
        header[at..at + 16].copy_from_slice(&sum);
    }
}
