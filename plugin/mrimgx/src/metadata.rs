//! Metadata blocks: lists of named blocks with headers, which are checked, decrypted and
//! decompressed here.

use alloc::format;
use alloc::vec::Vec;

use fumehood_plugin::read::{read_bytes, read_struct};
use fumehood_plugin::{Error, Result, Source};
use md5::{Digest as _, Md5};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::footer;
use crate::keys::Keys;
use crate::layout::Layout;
use crate::zstd;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockHeader {
    name: [u8; 8],
    length: U32,
    hash: [u8; 16],
    flags: u8,
    padding: [u8; 3],
}

const HEADER: u64 = size_of::<BlockHeader>() as u64;
const LAST: u8 = 1;
const COMPRESSED: u8 = 2;
const ENCRYPTED: u8 = 4;

/// Blocks of a list, at most.
const MOST_BLOCKS: usize = 256;
/// Bytes of JSON, at most.
const MOST_JSON: usize = 8 << 20;

/// Bytes read at once to take a digest.
const STEP: u32 = 1 << 20;

/// The JSON.
pub const JSON: &[u8; 8] = b"$JSON   ";
/// Sectors from the disk's beginning on.
pub const TRACK0: &[u8; 8] = b"$TRACK0 ";
/// Boot records of logical drives.
pub const EXTENDED: &[u8; 8] = b"$EPT    ";
/// Where blocks lie.
pub const INDEX: &[u8; 8] = b"$INDEX  ";

/// A block of a list.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// Eight characters.
    pub name: [u8; 8],
    /// Offset of its payload.
    pub offset: u64,
    /// Bytes stored.
    pub length: u32,
    /// MD5 of the bytes stored.
    pub hash: [u8; 16],
    flags: u8,
}

/// A list of blocks, and where it ends.
#[derive(Debug)]
pub struct List {
    /// In order.
    pub blocks: Vec<Block>,
    /// Offset just past the last.
    pub end: u64,
}

impl List {
    /// The first block of that name.
    pub fn find(&self, name: &[u8; 8]) -> Option<&Block> {
        self.blocks.iter().find(|block| block.name == *name)
    }
}

/// Reads the headers of a list.
///
/// # Errors
/// [`Error::Corrupt`] for one that runs into the footer, or does not end.
pub fn read_list(source: &dyn Source, start: u64) -> Result<List> {
    let limit = source.size().saturating_sub(footer::LENGTH);
    let mut list = List { blocks: Vec::new(), end: start };
    loop {
        let header: BlockHeader = read_struct(source, list.end, "metadata block")?;
        let offset = list.end + HEADER;
        let end = offset + u64::from(header.length.get());
        if end > limit {
            let what = format!("a metadata block up to {end}, where the footer is at {limit}");
            return Err(Error::corrupt_in(source.id(), list.end, what));
        }
        if list.blocks.len() >= MOST_BLOCKS {
            let what = format!("a list of more than {MOST_BLOCKS} metadata blocks");
            return Err(Error::corrupt_in(source.id(), start, what));
        }
        list.blocks.push(Block {
            name: header.name,
            offset,
            length: header.length.get(),
            hash: header.hash,
            flags: header.flags,
        });
        list.end = end;
        if header.flags & LAST != 0 {
            return Ok(list);
        }
    }
}

impl Block {
    /// Whether its payload lies in the file as it is.
    pub fn is_plain(&self) -> bool {
        self.flags & (COMPRESSED | ENCRYPTED) == 0
    }

    /// Whether the bytes stored have the MD5 that they should, read in windows.
    ///
    /// # Errors
    /// What the source answers.
    pub fn is_sound(&self, source: &dyn Source) -> Result<bool> {
        let mut digest = Md5::new();
        let mut at = 0;
        while at < self.length {
            let step = (self.length - at).min(STEP);
            digest.update(read_bytes(source, self.offset + u64::from(at), step.into(), "index")?);
            at += step;
        }
        Ok(self.length == 0 || digest.finalize().as_slice() == self.hash)
    }

    /// Its payload, at most `most` bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a wrong hash or a broken frame, [`Error::NeedsKey`] where
    /// it is encrypted and there are no keys.
    pub fn payload(
        &self,
        source: &dyn Source,
        keys: Option<&Keys>,
        most: usize,
    ) -> Result<Vec<u8>> {
        let corrupt = |what| Error::corrupt_in(source.id(), self.offset, what);
        let name = alloc::string::String::from_utf8_lossy(&self.name).trim().replace('\0', "");
        let mut bytes = read_bytes(source, self.offset, self.length.into(), &name)?;
        if !bytes.is_empty() && Md5::digest(&bytes).as_slice() != self.hash {
            return Err(corrupt(format!("the MD5 of {name} is not as stored")));
        }
        if self.flags & ENCRYPTED != 0 {
            let keys = keys.ok_or_else(|| Error::NeedsKey(format!("{name} is encrypted")))?;
            bytes = keys.decrypt_metadata(bytes).map_err(corrupt)?;
        }
        if self.flags & COMPRESSED != 0 {
            return zstd::decode(&bytes, most).map_err(|what| corrupt(format!("{name}: {what}")));
        }
        if bytes.len() > most {
            return Err(corrupt(format!("{name} of {} bytes; {most} are allowed", bytes.len())));
        }
        Ok(bytes)
    }
}

/// The text of a file's JSON.
///
/// # Errors
/// As [`footer::read`] and [`Block::payload`].
pub fn read_json(source: &dyn Source) -> Result<Vec<u8>> {
    let list = read_list(source, footer::read(source)?)?;
    let missing = || Error::corrupt_in(source.id(), list.end, "there is no $JSON block");
    list.find(JSON).ok_or_else(missing)?.payload(source, None, MOST_JSON)
}

/// What a file's JSON says.
///
/// # Errors
/// As [`read_json`], and [`Error::Corrupt`] for what is no JSON of the kind.
pub fn read_layout(source: &dyn Source) -> Result<Layout> {
    let json = read_json(source)?;
    serde_json::from_slice(&json).map_err(|error| {
        Error::corrupt_in(source.id(), source.size(), format!("the JSON: {error}"))
    })
}
