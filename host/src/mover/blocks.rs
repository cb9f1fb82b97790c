//! Encoded blocks: read, checked, decoded, and kept for a while.

use std::cell::RefCell;
use std::sync::Arc;

use fumehood_core::{Block, Disk, digest_length};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::decrypt::decrypt;
use super::sandbox::{DecoderModule, Sandbox};
use super::{decode, inflate};
use crate::error::{Error, Result};

/// A bounded cache of decoded blocks. Two readers of one block decode it once.
pub(super) struct BlockCache {
    cache: Cache<Block, Arc<[u8]>, Bytes>,
    sandbox: Sandbox,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Block, Arc<[u8]>> for Bytes {
    fn weight(&self, _block: &Block, bytes: &Arc<[u8]>) -> u64 {
        bytes.len() as u64 + 128
    }
}

thread_local! {
    /// Stored bytes on their way into the decoder.
    static STORED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl BlockCache {
    /// A cache of about `budget` bytes.
    pub(super) fn new(budget: usize, decoder: Arc<DecoderModule>) -> Self {
        let cache = Cache::with_weighter(budget >> 15, budget as u64, Bytes);
        Self { cache, sandbox: Sandbox::new(decoder) }
    }

    /// Whether the block is kept decoded, as far as can be told without waiting.
    pub(super) fn holds(&self, block: &Block) -> bool {
        self.cache.peek(block).is_some()
    }

    /// Forgets a block whose place may be used for another.
    pub(super) fn forget(&self, block: &Block) {
        self.cache.remove(block);
    }

    /// Fills `buffer` from the decoded bytes of `block`, `skip` bytes into them.
    pub(super) fn read(
        &self,
        disk: &Disk,
        block: &Block,
        skip: usize,
        buffer: &mut [u8],
    ) -> Result<()> {
        if skip == 0 && buffer.len() == block.decoded_length as usize {
            // The whole block is wanted: no one will ask for the rest of it.
            return decode_into(&self.sandbox, disk, block, buffer);
        }
        let bytes = self.cache.get_or_insert_with(block, || {
            let mut bytes = vec![0; block.decoded_length as usize];
            decode_into(&self.sandbox, disk, block, &mut bytes)?;
            Ok::<_, Error>(Arc::from(bytes))
        })?;
        buffer.copy_from_slice(&bytes[skip..skip + buffer.len()]);
        Ok(())
    }
}

/// Reads a block's stored bytes, decodes them into `out`, and checks its digest.
fn decode_into(sandbox: &Sandbox, disk: &Disk, block: &Block, out: &mut [u8]) -> Result<()> {
    // Taken, not borrowed: reading a source may mean decoding another block right here,
    // where the source is a file in a compressed container.
    let mut stored = STORED.take();
    let decoded = decode_with(sandbox, disk, block, &mut stored, out);
    STORED.set(stored);
    decoded
}

/// The same, with room for the stored bytes.
fn decode_with(
    sandbox: &Sandbox,
    disk: &Disk,
    block: &Block,
    stored: &mut Vec<u8>,
    out: &mut [u8],
) -> Result<()> {
    let source = disk.source(block.source)?;
    let behind = match &block.digest {
        Some(digest) if digest.value.is_none() => digest_length(digest.kind),
        _ => 0,
    };
    let length = block.stored_length as usize;
    if stored.len() < length + behind {
        stored.resize(length + behind, 0);
    }
    let stored = &mut stored[..length + behind];
    source.read_at(block.offset, stored)?;
    let (stored, digest_behind) = stored.split_at_mut(length);
    let check = |over_decoded: bool, bytes: &[u8]| match &block.digest {
        Some(digest) if digest.over_decoded == over_decoded => {
            let expected = digest.value.as_deref().unwrap_or(digest_behind);
            decode::check_digest(digest.kind, bytes, expected)
        }
        _ => Ok(()),
    };
    check(false, stored)
        .and_then(|()| decode_stored(sandbox, disk, block, stored, out))
        .and_then(|()| check(true, out))
        .map_err(|what| Error::Decode {
            source_name: source.name().into(),
            offset: block.offset,
            what,
        })
}

/// Decrypts the stored bytes where they are encrypted, and decodes them.
fn decode_stored(
    sandbox: &Sandbox,
    disk: &Disk,
    block: &Block,
    stored: &mut [u8],
    out: &mut [u8],
) -> Result<(), String> {
    let Some(needs) = &block.needs else {
        return decode::decode(sandbox, block.codec, stored, out);
    };
    if let Some(encryption) = &needs.encryption {
        let key = disk.secret(block.source.layer, encryption.key);
        decrypt(encryption, &key.ok_or("its key is not there")?, stored)?;
    }
    let Some(window) = &needs.window else {
        return decode::decode(sandbox, block.codec, stored, out);
    };
    let mut before = vec![0; window.length as usize];
    let read = disk.read_source(window.source, window.offset, &mut before);
    read.map_err(|error| format!("what comes before it cannot be read: {error}"))?;
    inflate::resume(window.bits, &before, stored, out)
}
