//! A piece of the disk, and the entry that stands for it in the index.

use fumehood_plugin::{Codec, DigestKind};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Where the bytes of a piece come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Nothing but zeroes.
    Zero,
    /// Verbatim in the main source, from this offset on.
    Stored(u64),
    /// Unpacked, in the scratch.
    Unpacked(UnpackedPiece),
    /// In the main source, behind a codec.
    Encoded(EncodedPiece),
    /// Does not have the checksum that was stored with it.
    Damaged,
}

/// A piece that the scratch holds unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackedPiece {
    /// Offset in the scratch.
    pub offset: u64,
    /// CRC-32 of its bytes: a scratch may come to harm.
    pub crc: u32,
}

/// A piece that the host decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedPiece {
    /// Offset in the main source.
    pub offset: u64,
    /// Bytes there, or a little more.
    pub stored: u32,
    pub codec: Codec,
    pub check: Check,
    pub entrance: Option<Entrance>,
}

/// How a deflate stream is entered in its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entrance {
    /// Low bits of the first byte that belong to what came before.
    pub bits: u8,
    /// Where in the scratch the window lies.
    pub window: u64,
    /// Its length.
    pub length: u32,
}

/// What the decoded bytes must hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    None,
    /// A checksum of four bytes.
    Given(DigestKind, u32),
    /// It stands in the main source at this offset.
    At(DigestKind, u64),
}

/// A piece as it lies in the index.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Entry {
    /// Where the piece begins on the disk.
    pub start: U64,
    offset: U64,
    stored: U32,
    kind: u8,
    /// Bits of an entrance, or which digest.
    detail: u8,
    check: u8,
    reserved: u8,
    /// A window's offset, or a digest or its offset.
    extra: U64,
    window: U32,
    /// CRC-32 of a piece that has an entrance or was unpacked, or a digest.
    crc: U32,
}

const ZERO: u8 = 0;
const STORED: u8 = 1;
const UNPACKED: u8 = 2;
const DAMAGED: u8 = 3;
/// From here on, codecs.
const CODECS: [(u8, Codec); 6] = [
    (16, Codec::Identity),
    (17, Codec::Deflate),
    (18, Codec::Zstd),
    (19, Codec::Lz4),
    (20, Codec::Lzo),
    (21, Codec::Lzma2),
];

const CHECK_NONE: u8 = 0;
const CHECK_GIVEN: u8 = 1;
const CHECK_AT: u8 = 2;
const CHECK_ENTRANCE: u8 = 3;
const DIGESTS: [(u8, DigestKind); 4] = [
    (0, DigestKind::Adler32),
    (1, DigestKind::Crc32),
    (2, DigestKind::Crc64),
    (3, DigestKind::Sha256),
];

impl Entry {
    /// The entry of `piece`, which begins at `start`.
    pub fn new(start: u64, piece: &Piece) -> Self {
        let mut entry = Self {
            start: U64::new(start),
            offset: U64::ZERO,
            stored: U32::ZERO,
            kind: ZERO,
            detail: 0,
            check: CHECK_NONE,
            reserved: 0,
            extra: U64::ZERO,
            window: U32::ZERO,
            crc: U32::ZERO,
        };
        match piece {
            Piece::Zero => (),
            Piece::Damaged => entry.kind = DAMAGED,
            Piece::Stored(offset) => (entry.kind, entry.offset) = (STORED, U64::new(*offset)),
            Piece::Unpacked(UnpackedPiece { offset, crc }) => {
                (entry.kind, entry.offset) = (UNPACKED, U64::new(*offset));
                entry.crc = U32::new(*crc);
            }
            Piece::Encoded(encoded) => entry.encode(encoded),
        }
        entry
    }

    fn encode(&mut self, piece: &EncodedPiece) {
        let codec = CODECS.iter().find(|(_, codec)| *codec == piece.codec);
        let digest =
            |kind| DIGESTS.iter().find(|(_, own)| *own == kind).map_or(0, |(code, _)| *code);
        self.kind = codec.map_or(DAMAGED, |(code, _)| *code);
        (self.offset, self.stored) = (U64::new(piece.offset), U32::new(piece.stored));
        match piece.check {
            Check::None => (),
            Check::Given(kind, value) => {
                (self.check, self.detail, self.crc) = (CHECK_GIVEN, digest(kind), U32::new(value));
            }
            Check::At(kind, offset) => {
                (self.check, self.detail, self.extra) = (CHECK_AT, digest(kind), U64::new(offset));
            }
        }
        // With an entrance comes a CRC-32, or nothing: there is one field for both.
        if let Some(entrance) = piece.entrance {
            self.check = CHECK_ENTRANCE;
            (self.detail, self.extra) = (entrance.bits, U64::new(entrance.window));
            self.window = U32::new(entrance.length);
        }
    }

    /// The piece; none where the entry is none that this version writes.
    pub fn piece(&self) -> Option<Piece> {
        let offset = self.offset.get();
        Some(match self.kind {
            ZERO => Piece::Zero,
            STORED => Piece::Stored(offset),
            UNPACKED => Piece::Unpacked(UnpackedPiece { offset, crc: self.crc.get() }),
            DAMAGED => Piece::Damaged,
            code => {
                let (_, codec) = CODECS.iter().find(|(own, _)| *own == code)?;
                let digest = || DIGESTS.iter().find(|(code, _)| *code == self.detail);
                let (check, entrance) = match self.check {
                    CHECK_NONE => (Check::None, None),
                    CHECK_GIVEN => (Check::Given(digest()?.1, self.crc.get()), None),
                    CHECK_AT => (Check::At(digest()?.1, self.extra.get()), None),
                    CHECK_ENTRANCE => {
                        (Check::Given(DigestKind::Crc32, self.crc.get()), Some(self.entrance()))
                    }
                    _ => return None,
                };
                let stored = self.stored.get();
                Piece::Encoded(EncodedPiece { offset, stored, codec: *codec, check, entrance })
            }
        })
    }

    fn entrance(&self) -> Entrance {
        Entrance { bits: self.detail, window: self.extra.get(), length: self.window.get() }
    }
}

impl Piece {
    /// Whether `next`, `length` bytes further on, only goes on with this piece.
    pub fn continues(&self, length: u64, next: &Piece) -> bool {
        let follows = |at: &u64, next: &u64| at.checked_add(length) == Some(*next);
        match (self, next) {
            (Piece::Zero, Piece::Zero) | (Piece::Damaged, Piece::Damaged) => true,
            (Piece::Stored(at), Piece::Stored(next)) => follows(at, next),
            // What has a checksum of its own stays a piece of its own.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_give_back_their_pieces() {
        let encoded = |codec, check, entrance| {
            Piece::Encoded(EncodedPiece { offset: 1 << 40, stored: 77, codec, check, entrance })
        };
        let crc = Check::Given(DigestKind::Crc32, 0xdead_beef);
        let entrance = Entrance { bits: 5, window: 1 << 33, length: 32768 };
        for piece in [
            Piece::Zero,
            Piece::Damaged,
            Piece::Stored(u64::MAX),
            Piece::Unpacked(UnpackedPiece { offset: 4096, crc: 0x0102_0304 }),
            encoded(Codec::Zstd, Check::None, None),
            encoded(Codec::Deflate, crc, Some(entrance)),
            encoded(Codec::Lzo, Check::Given(DigestKind::Adler32, 7), None),
            encoded(Codec::Lzma2, Check::At(DigestKind::Sha256, 1 << 50), None),
        ] {
            let entry = Entry::new(9, &piece);
            assert_eq!((entry.start.get(), entry.piece()), (9, Some(piece)));
        }
        let mut unknown = Entry::new(0, &Piece::Zero);
        unknown.kind = 99;
        assert_eq!(unknown.piece(), None);
    }
}
