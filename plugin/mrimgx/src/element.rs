//! Elements of an index: where a block lies, and what of it can be read.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{
    Cipher, Codec, Digest, DigestKind, DigestValue, Encoded, Encryption, Result,
};
use zerocopy::little_endian::{I64, U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::footer;
use crate::keys::Keys;
use crate::set::{Member, Set};
use crate::zstd;

/// Where a block lies.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Element {
    position: I64,
    hash: [u8; 16],
    length: U32,
    file_number: U16,
}

/// A block that changed, and which it is.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DeltaElement {
    /// Where it lies.
    pub element: Element,
    /// Its number.
    pub block: U32,
}

/// Larger blocks are not decoded for us.
pub const MOST_BLOCK: u64 = 64 << 20;

/// Which block, for its vector.
#[derive(Debug, Clone, Copy)]
pub struct Which {
    /// Windows' number of the disk.
    pub disk: i32,
    /// The program's number of the partition.
    pub partition: i32,
    /// The block's number.
    pub index: u32,
}

/// How the blocks of a set are stored.
pub struct Storing {
    /// The files.
    pub set: Set,
    /// They are zstd frames.
    pub compressed: bool,
    /// How they are encrypted, if they are.
    pub keys: Option<Keys>,
}

/// What an element leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The block was not stored.
    Nowhere,
    /// Here.
    At(Encoded),
    /// It cannot be read.
    Damaged(String),
}

impl Element {
    /// What the element leads to, for a block of `length` decoded bytes.
    pub fn place(&self, storing: &Storing, which: Which, length: u64) -> Place {
        if self.length.get() == 0 {
            return Place::Nowhere;
        }
        match self.encoded(storing, which, length) {
            Ok(encoded) => Place::At(encoded),
            Err(what) => Place::Damaged(format!("block {}: {what}", which.index)),
        }
    }

    /// The same where the decoded length is not known, at most `most`: the frame's header
    /// tells it, and where it does not, it is `usual`.
    ///
    /// # Errors
    /// What the source answers.
    pub fn place_and_measure(
        &self,
        storing: &Storing,
        which: Which,
        usual: u64,
        most: u64,
    ) -> Result<Place> {
        let mut encoded = match self.place(storing, which, most) {
            Place::At(encoded) => encoded,
            other => return Ok(other),
        };
        if storing.compressed {
            let Ok(member) = self.member(storing) else { return Ok(Place::Nowhere) };
            let count = u64::from(encoded.stored_length).min(2 * 16);
            let mut head = read_bytes(&*member.source, encoded.offset, count, "block")?;
            if let (Some(keys), Some(encryption)) = (&storing.keys, &encoded.encryption)
                && let Ok(vector) = <[u8; 16]>::try_from(encryption.vector.as_slice())
            {
                head = keys.decrypt_head(vector, &head);
            }
            let told = zstd::content_size(&head).unwrap_or(usual);
            match u32::try_from(told) {
                Ok(told) if told > 0 && u64::from(told) <= most => encoded.decoded_length = told,
                _ => {
                    let index = which.index;
                    let what = format!("block {index}: it decodes to {told} bytes of {most}");
                    return Ok(Place::Damaged(what));
                }
            }
        }
        Ok(Place::At(encoded))
    }

    fn member<'a>(&self, storing: &'a Storing) -> core::result::Result<&'a Member, String> {
        let number = u32::from(self.file_number.get());
        let missing = || format!("file number {number} of the set is missing");
        storing.set.answers_for(number).ok_or_else(missing)
    }

    fn encoded(
        &self,
        storing: &Storing,
        which: Which,
        length: u64,
    ) -> core::result::Result<Encoded, String> {
        let member = self.member(storing)?;
        let stored = self.length.get();
        let limit = member.size.saturating_sub(footer::LENGTH);
        let offset = u64::try_from(self.position.get()).ok();
        let end = offset.and_then(|offset| offset.checked_add(stored.into()));
        let (Some(offset), Some(_)) = (offset, end.filter(|end| *end <= limit)) else {
            let position = self.position.get();
            let what = format!("{stored} bytes at {position} of {}", member.name);
            return Err(format!("{what}, where data end by {limit}"));
        };
        if u64::from(stored) > MOST_BLOCK {
            return Err(format!("{stored} bytes stored"));
        }
        let (codec, decoded) = match (storing.compressed, u32::try_from(length)) {
            (true, Ok(length)) => (Codec::Zstd, length),
            (false, Ok(length)) if stored <= length || storing.keys.is_some() => {
                (Codec::Identity, stored)
            }
            _ => return Err(format!("{stored} bytes stored, for {length}")),
        };
        let mut encoded = Encoded::new(member.source.id(), offset, stored, codec, decoded);
        encoded.digest = self.digest();
        if let Some(keys) = &storing.keys {
            if !stored.is_multiple_of(16) {
                return Err(format!("{stored} encrypted bytes, which is no multiple of 16"));
            }
            encoded.encryption = Some(Encryption {
                cipher: Cipher::AesCbc,
                key: keys.number,
                vector: Vec::from(keys.vector(which.disk, which.partition, which.index)),
                tag: Vec::new(),
            });
        }
        Ok(encoded)
    }

    /// None was computed where it is all zeroes.
    fn digest(&self) -> Option<Digest> {
        let value = DigestValue::Given(Vec::from(self.hash));
        let digest = Digest { kind: DigestKind::Md5, value, over_decoded: true };
        (self.hash != [0; 16]).then_some(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((size_of::<Element>(), size_of::<DeltaElement>()), (30, 34));
    }
}
