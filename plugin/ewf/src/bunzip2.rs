//! Bounded bzip2, for what the plugin itself must decode: the texts of a set whose header
//! names that method. Chunks are the host's to decode.

use alloc::rc::Rc;
use alloc::vec::Vec;

use crc::{CRC_32_BZIP2, Crc};
use fumehood_plugin::bzip2::{Bits, Next};
use fumehood_plugin::memory::MemorySource;
use fumehood_plugin::{Error, Result};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_BZIP2);

/// What a block begins with.
const BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];

/// All of the stream that `bytes` begin with, at most `limit` of it.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>> {
    let is_bare = bytes.starts_with(&BLOCK);
    let mut bits = Bits::new(Rc::new(MemorySource::new(0, "bzip2 stream", bytes)));
    let Some(most) = bits.begin_stream()? else {
        let found = if is_bare { "a block without a stream around it" } else { "something else" };
        return Err(Error::corrupt(0, alloc::format!("expected BZh and a digit, found {found}")));
    };
    let mut all = Vec::new();
    loop {
        let position = bits.position();
        let (mut block, expected) = match bits.next_block(most)? {
            Next::Block(block, expected) => (block, expected),
            Next::End(_) => return Ok(all),
        };
        let start = all.len();
        block.decode(&mut all, limit.saturating_add(1));
        if all.len() > limit {
            return Err(Error::corrupt(position, "it is longer than expected"));
        }
        let found = CRC.checksum(all.get(start..).unwrap_or_default());
        if found != expected {
            let what = alloc::format!("expected CRC-32 {expected:08x}, found {found:08x}");
            return Err(Error::corrupt(position, what));
        }
    }
}
