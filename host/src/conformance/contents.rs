//! Contents: the same bytes in whatever order they are read, and the right ones.

use sha2::{Digest, Sha256};

use super::bench::{Bench, passed, skipped, told};
use super::{Outcome, Verdict};
use crate::digest::hex;
use crate::disk::Disk;

/// Bytes that a disk is read in.
const STEP: usize = 1 << 20;
/// To compare it with itself, a disk is read whole up to this size; of a larger one,
/// [`PARTS`] are.
const WHOLE: u64 = 8 << 20;
const PARTS: u64 = 64;

/// Parts read at random are those of a read from the beginning; so are bytes that the
/// plugin gives itself, if it answers `read` for what it maps.
pub(super) fn reads_alike(bench: &Bench<'_>) -> Verdict {
    let opened = bench.open().map_err(told)?;
    let mut random = bench.random(2);
    let (mut compared, mut given) = (0, 0);
    for number in 0..opened.image.disks().len() as u32 {
        let disk = bench.disk(&opened.image, number).map_err(told)?;
        for _ in 0..bench.options.windows.min(100) {
            let offset = random.below(disk.size());
            let length = (1 + random.below(200_000)).min(disk.size() - offset) as usize;
            let mut whole = vec![0; length];
            if let Err(error) = disk.read_at(&mut whole, offset) {
                // What its extents say is damaged is; nothing else may fail.
                if !is_damaged(&disk, offset, length as u64)? {
                    return Err(format!("{length} bytes at {offset} cannot be read: {error}"));
                }
                continue;
            }
            let cut = random.below(length as u64) as usize;
            let fresh = bench.disk(&opened.image, number).map_err(told)?;
            let (mut head, mut tail) = (vec![0; cut], vec![0; length - cut]);
            fresh.read_at(&mut tail, offset + cut as u64).map_err(told)?;
            fresh.read_at(&mut head, offset).map_err(told)?;
            if whole[..cut] != head || whole[cut..] != tail {
                return Err(format!("{length} bytes at {offset} are others when read in parts"));
            }
            compared += length;
            given += usize::from(given_alike(&fresh, offset, &whole)?);
        }
    }
    let own = if given == 0 { String::new() } else { format!(", {given} by `read` too") };
    passed(format!("{compared} bytes{own}"))
}

/// Whether a part of the range is damaged, by its extents.
fn is_damaged(disk: &Disk, offset: u64, length: u64) -> Result<bool, String> {
    let (mut at, end) = (offset, offset + length);
    while at < end {
        for piece in &disk.extents(at, end - at).map_err(told)? {
            if matches!(piece.kind, fumehood_core::PieceKind::Damaged(_)) {
                return Ok(true);
            }
            at = piece.offset + piece.length;
        }
    }
    Ok(false)
}

/// Compares with what the plugin's own `read` gives; `false` where it gives nothing.
fn given_alike(disk: &Disk, offset: u64, bytes: &[u8]) -> Result<bool, String> {
    let kind = fumehood_core::PieceKind::Computed;
    let piece = fumehood_core::Piece { offset, length: bytes.len() as u64, layer: 0, kind };
    let mut given = vec![0; bytes.len()];
    match disk.core().compute(&piece, &mut given) {
        Ok(()) if given == bytes => Ok(true),
        Ok(()) => Err(format!("its `read` at {offset} gives other bytes than its extents")),
        Err(fumehood_core::Error::Format(_) | fumehood_core::Error::OutOfRange { .. }) => Ok(false),
        Err(error) => Err(told(error)),
    }
}

/// The SHA-256 of the first disk, through its parents and containers, is the one given.
pub(super) fn has_hash(bench: &Bench<'_>) -> Verdict {
    let Some(expected) = bench.image.sha256 else {
        return skipped("no hash is given for it");
    };
    let format = Some(bench.plugin.name().to_owned());
    let options = crate::OpenOptions { format, ..bench.options.open.clone() };
    let image = bench.engine.open(&bench.image.path, options).map_err(told)?;
    let disk = image.disk(0).map_err(told)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    while at < disk.size() {
        let length = (disk.size() - at).min(STEP as u64) as usize;
        disk.read_at(&mut buffer[..length], at).map_err(told)?;
        digest.update(&buffer[..length]);
        at += length as u64;
    }
    let found = digest.finalize();
    if found[..] != expected {
        return Err(format!("its SHA-256 is {}, not {}", hex(&found), hex(&expected)));
    }
    Ok(Outcome::Passed(format!("{at} bytes, SHA-256 {}", hex(&expected))))
}

/// What every disk of an image reads as, for comparing it with itself.
#[derive(PartialEq, Eq)]
pub(super) struct Sample {
    /// A digest of each part of each disk; none where it cannot be read.
    parts: Vec<Option<String>>,
}

impl Sample {
    /// Whether all parts that can be read now are as they were.
    pub(super) fn agrees_with(&self, before: &Self) -> bool {
        let same =
            |(now, before): (&Option<String>, &Option<String>)| now.is_none() || now == before;
        self.parts.len() == before.parts.len() && self.parts.iter().zip(&before.parts).all(same)
    }
}

/// Reads what can be read.
pub(super) fn sample(
    bench: &Bench<'_>,
    image: &std::sync::Arc<fumehood_core::Image>,
) -> Result<Sample, crate::Error> {
    let mut sample = Sample { parts: Vec::new() };
    for number in 0..image.disks().len() as u32 {
        let disk = bench.disk(image, number)?;
        let is_large = disk.size() > WHOLE;
        let mut buffer = vec![0; if is_large { STEP / 16 } else { STEP }];
        let step = if is_large { disk.size() / PARTS } else { STEP as u64 };
        let mut at = 0;
        while at < disk.size() {
            let length = (disk.size() - at).min(buffer.len() as u64) as usize;
            match disk.read_at(&mut buffer[..length], at) {
                Ok(()) => {
                    sample.parts.push(Some(hex(&Sha256::digest(&buffer[..length]))));
                }
                Err(error) => {
                    if super::bench::is_clean(&error).is_err() {
                        return Err(error);
                    }
                    sample.parts.push(None);
                }
            }
            at += step;
        }
    }
    Ok(sample)
}
