//! What is learned before a disk is read, in steps: whether an index agrees with its own
//! checksum, what the digest of a chunk of zeroes is, so that those are not opened, and
//! whether the chunks were granted at all.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Progress, Result};
use sha2::{Digest, Sha256};

use crate::fixed::Index;
use crate::hex::{Hash, hex};
use crate::snapshot::{Entry, Findings, Snapshot};
use crate::store::nowhere;

/// Digests taken in one step: 4 MiB of them.
const STEP: u64 = 1 << 17;
/// Bytes of zeroes hashed at once.
const ZEROES: usize = 64 << 10;
/// Disks, and chunks of each, looked for to see whether any can be opened.
const TRIED: usize = 16;

/// Preparation under way.
#[derive(Default)]
pub struct Preparation {
    /// What is known of the disks so far.
    pub findings: Vec<Findings>,
    /// Chunks of the present disk whose digests were taken.
    at: u64,
    sum: Sha256,
    /// Digests of zeroes already computed: length, whether keyed, digest.
    known: Vec<(u32, bool, Hash)>,
    done: u64,
    /// What is to say of the chunks.
    pub warning: Option<String>,
    looked: bool,
}

impl Preparation {
    /// Whether nothing is left.
    pub fn is_done(&self, snapshot: &Snapshot) -> bool {
        self.looked && self.findings.len() >= snapshot.disks.len()
    }

    /// Takes one step.
    ///
    /// # Errors
    /// What a source answers.
    pub fn step(&mut self, snapshot: &Snapshot) -> Result<Progress> {
        match snapshot.disks.get(self.findings.len()) {
            Some(entry) => self.step_disk(snapshot, entry)?,
            None if !self.looked => {
                self.warning = look(snapshot)?;
                self.looked = true;
            }
            None => (),
        }
        let indexes = snapshot.disks.iter().filter_map(|entry| entry.index.as_ref().ok());
        let total = indexes.map(|index| index.chunks).sum::<u64>() + 1;
        let done = if self.is_done(snapshot) { total } else { self.done.min(total - 1) };
        Ok(Progress { done, total })
    }

    fn step_disk(&mut self, snapshot: &Snapshot, entry: &Entry) -> Result<()> {
        let Ok(index) = &entry.index else {
            self.findings.push(Findings::default());
            return Ok(());
        };
        let count = STEP.min(index.chunks - self.at);
        self.sum.update(index.raw_digests(self.at, count)?);
        self.at += count;
        self.done += count;
        if self.at >= index.chunks {
            let found: Hash = core::mem::take(&mut self.sum).finalize().into();
            let flaw = (found != index.checksum).then(|| {
                let what = format!(
                    "expected digests with a checksum of {}, found {}; the setting \
                     index_checksum=ignore reads them all the same",
                    hex(&index.checksum),
                    hex(&found)
                );
                Error::corrupt_in(index.source(), 4096, what)
            });
            let zeroes = self.zeroes(snapshot, entry, index);
            self.findings.push(Findings { zeroes, flaw });
            self.at = 0;
        }
        Ok(())
    }

    /// The digests of zeroes that can be in an index.
    fn zeroes(&mut self, snapshot: &Snapshot, entry: &Entry, index: &Index) -> Vec<(u32, Hash)> {
        let mut list = Vec::new();
        let last = index.length_of(index.chunks.saturating_sub(1));
        for length in [index.chunk, last] {
            if snapshot.may_be_encrypted(entry) {
                list.push((length, self.zero(snapshot, length, true)));
            }
            list.push((length, self.zero(snapshot, length, false)));
        }
        list
    }

    fn zero(&mut self, snapshot: &Snapshot, length: u32, keyed: bool) -> Hash {
        let known = self.known.iter().find(|(l, k, _)| (*l, *k) == (length, keyed));
        if let Some((_, _, hash)) = known {
            return *hash;
        }
        let mut sum = Sha256::new();
        let zeroes = vec![0; ZEROES];
        let mut rest = length as usize;
        while rest > 0 {
            let part = zeroes.get(..rest).unwrap_or(&zeroes);
            sum.update(part);
            rest -= part.len();
        }
        if let Some(active) = snapshot.key.as_ref().filter(|_| keyed) {
            sum.update(active.key.id_key);
        }
        let hash = sum.finalize().into();
        self.known.push((length, keyed, hash));
        hash
    }
}

/// Looks for a few chunks of each disk; what is to say if none is there.
fn look(snapshot: &Snapshot) -> Result<Option<String>> {
    let mut warning = None;
    for index in snapshot.disks.iter().filter_map(|entry| entry.index.as_ref().ok()).take(TRIED) {
        let samples = index.chunks.min(TRIED as u64);
        for sample in 0..samples {
            let digests = index.digests(sample * (index.chunks / samples), 1)?;
            if snapshot.store.find(&digests)? {
                return Ok(None);
            }
            warning = warning.or_else(|| digests.first().map(|digest| nowhere(&hex(digest))));
        }
    }
    Ok(warning)
}
