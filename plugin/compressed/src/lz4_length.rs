//! How much an LZ4 block decodes to, without decoding it (LZ4 block format): the lengths
//! of all its literals and matches.

/// The shortest match.
const SHORTEST: u64 = 4;

/// The decoded length of `block`; none where it is not sound or passes `limit`.
pub fn decoded_length(block: &[u8], limit: u64) -> Option<u64> {
    let (mut rest, mut length) = (block, 0u64);
    loop {
        let (token, behind) = rest.split_first()?;
        rest = behind;
        let literals = extended(token >> 4, &mut rest)?;
        length = length.checked_add(literals)?;
        rest = rest.get(usize::try_from(literals).ok()?..)?;
        if rest.is_empty() {
            // The last sequence has no match.
            return (length <= limit).then_some(length);
        }
        rest = rest.get(2..)?;
        length = length.checked_add(SHORTEST + extended(token & 15, &mut rest)?)?;
        if length > limit {
            return None;
        }
    }
}

/// A length that begins in a token and goes on in bytes as long as they are 255.
fn extended(nibble: u8, rest: &mut &[u8]) -> Option<u64> {
    let mut length = u64::from(nibble);
    if nibble < 15 {
        return Some(length);
    }
    loop {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        length += u64::from(*byte);
        if *byte != 255 {
            return Some(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn blocks_are_measured_as_they_decode() {
        for count in [0usize, 1, 4, 15, 20, 269, 270, 5000, 300_000] {
            let plain: Vec<u8> = (0..count).map(|n| (n % 251 * (n / 5000 % 3)) as u8).collect();
            let block = lz4_flex::block::compress(&plain);
            assert_eq!(decoded_length(&block, count as u64), Some(count as u64), "{count}");
            assert!(count == 0 || decoded_length(&block, count as u64 - 1).is_none());
            for cut in 0..block.len().min(40) {
                // Cut within literals or a length; a cut behind literals only shortens.
                let short = decoded_length(&block[..cut], u64::MAX);
                assert!(short.is_none_or(|length| length <= count as u64));
            }
        }
        assert_eq!(decoded_length(&[], 10), None);
        assert_eq!(decoded_length(&[0], 10), Some(0));
        assert_eq!(decoded_length(&[0xf0, 255, 255], 10), None);
    }
}
