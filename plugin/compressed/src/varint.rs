//! Variable-length integers of the .xz format (its section 1.2).

/// The most bytes of an integer.
const LONGEST: usize = 9;

/// The integer at the beginning of `bytes`, and its length; none where it does not end
/// or is not as short as it could be.
pub fn variable(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(LONGEST).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let shortest = *byte != 0 || place == 0;
            return shortest.then_some((value, place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_end_in_time() {
        assert_eq!(variable(&[5, 9]), Some((5, 1)));
        assert_eq!(variable(&[0]), Some((0, 1)));
        assert_eq!(variable(&[0x80, 1]), Some((128, 2)));
        assert_eq!(variable(&[0x80, 0]), None);
        assert_eq!(variable(&[0x80]), None);
        assert_eq!(variable(&[0xff; 10]), None);
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(variable(&longest), Some((i64::MAX as u64, 9)));
    }
}
