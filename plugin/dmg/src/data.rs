//! The bytes of one resource, a piece at a time: from the base64 of a property list, or
//! as they are. Tables are long, and memory holds them once only.

use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Letters decoded at once, a multiple of four.
const PIECE: usize = 4096;

/// What is left of a resource.
pub struct Data<'a> {
    letters: &'a [u8],
    decoded: Vec<u8>,
    /// How much of `decoded` was taken.
    taken: usize,
    ended: bool,
}

impl<'a> Data<'a> {
    /// The bytes that `text` encodes in base64, with white space anywhere.
    pub fn encoded(text: &'a str) -> Self {
        Self { letters: text.as_bytes(), decoded: Vec::new(), taken: 0, ended: false }
    }

    /// The bytes as they are.
    pub fn plain(bytes: Vec<u8>) -> Self {
        Self { letters: &[], decoded: bytes, taken: 0, ended: true }
    }

    /// No more than so many bytes are left.
    pub fn most(&self) -> u64 {
        (self.letters.len() / 4 * 3 + 3 + self.decoded.len() - self.taken) as u64
    }

    /// The next `N` bytes; `None` where there are fewer or the text is no base64.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        while self.decoded.len() - self.taken < N {
            self.decode_more()?;
        }
        let array = self.decoded.get(self.taken..)?.first_chunk()?;
        self.taken += N;
        Some(*array)
    }

    /// Decodes the next piece behind what is left of the last one.
    fn decode_more(&mut self) -> Option<()> {
        if self.ended {
            return None;
        }
        let mut piece = Vec::with_capacity(PIECE);
        while piece.len() < PIECE {
            let Some((letter, rest)) = self.letters.split_first() else { break };
            self.letters = rest;
            if !letter.is_ascii_whitespace() {
                piece.push(*letter);
            }
        }
        // Padding in an earlier piece is refused by the decoder: it ends what it gets.
        self.ended = piece.len() < PIECE || self.letters.is_empty();
        self.decoded.drain(..self.taken);
        self.taken = 0;
        if !self.ended && piece.contains(&b'=') {
            return None;
        }
        STANDARD.decode_vec(&piece, &mut self.decoded).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn pieces_follow_each_other() {
        let bytes: Vec<u8> = (0..30_000u32).map(|at| (at * 7) as u8).collect();
        let mut text = String::new();
        for line in STANDARD.encode(&bytes).as_bytes().chunks(61) {
            text.push_str("\n\t\t");
            text.push_str(core::str::from_utf8(line).unwrap());
        }
        let mut encoded = Data::encoded(&text);
        let mut plain = Data::plain(bytes.clone());
        assert!(encoded.most() >= 30_000);
        for part in bytes.as_chunks::<40>().0 {
            assert_eq!(encoded.array::<40>().as_ref(), Some(part));
            assert_eq!(plain.array::<40>().as_ref(), Some(part));
        }
        assert_eq!(encoded.array::<1>(), None);
        assert_eq!(plain.array::<1>(), None);
    }

    #[test]
    fn what_is_no_base64_ends_it() {
        for text in ["", "A", "AA", "AAA", "A*==", "=AAA", "AAA=AAAA", "AAAA\u{e9}AAA"] {
            let mut data = Data::encoded(text);
            assert_eq!(data.array::<4>(), None, "{text}");
        }
        assert_eq!(Data::encoded("Zg ==").array::<1>(), Some(*b"f"));
    }
}
