//! The two ends of a decoder: bytes that are taken, and room that is filled.

use crate::Failure;

/// What is left of the stored bytes.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Failure> {
        let (byte, rest) = self.0.split_first().ok_or(Failure::Corrupt)?;
        self.0 = rest;
        Ok(*byte)
    }

    /// The next `length` bytes.
    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Failure::Corrupt)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Failure::Corrupt)?;
        self.0 = rest;
        Ok(*taken)
    }
}

/// Room that is filled from its beginning.
pub(crate) struct Output<'a> {
    room: &'a mut [u8],
    filled: usize,
}

impl<'a> Output<'a> {
    /// All of `room`.
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Self { room, filled: 0 }
    }

    /// How much of it is filled.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// Appends bytes as they are.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let end = self.filled.checked_add(bytes.len()).ok_or(Failure::TooLong)?;
        self.room.get_mut(self.filled..end).ok_or(Failure::TooLong)?.copy_from_slice(bytes);
        self.filled = end;
        Ok(())
    }

    /// Appends `length` bytes, each the one that stands `distance` before it; they may
    /// be among those that this appends.
    #[inline]
    pub(crate) fn repeat(&mut self, distance: usize, length: usize) -> Result<(), Failure> {
        let start = self.filled.checked_sub(distance).ok_or(Failure::Corrupt)?;
        let end = self.filled.checked_add(length).ok_or(Failure::TooLong)?;
        if distance == 0 {
            return Err(Failure::Corrupt);
        }
        let room = self.room.get_mut(start..end).ok_or(Failure::TooLong)?;
        // Every turn doubles what is there to copy from.
        let mut there = distance;
        while there < room.len() {
            let count = there.min(room.len() - there);
            room.copy_within(..count, there);
            there += count;
        }
        self.filled = end;
        Ok(())
    }
}

/// Fills `output` from `read`, which answers as `std::io::Read` does, to the end of
/// what there is, and says how many bytes it was.
///
/// # Errors
/// Those of `read`, and [`Failure::TooLong`] where it has more.
pub(crate) fn fill(
    output: &mut [u8],
    mut read: impl FnMut(&mut [u8]) -> Result<usize, Failure>,
) -> Result<usize, Failure> {
    let mut filled = 0;
    loop {
        let room = output.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            break;
        }
        match read(room)? {
            0 => return Ok(filled),
            count => filled = filled.saturating_add(count).min(output.len()),
        }
    }
    // Asked for one byte more, it compares what checksums there are at its end.
    if read(&mut [0])? == 0 { Ok(filled) } else { Err(Failure::TooLong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_may_overlap_itself() {
        for distance in 1..9 {
            for length in 0..40 {
                let mut room = [0; 48];
                let mut output = Output::new(&mut room);
                output.append(b"abcdefgh").unwrap();
                output.repeat(distance, length).unwrap();
                let filled = output.filled();
                assert_eq!(filled, 8 + length);
                for at in 8..filled {
                    assert_eq!(room[at], room[at - distance]);
                }
            }
        }
    }

    #[test]
    fn nothing_is_before_the_beginning_or_behind_the_end() {
        let mut room = [0; 10];
        let mut output = Output::new(&mut room);
        output.append(b"abcd").unwrap();
        assert_eq!(output.repeat(5, 1), Err(Failure::Corrupt));
        assert_eq!(output.repeat(0, 1), Err(Failure::Corrupt));
        assert_eq!(output.repeat(1, 7), Err(Failure::TooLong));
        assert_eq!(output.repeat(1, usize::MAX), Err(Failure::TooLong));
        assert_eq!(output.append(b"efghijk"), Err(Failure::TooLong));
        assert_eq!(output.repeat(4, 6), Ok(()));
        assert_eq!(&room, b"abcdabcdab");
    }

    #[test]
    fn one_byte_more_is_one_too_many() {
        let source = |bytes: usize| {
            let mut left = bytes;
            move |room: &mut [u8]| {
                let count = left.min(room.len()).min(3);
                left -= count;
                Ok(count)
            }
        };
        assert_eq!(fill(&mut [0; 8], source(7)), Ok(7));
        assert_eq!(fill(&mut [0; 8], source(8)), Ok(8));
        assert_eq!(fill(&mut [0; 8], source(9)), Err(Failure::TooLong));
        assert_eq!(fill(&mut [], source(0)), Ok(0));
    }
}
