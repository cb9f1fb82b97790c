//! Blocks as they are stored: descriptors in a file's tables, entries of the store, and
//! what of them can be read.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Codec, Digest, DigestKind, DigestValue, Encoded};
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// An entry of a file's sparse table, for [`PER_TABLE`] blocks.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TableEntry {
    /// First page of the descriptors, negative where all blocks are sparse.
    pub root: I64,
    /// Bytes a block.
    pub block_size: U64,
    /// How many descriptors there are.
    pub count: U64,
}

/// Blocks for which an entry of the sparse table stands.
pub const PER_TABLE: u64 = 1088;

/// What a file's table says of a block.
#[derive(Debug, Clone, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Descriptor {
    block_size: U32,
    kind: u8,
    digest: [u8; 16],
    block: U64,
    flags: u8,
    key_set: [u8; 16],
}

/// What the store says of a block.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct StoreEntry {
    format: u8,
    usage: U32,
    offset: U64,
    allocated: U32,
    dedup: u8,
    digest: [u8; 16],
    compression: i8,
    unknown: u8,
    compressed_size: U32,
    source_size: U32,
    key_set: [u8; 16],
}

/// Bytes before an LZ4 block: a magic number, a CRC-32C of what it decodes to, and the
/// length of that. The digest makes the CRC needless.
const LZ4_HEADER: u32 = 12;

/// Why a block cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// By a feature, which it names.
    Unsupported(String),
    /// The archive contradicts itself.
    Corrupt(String),
}

impl Refusal {
    /// For the reader of that range.
    pub fn text(self) -> String {
        match self {
            Refusal::Unsupported(what) => format!("unsupported: {what}"),
            Refusal::Corrupt(what) => what,
        }
    }
}

/// Where a block is, None for zeroes; or why it cannot be read.
pub type Found = Result<Option<Encoded>, Refusal>;

/// What a descriptor asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Zeroes.
    Zero,
    /// This entry of the store.
    Stored(u64),
}

impl Descriptor {
    /// What the block of `length` bytes is.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn wanted(&self, length: u64) -> Result<Wanted, Refusal> {
        let unsupported = |name: &str| {
            Err(Refusal::Unsupported(format!("blocks of type {} ({name})", self.kind)))
        };
        match self.kind {
            1 => return Ok(Wanted::Zero),
            0 => (),
            2 => return unsupported("reserved"),
            3 => return unsupported("archived"),
            4 => return unsupported("in a blob"),
            5 => return unsupported("reserved in a blob"),
            _ => return unsupported("unknown"),
        }
        if self.key_set != [0; 16] {
            return Err(encrypted());
        }
        let size = u64::from(self.block_size.get());
        if size < length {
            return Err(Refusal::Corrupt(format!(
                "a block of {size} bytes where {length} are due"
            )));
        }
        Ok(Wanted::Stored(self.block.get()))
    }
}

fn encrypted() -> Refusal {
    Refusal::Unsupported("encrypted blocks".into())
}

impl StoreEntry {
    /// Where the block is that `descriptor` asks for, in a file of `file_size` bytes.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn place(&self, descriptor: &Descriptor, file_size: u64) -> Result<Encoded, Refusal> {
        if self.key_set != [0; 16] {
            return Err(encrypted());
        }
        if self.digest != descriptor.digest {
            let what = format!("block {} is another than the file's", descriptor.block.get());
            return Err(Refusal::Corrupt(what));
        }
        let (stored, decoded) = (self.compressed_size.get(), self.source_size.get());
        if decoded != descriptor.block_size.get() {
            let due = descriptor.block_size.get();
            return Err(Refusal::Corrupt(format!("a block of {decoded} bytes, not {due}")));
        }
        let offset = self.offset.get();
        let (codec, head) = match self.compression {
            -1 => (Codec::Identity, 0),
            2 => return Err(compression("RL", 2)),
            3 => return Err(compression("ZLH", 3)),
            4 => return Err(compression("ZLL", 4)),
            7 => (Codec::Lz4, LZ4_HEADER),
            code => return Err(compression("unknown", code)),
        };
        let length = stored.checked_sub(head);
        let fits = length.is_some_and(|length| codec != Codec::Identity || length == decoded);
        let end = offset.checked_add(stored.into()).filter(|end| *end <= file_size);
        let (Some(length), true, Some(_), true) =
            (length, fits, end, stored <= self.allocated.get())
        else {
            let room = self.allocated.get();
            let what = format!("{stored} bytes at {offset}, in room for {room}, for {decoded}");
            return Err(Refusal::Corrupt(what));
        };
        let start = offset.saturating_add(head.into());
        let mut encoded = Encoded::new(0, start, length, codec, decoded);
        encoded.digest = Some(Digest {
            kind: DigestKind::Md5,
            value: DigestValue::Given(Vec::from(self.digest)),
            over_decoded: true,
        });
        Ok(encoded)
    }
}

fn compression(name: &str, code: i8) -> Refusal {
    Refusal::Unsupported(format!("blocks compressed by method {code} ({name})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((size_of::<TableEntry>(), size_of::<Descriptor>()), (24, 46));
        assert_eq!(size_of::<StoreEntry>(), 60);
    }
}
