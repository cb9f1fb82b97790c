//! The CRC-32 of the whole disk, from those of its tables.
//!
//! A CRC of two pieces in a row follows from theirs and the second one's length, and the
//! one of zeroes from their number alone. So where each table's checksum is over one
//! piece of the disk, the disk has one too, and the host can compare it. Where a table
//! leaves out sectors in its middle, nothing can be told.

use alloc::vec::Vec;

use crate::SECTOR;
use crate::table::{Summed, Table};
use crate::trailer::Checksum;

/// The polynomial, its lowest power in the highest bit.
const POLYNOMIAL: u32 = 0xedb8_8320;
/// The polynomial 1.
const ONE: u32 = 1 << 31;

/// The CRC-32 of a disk of `sectors`, if its tables tell.
pub fn of_disk(tables: &[Table], sectors: u64) -> Option<u32> {
    let mut pieces = Vec::with_capacity(tables.len());
    for table in tables {
        match (table.summed, table.checksum) {
            (Summed::Nothing, _) => {}
            (Summed::Piece(first, end), Checksum::Crc32(crc)) => pieces.push((first, end, crc)),
            _ => return None,
        }
    }
    pieces.sort_unstable();
    // Without a piece, no one made a checksum.
    pieces.first()?;
    let (mut at, mut crc) = (0, 0);
    for (first, end, piece) in pieces {
        crc = joined(crc, zeroes(first.checked_sub(at)?), first - at);
        crc = joined(crc, piece, end.checked_sub(first)?);
        at = end;
    }
    let rest = sectors.checked_sub(at)?;
    Some(joined(crc, zeroes(rest), rest))
}

/// The CRC of two pieces in a row; the second has so many sectors.
fn joined(first: u32, second: u32, sectors: u64) -> u32 {
    product(first, power(sectors)) ^ second
}

/// The CRC of so many sectors of zeroes.
fn zeroes(sectors: u64) -> u32 {
    !product(!0, power(sectors))
}

/// What a CRC is multiplied with when so many sectors are put behind.
fn power(mut sectors: u64) -> u32 {
    // x to the number of bits in a sector, which is a power of two.
    let mut square = ONE >> 1;
    for _ in 0..(8 * SECTOR).trailing_zeros() {
        square = product(square, square);
    }
    let mut power = ONE;
    while sectors > 0 {
        if sectors & 1 == 1 {
            power = product(power, square);
        }
        square = product(square, square);
        sectors >>= 1;
    }
    power
}

/// The product of two polynomials modulo the one of the CRC.
fn product(one: u32, mut other: u32) -> u32 {
    let mut product = 0;
    for bit in (0..32).rev() {
        if one >> bit & 1 == 1 {
            product ^= other;
        }
        other = if other & 1 == 1 { other >> 1 ^ POLYNOMIAL } else { other >> 1 };
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crc::{CRC_32_ISO_HDLC, Crc};

    const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

    fn table(first: u64, end: u64, bytes: &[u8]) -> Table {
        let part = &bytes[first as usize * 512..end as usize * 512];
        Table {
            name: "".into(),
            first,
            sectors: end - first,
            checksum: Checksum::Crc32(CRC.checksum(part)),
            summed: Summed::Piece(first, end),
        }
    }

    #[test]
    fn pieces_and_gaps_make_the_whole() {
        let mut bytes: Vec<u8> = (0..40 * 512u32).map(|at| ((at * at) >> 5) as u8).collect();
        bytes[3 * 512..8 * 512].fill(0);
        bytes[39 * 512..].fill(0);
        let tables = [table(8, 20, &bytes), table(20, 39, &bytes), table(0, 3, &bytes)];
        assert_eq!(of_disk(&tables, 40), Some(CRC.checksum(&bytes)));
        assert_eq!(of_disk(&tables, 38), None, "a piece behind the end");
        let mut others = tables.clone();
        others[1].summed = Summed::Pieces;
        assert_eq!(of_disk(&others, 40), None);
        others[1].summed = Summed::Nothing;
        bytes[20 * 512..].fill(0);
        assert_eq!(of_disk(&others, 40), Some(CRC.checksum(&bytes)));
        others[0].checksum = Checksum::Absent;
        assert_eq!(of_disk(&others, 40), None);
        assert_eq!(of_disk(&[table(0, 10, &bytes), table(9, 12, &bytes)], 40), None, "overlap");
        assert_eq!(of_disk(&[], 40), None);
    }
}
