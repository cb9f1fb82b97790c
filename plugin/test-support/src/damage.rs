//! Random changes to images. Where a format's structures are, and which checksums are made
//! good again, is for its own tests to say.

use fumehood_plugin::simulate::Random;

/// How many changed images to try: what an environment variable says, or `usual`.
pub fn rounds(variable: &str, usual: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(usual, |given| given.parse().expect("it is a number"))
}

/// Changes a few bits, bytes and little-endian words; half of them in the first `head`
/// bytes.
pub fn scatter(random: &mut Random, bytes: &mut [u8], head: u64) {
    for _ in 0..=random.below(3) {
        let limit = if random.one_in(2) { head } else { bytes.len() as u64 };
        let at = random.below(limit) as usize;
        match random.below(3) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next_word() as u8,
            _ => {
                if let Some(word) = bytes.get_mut(at & !3..(at & !3) + 4) {
                    let value = random.next_word() as u32 >> random.below(32);
                    word.copy_from_slice(&value.to_le_bytes());
                }
            }
        }
    }
}
