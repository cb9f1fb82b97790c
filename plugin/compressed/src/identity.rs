//! Which file the scratch was filled from: its size, its ends, and samples between.

use fumehood_plugin::{Result, Source};
use sha2::{Digest, Sha256};

/// Bytes read at either end.
const END: u64 = 64 << 10;
/// Samples between the ends, and their length.
const SAMPLES: u64 = 30;
const SAMPLE: u64 = 4096;

/// What tells this file from others.
///
/// # Errors
/// What the source answers.
pub fn identity(source: &dyn Source) -> Result<[u8; 32]> {
    let size = source.size();
    let mut hash = Sha256::new();
    hash.update(size.to_le_bytes());
    let end = END.min(size);
    hash.update(source.read(0, end as usize)?);
    hash.update(source.read(size - end, end as usize)?);
    if size > 2 * END {
        let step = (size - END) / (SAMPLES + 1);
        for number in 1..=SAMPLES {
            let at = step * number;
            hash.update(source.read(at, SAMPLE.min(size - at) as usize)?);
        }
    }
    Ok(hash.finalize().into())
}
