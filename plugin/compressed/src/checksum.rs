//! Checksums that the plugin computes itself, and how two CRC-32 become one.

use crc::{CRC_32_BZIP2, CRC_32_ISO_HDLC, CRC_64_XZ, Crc, Digest, Table};

/// CRC-32 as in gzip and xz.
pub static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);
/// CRC-32 as in bzip2: the bits of each byte in the other order.
pub static CRC32_BZIP2: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_BZIP2);
/// CRC-64 as in xz.
pub static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// A CRC-32 that grows.
pub type Digest32 = Digest<'static, u32, Table<16>>;
/// A CRC-64 that grows.
pub type Digest64 = Digest<'static, u64, Table<16>>;

/// The polynomial of CRC-32, reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// The CRC-32 of two byte strings, one behind the other, from the CRC-32 of each and the
/// length of the second: appending a byte multiplies by x to the 8th, modulo the
/// polynomial.
pub fn joined(first: u32, second: u32, second_length: u64) -> u32 {
    // Reflected: the highest bit is the power 0.
    let (mut shift, mut power) = (1 << 31, 1 << 23);
    let mut length = second_length;
    while length > 0 {
        if length & 1 == 1 {
            shift = product(power, shift);
        }
        power = product(power, power);
        length >>= 1;
    }
    product(shift, first) ^ second
}

/// The product of two polynomials, modulo the CRC's.
fn product(left: u32, mut right: u32) -> u32 {
    let mut result = 0;
    for bit in (0..32).rev() {
        if left >> bit & 1 == 1 {
            result ^= right;
        }
        right = if right & 1 == 1 { right >> 1 ^ POLYNOMIAL } else { right >> 1 };
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_join_to_the_whole() {
        let bytes: alloc::vec::Vec<u8> =
            (0..100_000u32).map(|n| (n.wrapping_mul(n) >> 5) as u8).collect();
        let whole = CRC32.checksum(&bytes);
        for cut in [0, 1, 7, 4096, 65_537, 100_000] {
            let (first, second) = bytes.split_at(cut);
            let joined = joined(CRC32.checksum(first), CRC32.checksum(second), second.len() as u64);
            assert_eq!(joined, whole, "{cut}");
        }
        assert_eq!(CRC32.checksum(b"123456789"), 0xcbf4_3926);
    }
}
