//! The storage header: the file's first page.

use alloc::format;
use alloc::string::ToString;

use fumehood_plugin::read::read_struct;
use fumehood_plugin::text::harmless;
use fumehood_plugin::{Error, Result, Source};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes a page, everywhere in the file.
pub const PAGE: u64 = 4096;
/// The name of the one digest that is known.
const DIGEST: &[u8] = b"md5";
/// The most bytes a block may decode to: more is not decoded for us.
const MOST_BLOCK: u32 = 64 << 20;
/// Format versions that are laid out as the two that were seen.
const KNOWN: core::ops::RangeInclusive<u32> = 9..=13;
/// Format versions of which files were seen.
const SEEN: [u32; 2] = [9, 13];
/// From this version on, vectors have a table of their pages.
const TABLES: u32 = 12;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct StorageHeader {
    version: U32,
    initialised: U32,
    digest_length: U32,
    digest: [u8; 251],
    slot_format: U32,
    block_size: U32,
    cluster_align: u8,
}

impl StorageHeader {
    fn digest(&self) -> Option<&[u8]> {
        let length = usize::try_from(self.digest_length.get()).ok()?;
        let (name, rest) = self.digest.split_at_checked(length)?;
        (!name.is_empty() && rest.iter().all(|byte| *byte == 0)).then_some(name)
    }

    fn block_size_is_sound(&self) -> bool {
        let size = self.block_size.get();
        size.is_power_of_two() && (512..=MOST_BLOCK).contains(&size)
    }
}

/// Whether `head` begins with a storage header. There is no signature, but the name of
/// the digest among its 251 bytes is as good as one.
pub fn looks_right(head: &[u8]) -> bool {
    let Ok((header, _)) = StorageHeader::read_from_prefix(head) else { return false };
    let version = header.version.get();
    (1..=0x1_ffff).contains(&version)
        && header.initialised.get() <= 1
        && header.digest() == Some(DIGEST)
        && header.block_size_is_sound()
}

/// How a vector's pages are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Each names the next.
    Chained,
    /// They are listed in a table.
    Listed,
}

/// What the header says.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// Version of the whole format.
    pub version: u32,
    /// The most banks that a slot may name.
    pub most_banks: u32,
    /// Slots carry CRC-32C, not CRC-32.
    pub castagnoli: bool,
    /// Bytes a block, usually.
    pub block_size: u32,
    /// How vectors are laid out.
    pub generation: Generation,
}

impl Header {
    /// Reads and checks it.
    ///
    /// # Errors
    /// [`Error::Unrecognised`], [`Error::Unsupported`] for versions and digests that are
    /// not known, [`Error::Corrupt`].
    pub fn read(source: &dyn Source) -> Result<Self> {
        if source.size() < PAGE {
            return Err(Error::Unrecognised);
        }
        let header: StorageHeader = read_struct(source, 0, "storage header")?;
        let Some(digest) = header.digest() else { return Err(Error::Unrecognised) };
        let version = header.version.get();
        if !KNOWN.contains(&version) {
            let (first, last) = (KNOWN.start(), KNOWN.end());
            let what = format!("format version {version}; {first} to {last} are known");
            return Err(Error::Unsupported(what));
        }
        if digest != DIGEST {
            let name = harmless(&alloc::string::String::from_utf8_lossy(digest));
            return Err(Error::Unsupported(format!("digests of type {name:?}; md5 is known")));
        }
        if header.initialised.get() == 0 {
            return Err(Error::corrupt(4, "the backup file was never initialised"));
        }
        if !header.block_size_is_sound() {
            let what = format!("a block size of {} bytes", header.block_size.get());
            return Err(Error::corrupt(0x10b, what));
        }
        let slot_format = header.slot_format.get();
        Ok(Self {
            version,
            most_banks: if slot_format == 0 { 0xf8 } else { 0x7f00 },
            castagnoli: slot_format > 5,
            block_size: header.block_size.get(),
            generation: if version < TABLES { Generation::Chained } else { Generation::Listed },
        })
    }

    /// What the operator should know of a version that no file was seen of.
    pub fn warning(&self) -> Option<alloc::string::String> {
        let seen = SEEN.map(|version| version.to_string()).join(" and ");
        (!SEEN.contains(&self.version))
            .then(|| format!("format version {} is read as {seen} are", self.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_its_size() {
        assert_eq!(size_of::<StorageHeader>(), 0x110);
    }
}
