//! An export for tests: a pattern of file, zero and computed runs.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::export::{ErrorKind, Export, ExportError, Run, Status, ZeroMode};

/// What the runs are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    File,
    Zero,
    Bytes,
}

/// What an export was asked to change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    Flush,
}

/// Holds flushes up as long as somebody else has it.
pub(super) type Gate = Arc<Mutex<()>>;

/// A pattern that repeats: each unit of the export is made in another way.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) size: u64,
    pub(super) unit: u64,
    pub(super) pattern: Vec<Make>,
    /// Reading any byte of this fails.
    pub(super) broken: Range<u64>,
    pub(super) writable: bool,
    pub(super) changes: Arc<Mutex<Vec<Change>>>,
    pub(super) gate: Gate,
    /// How long each write takes.
    pub(super) delay: Duration,
    pub(super) file: Arc<File>,
}

pub(super) const SIZE: u64 = 8 << 20;

impl Sample {
    /// Files, zeroes and computed bytes in turn.
    pub(super) fn new() -> Self {
        Self::of(&[Make::File, Make::Zero, Make::Bytes])
    }

    pub(super) fn of(pattern: &[Make]) -> Self {
        static FILE: LazyLock<Arc<File>> = LazyLock::new(|| Arc::new(pattern_file()));
        Self {
            name: "sample",
            size: SIZE,
            unit: 48 << 10,
            pattern: pattern.to_vec(),
            broken: 0..0,
            writable: false,
            changes: Arc::default(),
            gate: Arc::default(),
            delay: Duration::ZERO,
            file: Arc::clone(&FILE),
        }
    }

    /// What a read must yield.
    pub(super) fn expected(&self, offset: u64, length: u32) -> Vec<u8> {
        let mut bytes = vec![0xee; length as usize];
        self.fill(offset, &mut bytes);
        bytes
    }

    fn fill(&self, offset: u64, bytes: &mut [u8]) {
        for (start, length, make) in self.units(offset, bytes.len() as u64) {
            let unit = &mut bytes[(start - offset) as usize..][..length as usize];
            if make == Make::Zero {
                unit.fill(0);
            } else {
                unit.copy_from_slice(&PATTERN[start as usize..][..unit.len()]);
            }
        }
    }

    fn make(&self, offset: u64) -> Make {
        self.pattern[(offset / self.unit) as usize % self.pattern.len()]
    }

    /// How the range is made, unit by unit.
    fn units(&self, offset: u64, length: u64) -> impl Iterator<Item = (u64, u64, Make)> {
        let end = offset + length;
        let mut at = offset;
        std::iter::from_fn(move || {
            let unit = (at < end).then(|| (at, (self.unit - at % self.unit).min(end - at)));
            let (start, length) = unit?;
            at += length;
            Some((start, length, self.make(start)))
        })
    }
}

/// Bytes that tell every place of the export from every other.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let word = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    (0..SIZE / 8).flat_map(word).collect()
});

/// A file of its own that holds the pattern.
pub(super) fn pattern_file() -> File {
    let mut file = File::from(memfd_create("sample", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(&PATTERN).unwrap();
    file
}

impl Export for Sample {
    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        "a pattern"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        !self.writable
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ExportError> {
        let end = offset + buffer.len() as u64;
        if offset < self.broken.end && self.broken.start < end {
            let error = ExportError::new(ErrorKind::InputOutput, "the sample is broken here");
            return Err(error.at(self.broken.start.max(offset)));
        }
        self.fill(offset, buffer);
        Ok(())
    }

    fn read_ready(&self, offset: u64, buffer: &mut [u8]) -> Result<bool, ExportError> {
        let computed = |(_, _, make): (u64, u64, Make)| make == Make::Bytes;
        if self.units(offset, buffer.len() as u64).any(computed) {
            return Ok(false);
        }
        self.read_at(offset, buffer).map(|()| true)
    }

    fn runs(&self, offset: u64, length: u64, runs: &mut Vec<Run>) -> Result<(), ExportError> {
        runs.extend(self.units(offset, length).map(|(offset, length, make)| match make {
            Make::File => Run::File { file: Arc::clone(&self.file), offset, length },
            Make::Zero => Run::Zero { length },
            Make::Bytes => Run::Bytes { length },
        }));
        Ok(())
    }

    fn status(&self, offset: u64, length: u64, most: usize) -> Result<Vec<Status>, ExportError> {
        let status = |(_, length, make): (u64, u64, Make)| {
            let zero = make == Make::Zero;
            Status { length, hole: zero, zero }
        };
        Ok(self.units(offset, length).map(status).take(most).collect())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), ExportError> {
        std::thread::sleep(self.delay);
        self.changes.lock().unwrap().push(Change::Write(offset, data.to_vec()));
        Ok(())
    }

    fn flush(&self) -> Result<(), ExportError> {
        let _open = self.gate.lock().unwrap();
        self.changes.lock().unwrap().push(Change::Flush);
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, length: u64, mode: ZeroMode) -> Result<(), ExportError> {
        if mode.fast_only {
            return Err(ExportError::new(ErrorKind::NotSupported, "it is slow"));
        }
        self.write_at(offset, &vec![0; length as usize])
    }

    fn trim(&self, _: u64, _: u64) -> Result<(), ExportError> {
        Ok(())
    }
}
