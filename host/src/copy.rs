//! Copying one disk into another: sparse stays sparse, on all processors.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use fumehood_core::PieceKind;

use crate::disk::Disk;
use crate::encode::Encoder;
use crate::error::Result;

/// Bytes that one thread copies in one step.
const STEP: u64 = 2 << 20;
/// Bytes that are read and then written: few enough to lie in a processor's own cache
/// in between.
const PART: usize = 256 << 10;
/// Zeroes are left out in units of this many bytes.
const SPARSE_UNIT: usize = 4096;

/// How a disk is copied.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyOptions {
    /// Store what is copied encoded, where the target's format has an encoding.
    pub compress: bool,
}

/// Copies what `from` holds into `to`, which is at least as large: what is absent
/// there (in no layer) is left as it is, all else is the same afterwards. Calls
/// `progress` with the bytes of the disk that are done. Stops early, without an
/// error, once `interrupted` is set.
///
/// # Errors
/// What reading or writing answers, and [`crate::Error::Unsupported`] for `compress` into a
/// format without an encoding.
pub fn copy(
    from: &Disk,
    to: &Disk,
    options: CopyOptions,
    progress: &(dyn Fn(u64) + Sync),
    interrupted: &AtomicBool,
) -> Result<()> {
    let encoder = options.compress.then(|| Encoder::new(to)).transpose()?;
    let unit = encoder.as_ref().map_or(0, Encoder::unit);
    let step = STEP.max(unit);
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    let work = || -> Result<()> {
        let mut buffer = vec![0; PART.max(unit as usize)];
        loop {
            let offset = next.fetch_add(step, Ordering::Relaxed);
            if offset >= from.size() || interrupted.load(Ordering::Relaxed) {
                return Ok(());
            }
            let range = offset..from.size().min(offset + step);
            let length = range.end - offset;
            match &encoder {
                None => copy_step(from, to, range, &mut buffer)?,
                Some(encoder) => encode_step(encoder, from, to, range, &mut buffer)?,
            }
            progress(length);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                if let Err(error) = work() {
                    next.store(u64::MAX / 2, Ordering::Relaxed);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Copies one step, but for what is known to be zero or turns out to be.
fn copy_step(from: &Disk, to: &Disk, range: Range<u64>, buffer: &mut [u8]) -> Result<()> {
    let mut at = range.start;
    while at < range.end {
        let pieces = from.extents(at, range.end - at)?;
        let mut data: Option<Range<u64>> = None;
        for piece in &pieces {
            let next = piece.offset + piece.length;
            match (piece.kind.is_zero(), &mut data) {
                (false, Some(data)) => data.end = next,
                (false, None) => data = Some(piece.offset..next),
                (true, data) => {
                    if let Some(data) = data.take() {
                        copy_data(from, to, data, buffer)?;
                    }
                    if matches!(piece.kind, PieceKind::Zero) {
                        to.zero(piece.offset, piece.length, true)?;
                    }
                }
            }
            at = next;
        }
        if let Some(data) = data {
            copy_data(from, to, data, buffer)?;
        }
    }
    Ok(())
}

/// Copies a range, as much at a time as `buffer` holds.
fn copy_data(from: &Disk, to: &Disk, range: Range<u64>, buffer: &mut [u8]) -> Result<()> {
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(buffer.len() as u64);
        copy_bytes(from, to, at, &mut buffer[..length as usize])?;
        at += length;
    }
    Ok(())
}

/// Copies bytes; runs of zeroes among them are zeroed, not written.
fn copy_bytes(from: &Disk, to: &Disk, offset: u64, buffer: &mut [u8]) -> Result<()> {
    from.read_at(buffer, offset)?;
    let mut start = 0;
    while start < buffer.len() {
        let zero = is_zero(&buffer[start..buffer.len().min(start + SPARSE_UNIT)]);
        let units = buffer[start..].chunks(SPARSE_UNIT);
        let run: usize =
            units.take_while(|unit| is_zero(unit) == zero).map(<[u8]>::len).sum::<usize>();
        let at = offset + start as u64;
        if zero {
            to.zero(at, run as u64, true)?;
        } else {
            to.write_at(&buffer[start..start + run], at)?;
        }
        start += run;
    }
    Ok(())
}

/// Copies one step, a whole number of units, encoded where that is shorter.
fn encode_step(
    encoder: &Encoder,
    from: &Disk,
    to: &Disk,
    range: Range<u64>,
    buffer: &mut [u8],
) -> Result<()> {
    let mut at = range.start;
    while at < range.end {
        let unit = encoder.unit().min(range.end - at);
        let bytes = &mut buffer[..unit as usize];
        if reads_as_zero(from, at, unit)? {
            copy_step(from, to, at..at + unit, bytes)?;
        } else {
            from.read_at(bytes, at)?;
            if is_zero(bytes) {
                to.zero(at, unit, true)?;
            } else if !encoder.write(to, at, bytes)? {
                to.write_at(bytes, at)?;
            }
        }
        at += unit;
    }
    Ok(())
}

/// Writes into `to`, an overlay on `old`, what `old` holds otherwise than `new`, so
/// that it holds the same when it is put on `new`.
///
/// # Errors
/// What reading or writing answers.
pub(crate) fn copy_differences(
    to: &Disk,
    old: &Disk,
    new: &Disk,
    progress: &(dyn Fn(u64) + Sync),
    interrupted: &AtomicBool,
) -> Result<()> {
    let top = to.only(&to.core().layers()[0])?;
    let (mut was, mut is) = (vec![0; STEP as usize], vec![0; STEP as usize]);
    let mut at = 0;
    while at < to.size() && !interrupted.load(Ordering::Relaxed) {
        let pieces = top.extents(at, STEP.min(to.size() - at))?;
        for piece in &pieces {
            at = piece.offset + piece.length;
            progress(piece.length);
            // What the overlay holds itself does not change with its parent.
            if !matches!(piece.kind, PieceKind::Absent) {
                continue;
            }
            let (was, is) = (&mut was[..piece.length as usize], &mut is[..piece.length as usize]);
            read_or_zero(old, piece.offset, was)?;
            read_or_zero(new, piece.offset, is)?;
            write_differences(to, piece.offset, was, is)?;
        }
    }
    Ok(())
}

/// Writes the units of `was` that differ from `is`.
fn write_differences(to: &Disk, offset: u64, was: &[u8], is: &[u8]) -> Result<()> {
    let units = was.chunks(SPARSE_UNIT).zip(is.chunks(SPARSE_UNIT));
    for (index, (was, is)) in units.enumerate() {
        if was != is {
            // Zeroes are written too: the new parent holds something there.
            to.write_at(was, offset + (index * SPARSE_UNIT) as u64)?;
        }
    }
    Ok(())
}

/// Reads; past the disk's end there are zeroes.
fn read_or_zero(disk: &Disk, offset: u64, buffer: &mut [u8]) -> Result<()> {
    let inside = disk.size().saturating_sub(offset).min(buffer.len() as u64) as usize;
    let (inside, behind) = buffer.split_at_mut(inside);
    behind.fill(0);
    if inside.is_empty() { Ok(()) } else { disk.read_at(inside, offset) }
}

/// Compares two disks, which must be of one size, where either holds anything.
/// Answers the first byte that differs.
///
/// # Errors
/// What reading answers.
pub fn first_difference(
    one: &Disk,
    other: &Disk,
    progress: &(dyn Fn(u64) + Sync),
    interrupted: &AtomicBool,
) -> Result<Option<u64>> {
    let size = one.size().min(other.size());
    let (mut left, mut right) = (vec![0; STEP as usize], vec![0; STEP as usize]);
    let mut at = 0;
    while at < size && !interrupted.load(Ordering::Relaxed) {
        let length = STEP.min(size - at);
        let (left, right) = (&mut left[..length as usize], &mut right[..length as usize]);
        if !(reads_as_zero(one, at, length)? && reads_as_zero(other, at, length)?) {
            one.read_at(left, at)?;
            other.read_at(right, at)?;
            if let Some(place) = left.iter().zip(&*right).position(|(left, right)| left != right) {
                return Ok(Some(at + place as u64));
            }
        }
        progress(length);
        at += length;
    }
    Ok((one.size() != other.size()).then_some(size))
}

/// Whether a range is known to read as zeroes.
fn reads_as_zero(disk: &Disk, offset: u64, length: u64) -> Result<bool> {
    let pieces = disk.extents(offset, length)?;
    let covered = pieces.last().map_or(offset, |last| last.offset + last.length);
    Ok(covered == offset + length && pieces.iter().all(|piece| piece.kind.is_zero()))
}

fn is_zero(unit: &[u8]) -> bool {
    // Sixteen bytes at a time: the compiler makes vector code of it.
    let (chunks, rest) = unit.as_chunks::<16>();
    chunks.iter().all(|chunk| u128::from_ne_bytes(*chunk) == 0)
        && rest.iter().all(|byte| *byte == 0)
}
