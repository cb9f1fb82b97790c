//! The NBD server: an input is all that a client sends. Its first byte says whether the
//! export may be written to.
#![no_main]

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};

#[allow(dead_code, unused_imports, missing_docs)]
mod export {
    include!(concat!(env!("OUT_DIR"), "/export.rs"));
}

use export::nbd::serve_stream;
use export::{Export, ExportError, Run, Status};

const SIZE: u64 = 1 << 20;
/// Parts of this length lie in a file, are zero, and have to be decoded, in turn.
const UNIT: u64 = 40 << 10;

/// The export, in one of its two kinds.
struct Sample {
    writable: bool,
}

static FILE: LazyLock<Arc<File>> = LazyLock::new(|| {
    let mut file = File::from(memfd_create("sample", MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(&[7; SIZE as usize]).expect("memory");
    Arc::new(file)
});

impl Sample {
    /// The rest of the unit that `offset` lies in, and which kind of three it is.
    fn unit(offset: u64, end: u64) -> (u64, u64) {
        ((UNIT - offset % UNIT).min(end - offset), offset / UNIT % 3)
    }
}

impl Export for Sample {
    fn name(&self) -> &str {
        "sample"
    }

    fn description(&self) -> &str {
        "a pattern"
    }

    fn size(&self) -> u64 {
        SIZE
    }

    fn read_only(&self) -> bool {
        !self.writable
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ExportError> {
        assert!(!buffer.is_empty() && offset + buffer.len() as u64 <= SIZE);
        buffer.fill(7);
        Ok(())
    }

    fn read_ready(&self, offset: u64, buffer: &mut [u8]) -> Result<bool, ExportError> {
        self.read_at(offset, buffer)?;
        Ok(offset % 3 != 0)
    }

    fn runs(&self, offset: u64, length: u64, runs: &mut Vec<Run>) -> Result<(), ExportError> {
        assert!(runs.is_empty() && length > 0 && offset + length <= SIZE);
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let (length, kind) = Self::unit(at, end);
            runs.push(match kind {
                0 => Run::File { file: Arc::clone(&FILE), offset: at, length },
                1 => Run::Zero { length },
                _ => Run::Bytes { length },
            });
            at += length;
        }
        Ok(())
    }

    fn status(&self, offset: u64, length: u64, most: usize) -> Result<Vec<Status>, ExportError> {
        assert!(most > 0 && length > 0 && offset + length <= SIZE);
        let (length, kind) = Self::unit(offset, SIZE);
        Ok(vec![Status { length, hole: kind == 1, zero: kind == 1 }])
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), ExportError> {
        assert!(self.writable && !data.is_empty() && offset + data.len() as u64 <= SIZE);
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, sent)) = bytes.split_first() else { return };
    let exports: [Arc<dyn Export>; 1] = [Arc::new(Sample { writable: first & 1 == 1 })];
    let _ = serve_stream(&exports, sent, io::sink());
});
