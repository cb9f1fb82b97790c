//! Where a range of a disk lies: [`Extent`] and the list that builds answers.

use alloc::string::String;
use alloc::vec::Vec;

/// A run of a disk with one kind of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Byte offset on the disk.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub length: u64,
    /// What is there.
    pub content: Content,
}

impl Extent {
    /// The offset just past this extent.
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// What an extent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Not in this image: look in the parent; zeroes if there is none.
    Absent,
    /// Reads as zeroes, whatever the parent holds.
    Zero,
    /// Verbatim in a source.
    Stored(Stored),
    /// In a source, behind a codec or with a digest to check.
    Encoded(Encoded),
    /// Only the plugin can produce it: the host calls [`crate::Disk::read`].
    Computed,
    /// Reading this range fails with this text.
    Damaged(String),
}

/// Bytes that lie verbatim in a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// [`crate::Source::id`] of the source.
    pub source: u32,
    /// Byte offset in it.
    pub offset: u64,
    /// The host may write here in place.
    pub writable: bool,
}

/// Bytes that the host decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// [`crate::Source::id`] of the source.
    pub source: u32,
    /// Byte offset of the encoded block in it.
    pub offset: u64,
    /// Bytes to read. An upper bound for codecs that mark their own end (all
    /// but [`Codec::Identity`], [`Codec::Lz4`] and [`Codec::Adc`]).
    pub stored_length: u32,
    /// How it is encoded.
    pub codec: Codec,
    /// Length of the whole block once decoded.
    pub decoded_length: u32,
    /// Where in the decoded block this extent begins.
    pub skip: u32,
    /// For the host to check.
    pub digest: Option<Digest>,
    /// How the stored bytes are encrypted, if they are.
    pub encryption: Option<Encryption>,
    /// Where a deflate stream is entered in its middle.
    pub window: Option<Window>,
}

impl Encoded {
    /// A block of `source` that is neither encrypted nor carries a digest, from the
    /// beginning of its `decoded_length` bytes.
    pub fn new(
        source: u32,
        offset: u64,
        stored_length: u32,
        codec: Codec,
        decoded_length: u32,
    ) -> Self {
        Self {
            source,
            offset,
            stored_length,
            codec,
            decoded_length,
            skip: 0,
            digest: None,
            encryption: None,
            window: None,
        }
    }
}

/// A cipher, with a key of 16 or 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES in CBC mode, whole blocks, no padding; a vector of 16 bytes.
    AesCbc,
    /// AES in Galois/Counter mode: a vector of 12 or 16 bytes, a tag of 16.
    AesGcm,
}

/// How stored bytes are encrypted. The host decrypts them, then decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// Which cipher.
    pub cipher: Cipher,
    /// What [`crate::Host::keep_secret`] answered.
    pub key: u32,
    /// The initialisation vector.
    pub vector: Vec<u8>,
    /// Empty where the cipher has none.
    pub tag: Vec<u8>,
}

/// Where a decoder goes on in the middle of a [`Codec::Deflate`] stream.
///
/// A block with a window need not end where the stream does; one at the beginning of a
/// stream that goes on has a window of length 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// So many low bits of the first stored byte belong to what came before.
    pub bits: u8,
    /// The source that holds what was decoded just before.
    pub source: u32,
    /// Byte offset in it.
    pub offset: u64,
    /// Its length, at most 32 KiB.
    pub length: u32,
}

/// How a block is encoded. Codecs are the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Codec {
    /// Stored as it is; used where the bytes are encrypted or carry a digest.
    Identity,
    /// Raw deflate (RFC 1951).
    Deflate,
    /// Deflate with zlib header and Adler-32 (RFC 1950).
    Zlib,
    /// One Zstandard frame.
    Zstd,
    /// One LZ4 block, without a frame around it.
    Lz4,
    /// One LZO1X block.
    Lzo,
    /// One bzip2 stream, or several in a row.
    Bzip2,
    /// One stream of the .xz format.
    Xz,
    /// The chunks of LZMA2 up to its end mark, as in a block of the .xz format.
    Lzma2,
    /// LZFSE blocks up to the end mark, LZVN ones among them.
    Lzfse,
    /// Apple Data Compression.
    Adc,
    /// One Snappy block, without a frame around it.
    Snappy,
}

/// A digest over one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Which function.
    pub kind: DigestKind,
    /// Its expected value, or where that stands.
    pub value: DigestValue,
    /// Taken over the decoded bytes (or over the stored ones).
    pub over_decoded: bool,
}

/// A digest's expected value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DigestValue {
    /// Known to the plugin. Checksums are little-endian.
    Given(Vec<u8>),
    /// Little-endian, directly behind the stored bytes.
    Follows,
}

/// A digest function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DigestKind {
    Adler32,
    Crc32,
    /// CRC-32 without the inversion at the end.
    Crc32Plain,
    /// CRC-32 by Castagnoli's polynomial.
    Crc32c,
    /// CRC-64 of ECMA-182, reflected, as in xz.
    Crc64,
    Xxh64,
    Xxh128,
    Md5,
    Sha1,
    Sha256,
}

/// Room for a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Byte offset on the disk.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// Where the bytes go.
    pub stored: Stored,
    /// New here, in whole granules: the host fills what is not written of a granule
    /// from what was visible before, and commits it. Otherwise the bytes are there
    /// already and are written in place.
    pub fresh: bool,
    /// The room reads as zeroes now, so zeroes need not be written to it.
    pub zeroed: bool,
}

/// Builds an answer of extents in order, joining neighbours that continue each other.
#[derive(Debug, Default)]
pub struct Extents {
    list: Vec<Extent>,
}

impl Extents {
    /// An empty answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `length` bytes of `content` at `offset`, which must be where the
    /// answer ends so far. A length of 0 adds nothing.
    pub fn push(&mut self, offset: u64, length: u64, content: Content) {
        if length == 0 {
            return;
        }
        if let Some(last) = self.list.last_mut() {
            debug_assert_eq!(last.end(), offset, "extents must be gapless and in order");
            if continues(last, &content) {
                last.length += length;
                return;
            }
        }
        self.list.push(Extent { offset, length, content });
    }

    /// How many extents the answer holds so far.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the answer is still empty.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The answer.
    pub fn finish(self) -> Vec<Extent> {
        self.list
    }
}

fn continues(last: &Extent, next: &Content) -> bool {
    match (&last.content, next) {
        (Content::Absent, Content::Absent)
        | (Content::Zero, Content::Zero)
        | (Content::Computed, Content::Computed) => true,
        (Content::Stored(a), Content::Stored(b)) => {
            a.source == b.source
                && a.writable == b.writable
                && a.offset.checked_add(last.length) == Some(b.offset)
        }
        (Content::Damaged(a), Content::Damaged(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(offset: u64) -> Content {
        Content::Stored(Stored { source: 0, offset, writable: false })
    }

    #[test]
    fn neighbours_that_continue_are_joined() {
        let mut extents = Extents::new();
        extents.push(0, 512, stored(4096));
        extents.push(512, 512, stored(4608));
        extents.push(1024, 512, stored(9000));
        extents.push(1536, 512, Content::Zero);
        extents.push(2048, 0, Content::Absent);
        extents.push(2048, 512, Content::Zero);
        let list = extents.finish();
        assert_eq!(list.len(), 3);
        assert_eq!((list[0].offset, list[0].length), (0, 1024));
        assert_eq!((list[2].offset, list[2].length), (1536, 1024));
    }
}
