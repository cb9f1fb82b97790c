//! Digests over the media: `hash` and `digest` sections of version 1, MD5 and SHA1 hash
//! sections of version 2. Comparing them with the contents is the host's.
//!
//! Source: libewf, "Expert Witness Compression Format", Hash and Digest section; the
//! same, "Version 2", MD5 hash and SHA1 hash.

use alloc::vec::Vec;

use fumehood_plugin::{DigestKind, DiskDigest, Result, Source};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::sealed::read_sealed;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct HashSection {
    md5: [u8; 16],
    unknown: [u8; 16],
    checksum: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DigestSection {
    md5: [u8; 16],
    sha1: [u8; 20],
    padding: [u8; 40],
    checksum: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Md5Section {
    md5: [u8; 16],
    checksum: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Sha1Section {
    sha1: [u8; 20],
    checksum: U32,
}

/// What the set states; of sections that occur twice, the later counts.
#[derive(Debug, Clone, Default)]
pub struct Digests {
    hash: Option<[u8; 16]>,
    md5: Option<[u8; 16]>,
    sha1: Option<[u8; 20]>,
}

impl Digests {
    /// Takes a `hash` section, whose payload is at `offset`.
    ///
    /// # Errors
    /// [`fumehood_plugin::Error::Corrupt`] for a wrong checksum, or what the source answers.
    pub fn take_hash(&mut self, source: &dyn Source, offset: u64) -> Result<()> {
        let found: HashSection = read_sealed(source, offset, "hash section")?;
        self.hash = set(found.md5);
        Ok(())
    }

    /// Takes a `digest` section.
    ///
    /// # Errors
    /// As [`Digests::take_hash`].
    pub fn take_digest(&mut self, source: &dyn Source, offset: u64) -> Result<()> {
        let found: DigestSection = read_sealed(source, offset, "digest section")?;
        self.md5 = set(found.md5);
        self.sha1 = set(found.sha1);
        Ok(())
    }

    /// Takes an MD5 hash section of version 2, whose data is at `offset`.
    ///
    /// # Errors
    /// As [`Digests::take_hash`].
    pub fn take_md5(&mut self, source: &dyn Source, offset: u64) -> Result<()> {
        let found: Md5Section = read_sealed(source, offset, "MD5 hash section")?;
        self.md5 = set(found.md5);
        Ok(())
    }

    /// Takes a SHA1 hash section of version 2, whose data is at `offset`.
    ///
    /// # Errors
    /// As [`Digests::take_hash`].
    pub fn take_sha1(&mut self, source: &dyn Source, offset: u64) -> Result<()> {
        let found: Sha1Section = read_sealed(source, offset, "SHA1 hash section")?;
        self.sha1 = set(found.sha1);
        Ok(())
    }

    /// The digests, each once; two MD5s where the sections contradict each other,
    /// of which one must then fail.
    pub fn list(&self) -> Vec<DiskDigest> {
        let second = self.md5.filter(|md5| Some(*md5) != self.hash);
        let md5 = self.hash.into_iter().chain(second).map(|md5| (DigestKind::Md5, md5.to_vec()));
        let sha1 = self.sha1.map(|sha1| (DigestKind::Sha1, sha1.to_vec()));
        md5.chain(sha1).map(|(kind, value)| DiskDigest { kind, value }).collect()
    }
}

/// All zeroes mean that none was computed.
fn set<const LENGTH: usize>(value: [u8; LENGTH]) -> Option<[u8; LENGTH]> {
    (value != [0; LENGTH]).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_digests_are_listed_once() {
        let mut digests = Digests { hash: Some([1; 16]), md5: Some([1; 16]), sha1: set([0; 20]) };
        assert_eq!(digests.list().len(), 1);
        digests.md5 = Some([2; 16]);
        digests.sha1 = Some([3; 20]);
        assert_eq!(digests.list().len(), 3);
    }

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((size_of::<HashSection>(), size_of::<DigestSection>()), (36, 80));
        assert_eq!((size_of::<Md5Section>(), size_of::<Sha1Section>()), (20, 24));
    }
}
