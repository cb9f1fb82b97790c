//! CRC-32C (Castagnoli), which guards headers, region tables and log entries.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = value >> 1 ^ if value & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// A checksum in the making.
#[derive(Clone, Copy)]
pub struct Crc(u32);

impl Crc {
    /// Of nothing.
    pub fn new() -> Self {
        Self(!0)
    }

    /// With `bytes` behind what it was taken over so far.
    pub fn update(self, bytes: &[u8]) -> Self {
        let step = |value: u32, byte: &u8| {
            // The index has eight bits, as the table has entries.
            value >> 8 ^ TABLE[usize::from(value as u8 ^ byte)]
        };
        Self(bytes.iter().fold(self.0, step))
    }

    /// Its value.
    pub fn finish(self) -> u32 {
        !self.0
    }
}

/// Of a structure whose own checksum stands at byte 4 and counts as zero.
pub fn checksum(structure: &[u8]) -> u32 {
    let (head, rest) = structure.split_at(structure.len().min(4));
    let body = rest.get(4..).unwrap_or(&[]);
    Crc::new().update(head).update(&[0; 4]).update(body).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_polynomial() {
        assert_eq!(Crc::new().update(b"123456789").finish(), 0xe306_9283);
        assert_eq!(checksum(b"abcd\x01\x02\x03\x04ef"), checksum(b"abcd\0\0\0\0ef"));
    }
}
