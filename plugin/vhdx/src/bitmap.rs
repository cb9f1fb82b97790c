//! Sector bitmaps ([MS-VHDX] 2.4): which sectors of a chunk are in this image. Bits
//! are numbered from a bitmap's start, the lowest of a byte first.

use alloc::vec;

use fumehood_plugin::Result;

use crate::pages::{Kind, Pages};

/// Whether bit `from` is set, and up to where, at most `to`, the bits are the same.
///
/// # Errors
/// What reading answers.
pub fn run(pages: &mut Pages, bitmap: u64, from: u64, to: u64) -> Result<(bool, u64)> {
    let mut value = None;
    let mut at = from;
    while at < to {
        let bytes = pages.run(bitmap + at / 8, to.div_ceil(8) - at / 8, "sector bitmap")?;
        for byte in bytes {
            // Bits that differ from the first one are set here.
            let first = *value.get_or_insert(byte >> (at % 8) & 1 == 1);
            let differ = if first { !byte } else { *byte };
            let ahead = u64::from((differ >> (at % 8)).trailing_zeros());
            let left = 8 - at % 8;
            if ahead < left {
                return Ok((first, (at + ahead).min(to)));
            }
            at += left;
        }
    }
    Ok((value.unwrap_or(false), to))
}

/// Sets bits in memory, to be written.
///
/// # Errors
/// What reading answers.
pub fn set(pages: &mut Pages, bitmap: u64, from: u64, to: u64) -> Result<()> {
    let (first, end) = (from / 8, to.div_ceil(8));
    let mut bytes = pages.bytes(bitmap + first, end - first, "sector bitmap")?;
    for (start, byte) in (first * 8..).step_by(8).zip(&mut bytes) {
        let low = from.saturating_sub(start).min(8);
        let high = (to - start).min(8);
        *byte |= ((1u16 << high) - (1u16 << low)) as u8;
    }
    pages.change(bitmap + first, &bytes, Kind::Direct)
}

/// Clears whole bytes of bits in the file, now.
///
/// # Errors
/// What the source answers.
pub fn clear_now(pages: &mut Pages, bitmap: u64, from: u64, to: u64) -> Result<()> {
    let zeroes = vec![0; (to / 8 - from / 8) as usize];
    pages.write_through(bitmap + from / 8, &zeroes)
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;

    use fumehood_plugin::memory::MemorySource;

    use super::*;
    use crate::overlay::Overlay;

    #[test]
    fn runs_end_where_bits_change() {
        let source = MemorySource::new(0, "bits", vec![0; 1 << 17]).writable();
        let mut pages = Pages::new(Rc::new(source), 1 << 17, Overlay::default());
        set(&mut pages, 0, 3, 5).unwrap();
        set(&mut pages, 0, 14, 600_001).unwrap();
        let mut found = vec![];
        let mut at = 0;
        while at < 1 << 20 {
            let (value, end) = run(&mut pages, 0, at, 1 << 20).unwrap();
            found.push((value, end));
            at = end;
        }
        let expected = [(false, 3), (true, 5), (false, 14), (true, 600_001), (false, 1 << 20)];
        assert_eq!(found, expected);
        assert_eq!(run(&mut pages, 0, 4, 5).unwrap(), (true, 5));
        assert_eq!(run(&mut pages, 0, 20, 22).unwrap(), (true, 22));
        clear_now(&mut pages, 0, 16, 32).unwrap();
        assert_eq!(run(&mut pages, 0, 16, 40).unwrap(), (false, 32));
        assert_eq!(run(&mut pages, 0, 14, 40).unwrap(), (true, 16));
    }
}
