//! The disk: from offsets to chunks, and from the headers of chunks to extents.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{
    Cipher, Codec, Content, Digest, DigestKind, DigestValue, Disk, Encoded, Encryption, Error,
    Extent, Extents, Finding, Result, SourceHandle,
};

use crate::blob::Blob;
use crate::fixed::Index;
use crate::hex::{Hash, hex};
use crate::manifest::Mode;
use crate::snapshot::Findings;
use crate::store::{Found, Store};

/// Chunks that are opened for an answer.
const MOST_OPENED: u32 = 64;
/// Chunks of an answer, those of zeroes among them.
const MOST_CHUNKS: u64 = 1 << 16;
/// Digests read at once.
const WINDOW: u64 = 1 << 10;
/// What a frame may need beyond its contents.
const SLACK: u64 = 64 << 10;

/// An opened disk.
pub struct ChunkMap {
    /// Its digests.
    pub index: Rc<Index>,
    /// Where its chunks are.
    pub store: Rc<Store>,
    /// How it is protected, where that is known.
    pub mode: Option<Mode>,
    /// The host's number for its key.
    pub key: Option<u32>,
    /// What was learned of it.
    pub findings: Findings,
}

impl Disk for ChunkMap {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let (size, chunk) = (self.index.size, u64::from(self.index.chunk));
        if offset >= size {
            return Err(Error::OutOfRange);
        }
        let first = offset / chunk;
        let end = offset.saturating_add(length.max(1)).min(size).div_ceil(chunk);
        let end = end.min(first + MOST_CHUNKS);
        let mut answer = Extents::new();
        let (mut number, mut opened) = (first, 0);
        while number < end && opened < MOST_OPENED {
            let digests = self.index.digests(number, WINDOW.min(end - number))?;
            self.store.find(digests.get(..MOST_OPENED as usize).unwrap_or(&digests))?;
            for digest in &digests {
                let length = self.index.length_of(number);
                let content = if self.findings.zeroes.contains(&(length, *digest)) {
                    Content::Zero
                } else if opened < MOST_OPENED {
                    opened += 1;
                    self.content(digest, length)?
                } else {
                    break;
                };
                answer.push(number * chunk, length.into(), content);
                number += 1;
            }
        }
        Ok(answer.finish())
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        // Chunks are the host's to read; that each can be is no contradiction here.
        let flaw = self.findings.flaw.iter();
        Ok(flaw.map(|error| finding(format!("{error}"))).collect())
    }
}

fn finding(what: String) -> Finding {
    Finding { offset: 0, what, repaired: false }
}

impl ChunkMap {
    fn content(&self, digest: &Hash, length: u32) -> Result<Content> {
        let source = match self.store.open(digest) {
            Ok(Found::Chunk(source)) => source,
            Ok(Found::Missing(what)) => return Ok(Content::Damaged(what)),
            Err(Error::Io(what)) => return Ok(damaged(digest, &what)),
            Err(error) => return Err(error),
        };
        let blob = match Blob::read(&*source) {
            Ok(blob) => blob,
            Err(Error::Corrupt { what, .. } | Error::Io(what)) => {
                return Ok(damaged(digest, &what));
            }
            Err(error) => return Err(error),
        };
        match self.flaw(&blob, length) {
            Some(what) => Ok(damaged(digest, &what)),
            None => self.encoded(&source, blob, digest, length),
        }
    }

    /// What is wrong with a chunk, as far as its header tells.
    fn flaw(&self, blob: &Blob, length: u32) -> Option<String> {
        let encrypted = blob.sealed.is_some();
        match self.mode {
            Some(Mode::Encrypted) if !encrypted => {
                return Some("it is not encrypted, and the manifest says that it must be".into());
            }
            Some(Mode::Plain | Mode::Signed) if encrypted => {
                return Some("it is encrypted, and the manifest says that it is not".into());
            }
            _ => (),
        }
        let expected = u64::from(length);
        let fits = match blob.compressed {
            true => (1..=expected + SLACK).contains(&blob.length),
            false => blob.length == expected,
        };
        let found = blob.length;
        (!fits).then(|| format!("expected {expected} bytes, found {found} in its file"))
    }

    fn encoded(
        &self,
        source: &SourceHandle,
        blob: Blob,
        digest: &Hash,
        length: u32,
    ) -> Result<Content> {
        let codec = if blob.compressed { Codec::Zstd } else { Codec::Identity };
        // Just bounded by the length of the chunk.
        let stored = blob.length as u32;
        let mut encoded = Encoded::new(source.id(), blob.offset, stored, codec, length);
        match blob.sealed {
            None => {
                let value = DigestValue::Given(digest.to_vec());
                let kind = DigestKind::Sha256;
                encoded.digest = Some(Digest { kind, value, over_decoded: true });
            }
            Some(seal) => {
                // Its digest has a part of the key in it; the tag does as well.
                let Some(key) = self.key else {
                    let what = "its chunks are encrypted; the key file of the backup";
                    return Err(Error::NeedsKey(what.into()));
                };
                let (vector, tag) = (seal.vector.to_vec(), seal.tag.to_vec());
                let cipher = Cipher::AesGcm;
                encoded.encryption = Some(Encryption { cipher, key, vector, tag });
            }
        }
        Ok(Content::Encoded(encoded))
    }
}

fn damaged(digest: &Hash, what: &str) -> Content {
    Content::Damaged(format!("chunk {}: {what}", hex(digest)))
}
