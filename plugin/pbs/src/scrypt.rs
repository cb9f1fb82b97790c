//! scrypt (RFC 7914) in bounded memory.
//!
//! The parameters that the client chooses take 64 MiB, which is all the memory there
//! is. So only every second, fourth … block of the large table is kept, and those
//! between are computed again from the one before: half a step a look-up on average for
//! every second.

use alloc::vec;
use alloc::vec::Vec;

use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;

/// Bytes of the table that are kept.
const TABLE: usize = 16 << 20;
/// The most work, in calls of [`salsa`]: some seconds.
const MOST_WORK: u64 = 12 << 20;
/// Words of a block of Salsa20.
const WORDS: usize = 16;

type Block = [u32; WORDS];

/// The parameters, known to be affordable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    n: usize,
    r: usize,
    p: usize,
    /// One in so many blocks is kept.
    stride: usize,
}

impl Params {
    /// `None` where they are no parameters of scrypt, or take too much time or memory.
    pub fn new(n: u64, r: u64, p: u64) -> Option<Self> {
        if !n.is_power_of_two() || !(2..=1 << 24).contains(&n) || r == 0 || r > 1024 || p == 0 {
            return None;
        }
        let block = r * 128;
        let stride = (n * block).div_ceil(TABLE as u64).next_power_of_two();
        // Filling, looking up, and half of the steps between kept blocks.
        let steps = n.checked_mul(2)?.checked_add(n.checked_mul(stride - 1)? / 2)?;
        let work = steps.checked_mul(2 * r)?.checked_mul(p)?;
        let affordable = work <= MOST_WORK && stride <= n && p * block <= TABLE as u64;
        let narrow = |value: u64| usize::try_from(value).ok();
        let (n, r, p, stride) = (narrow(n)?, narrow(r)?, narrow(p)?, narrow(stride)?);
        affordable.then_some(Self { n, r, p, stride })
    }

    /// Derives a key.
    pub fn derive(&self, passphrase: &[u8], salt: &[u8], key: &mut [u8]) {
        let mut bytes = vec![0; self.p * self.r * 128];
        pbkdf2_hmac::<Sha256>(passphrase, salt, 1, &mut bytes);
        for part in bytes.chunks_exact_mut(self.r * 128) {
            self.mix(part);
        }
        pbkdf2_hmac::<Sha256>(passphrase, &bytes, 1, key);
    }

    /// ROMix (RFC 7914, 5).
    fn mix(&self, bytes: &mut [u8]) {
        let mut x = blocks(bytes);
        let mut spare = x.clone();
        let mut table: Vec<Block> = Vec::with_capacity(self.n / self.stride * x.len());
        for number in 0..self.n {
            if number % self.stride == 0 {
                table.extend_from_slice(&x);
            }
            step(&mut x, &mut spare);
        }
        let mut found = x.clone();
        for _ in 0..self.n {
            // The first word of the last block; n is a power of two.
            let word = x.last().map_or(0, |block| block[0]) as usize;
            let number = word & (self.n - 1);
            let kept = number / self.stride * x.len();
            if let Some(blocks) = table.get(kept..kept + x.len()) {
                found.copy_from_slice(blocks);
            }
            for _ in 0..number % self.stride {
                step(&mut found, &mut spare);
            }
            for (to, from) in x.iter_mut().flatten().zip(found.iter().flatten()) {
                *to ^= from;
            }
            step(&mut x, &mut spare);
        }
        for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(x.iter().flatten()) {
            *place = word.to_le_bytes();
        }
    }
}

fn blocks(bytes: &[u8]) -> Vec<Block> {
    let words = |block: &[u8; 64]| {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        words
    };
    bytes.as_chunks::<64>().0.iter().map(words).collect()
}

/// BlockMix (RFC 7914, 4): even blocks first, then odd ones.
fn step(x: &mut Vec<Block>, spare: &mut Vec<Block>) {
    let half = x.len() / 2;
    let mut last = x.last().copied().unwrap_or([0; WORDS]);
    for (number, block) in x.iter().enumerate() {
        for (to, from) in last.iter_mut().zip(block) {
            *to ^= from;
        }
        salsa(&mut last);
        if let Some(place) = spare.get_mut(number / 2 + number % 2 * half) {
            *place = last;
        }
    }
    core::mem::swap(x, spare);
}

/// Salsa20/8 (RFC 7914, 3).
fn salsa(block: &mut Block) {
    let mut x = *block;
    macro_rules! quarter {
        ($a:literal, $b:literal, $c:literal, $d:literal) => {
            x[$b] ^= x[$a].wrapping_add(x[$d]).rotate_left(7);
            x[$c] ^= x[$b].wrapping_add(x[$a]).rotate_left(9);
            x[$d] ^= x[$c].wrapping_add(x[$b]).rotate_left(13);
            x[$a] ^= x[$d].wrapping_add(x[$c]).rotate_left(18);
        };
    }
    for _ in 0..4 {
        quarter!(0, 4, 8, 12);
        quarter!(5, 9, 13, 1);
        quarter!(10, 14, 2, 6);
        quarter!(15, 3, 7, 11);
        quarter!(0, 1, 2, 3);
        quarter!(5, 6, 7, 4);
        quarter!(10, 11, 8, 9);
        quarter!(15, 12, 13, 14);
    }
    for (to, from) in block.iter_mut().zip(x) {
        *to = to.wrapping_add(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::hex;

    fn derive(params: Params, passphrase: &str, salt: &str) -> alloc::string::String {
        let mut key = [0; 64];
        params.derive(passphrase.as_bytes(), salt.as_bytes(), &mut key);
        hex(&key)
    }

    /// RFC 7914, 12.
    #[test]
    fn the_vectors_of_the_specification() {
        let key = derive(Params::new(16, 1, 1).unwrap(), "", "");
        assert!(key.starts_with("77d6576238657b203b19ca42c18a0497f16b4844e3074ae8"), "{key}");
        let key = derive(Params::new(1024, 8, 16).unwrap(), "password", "NaCl");
        assert!(key.starts_with("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830"), "{key}");
        let key = derive(Params::new(16384, 8, 1).unwrap(), "pleaseletmein", "SodiumChloride");
        assert!(key.starts_with("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3e"), "{key}");
    }

    #[test]
    fn keeping_less_gives_the_same() {
        let whole = Params::new(256, 2, 2).unwrap();
        for stride in [2, 4, 64, 256] {
            let less = Params { stride, ..whole };
            assert_eq!(derive(less, "a", "b"), derive(whole, "a", "b"), "{stride}");
        }
    }

    #[test]
    fn what_costs_too_much_is_refused() {
        assert_eq!(Params::new(65536, 8, 1).unwrap().stride, 4);
        for (n, r, p) in [
            (1 << 20, 8, 1),
            (65536, 8, 100),
            (3, 8, 1),
            (0, 8, 1),
            (1, 8, 1),
            (16, 0, 1),
            (16, 8, 0),
            (u64::MAX, u64::MAX, u64::MAX),
            (2, 1, u64::MAX),
            (1 << 63, 1, 1),
        ] {
            assert_eq!(Params::new(n, r, p), None, "{n} {r} {p}");
        }
    }
}
