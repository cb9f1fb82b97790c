//! The VBK parser. Its snapshot slots carry checksums, which are made right here:
//! otherwise no changed input would be looked into.
#![no_main]

use fumehood_fuzz::Set;
use fumehood_vbk::Vbk;
use libfuzzer_sys::fuzz_target;

/// Where the slots of the seeds lie.
const SLOTS: [usize; 2] = [4096, 8192];

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    for slot in SLOTS {
        seal(&mut bytes, slot);
    }
    Set::new("backup.vbk", &bytes, &[]).explore::<Vbk>();
});

/// Makes the checksum of a slot right, for as many banks as it says it has room for.
fn seal(bytes: &mut [u8], slot: usize) {
    let Some(banks) = bytes.get(slot + 116..slot + 120) else { return };
    let banks = banks.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let end = (slot + 124).saturating_add(banks.saturating_mul(16));
    let Some(sealed) = bytes.get(slot + 4..end) else { return };
    let sum = !sealed.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    });
    bytes[slot..slot + 4].copy_from_slice(&sum.to_le_bytes());
}
