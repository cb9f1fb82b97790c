//! Verifying a disk: what its plugin finds in its structures, every block decoded
//! with its checksum, and the digests that the image stores over the whole disk.

use fumehood_core::PieceKind;
use fumehood_core::contract::format::{DigestKind, Finding};

use crate::digest::Hasher;
use crate::disk::Disk;
use crate::error::Result;

/// Bytes verified in one step.
const STEP: u64 = 4 << 20;
/// After so many findings, the rest is counted and not kept.
const FINDING_LIMIT: usize = 1000;

/// What verifying found.
#[derive(Debug, Default)]
pub struct Verification {
    /// What is wrong, by disk offset; at most the first thousand.
    pub findings: Vec<Finding>,
    /// How many findings there were in all.
    pub count: u64,
    /// Stored digests, and what the disk's bytes gave; `None` where some could not
    /// be read.
    pub digests: Vec<DigestComparison>,
}

/// A digest that the image stores, beside the computed one.
#[derive(Debug)]
pub struct DigestComparison {
    /// Which function.
    pub kind: DigestKind,
    /// As the image stores it.
    pub stored: Vec<u8>,
    /// As computed over the whole disk.
    pub computed: Option<Vec<u8>>,
}

impl DigestComparison {
    /// Whether both are known and the same.
    pub fn agrees(&self) -> bool {
        self.computed.as_ref() == Some(&self.stored)
    }
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.count == 0 && self.digests.iter().all(DigestComparison::agrees)
    }

    fn add(&mut self, finding: Finding) {
        self.count += 1;
        if self.findings.len() < FINDING_LIMIT {
            self.findings.push(finding);
        }
    }
}

impl Disk {
    /// Verifies the disk. Bytes that lie verbatim in a source and have no digest
    /// over them are not read: there is nothing to compare them with.
    ///
    /// `progress` is told how many bytes are done; it stops the work by answering
    /// `false`.
    ///
    /// # Errors
    /// What keeps the plugin from looking; damage is in the findings.
    pub fn verify(&self, mut progress: impl FnMut(u64) -> bool) -> Result<Verification> {
        let mut verification = Verification::default();
        for finding in self.check()? {
            verification.add(finding);
        }
        let stored = &self.info().digests;
        let mut hashers: Vec<_> = stored.iter().map(|digest| Hasher::new(digest.kind)).collect();
        let mut readable = true;
        let mut buffer = vec![0; STEP as usize];
        let mut at = 0;
        while at < self.size() && progress(at) {
            let length = STEP.min(self.size() - at);
            let buffer = &mut buffer[..length as usize];
            if !hashers.is_empty() || self.has_blocks(at, length)? {
                match self.read_at(buffer, at) {
                    Ok(()) => hashers.iter_mut().for_each(|hasher| hasher.update(buffer)),
                    Err(_) => {
                        readable = false;
                        self.find_unreadable(at, length, &mut verification)?;
                    }
                }
            }
            at += length;
        }
        let complete = readable && at >= self.size();
        for (digest, hasher) in stored.iter().zip(hashers) {
            verification.digests.push(DigestComparison {
                kind: digest.kind,
                stored: digest.value.clone(),
                computed: complete.then(|| hasher.finish()),
            });
        }
        Ok(verification)
    }

    /// Whether a range holds anything whose reading can fail by its contents.
    fn has_blocks(&self, offset: u64, length: u64) -> Result<bool> {
        let mut found = false;
        self.each_piece(offset, length, |piece| {
            found |= !piece.kind.is_zero() && !matches!(piece.kind, PieceKind::Stored { .. });
            Ok(())
        })?;
        Ok(found)
    }

    /// Reads a range piece by piece to find those that fail.
    fn find_unreadable(&self, offset: u64, length: u64, found: &mut Verification) -> Result<()> {
        self.each_piece(offset, length, |piece| {
            let mut buffer = vec![0; piece.length as usize];
            if let Err(error) = self.read_at(&mut buffer, piece.offset) {
                let what = error.to_string();
                found.add(Finding { offset: piece.offset, what, repaired: false });
            }
            Ok(())
        })
    }

    fn each_piece(
        &self,
        offset: u64,
        length: u64,
        mut each: impl FnMut(&fumehood_core::Piece) -> Result<()>,
    ) -> Result<()> {
        let (mut at, end) = (offset, offset + length);
        while at < end {
            for piece in self.extents(at, end - at)? {
                at = piece.offset + piece.length;
                each(&piece)?;
            }
        }
        Ok(())
    }
}
