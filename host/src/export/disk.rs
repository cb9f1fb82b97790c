//! A [`Disk`] as an [`Export`]: where its bytes lie, told to servers.

use std::sync::{Arc, PoisonError, RwLock};

use fumehood_core::{self as core, FormatErrorKind, Piece, PieceKind, Pieces};

use super::error::ErrorKind;
use super::{BlockSizes, Export, ExportError, Run, Status, ZeroMode};
use crate::disk::Disk;
use crate::error::Error;
use crate::source::{FileSource, SplitSource};

/// A disk under the name by which clients choose it.
pub struct DiskExport {
    disk: RwLock<Disk>,
    name: String,
    description: String,
}

impl DiskExport {
    /// Offers `disk` as `name`: for writing too, if it was opened for that.
    pub fn new(disk: Disk, name: impl Into<String>, description: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            disk: RwLock::new(disk),
            name: name.into(),
            description: description.into(),
        })
    }

    /// The disk that is offered now.
    pub fn disk(&self) -> Disk {
        self.disk.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Offers another disk from here on, of the same contents: the old one with an
    /// overlay on top, say. Requests that are under way end on the old one.
    pub fn replace(&self, disk: Disk) {
        *self.disk.write().unwrap_or_else(PoisonError::into_inner) = disk;
    }

    /// Carries out a change; again if the disk was frozen before it was begun, since
    /// another one has taken its place then.
    fn change(&self, change: impl Fn(&Disk) -> Result<(), Error>) -> Result<(), ExportError> {
        loop {
            let disk = self.disk();
            match change(&disk) {
                Err(Error::Core(core::Error::Frozen)) if !disk.is_same(&self.disk()) => {}
                result => return result.map_err(|error| told(&error)),
            }
        }
    }
}

impl Export for DiskExport {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn size(&self) -> u64 {
        self.disk().size()
    }

    fn block_sizes(&self) -> BlockSizes {
        let disk = self.disk();
        let info = disk.info();
        let preferred = info.granularity.clamp(4096, 65536).max(info.physical_sector);
        BlockSizes { preferred, ..BlockSizes::default() }
    }

    fn read_only(&self) -> bool {
        !self.disk().is_writable()
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), ExportError> {
        self.change(|disk| disk.write_at(data, offset))
    }

    fn write_zeroes(&self, offset: u64, length: u64, mode: ZeroMode) -> Result<(), ExportError> {
        self.change(|disk| disk.zero(offset, length, !mode.allocated))
    }

    fn trim(&self, offset: u64, length: u64) -> Result<(), ExportError> {
        self.change(|disk| disk.trim(offset, length))
    }

    fn flush(&self) -> Result<(), ExportError> {
        self.change(Disk::flush)
    }

    #[inline]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ExportError> {
        self.disk().read_at(buffer, offset).map_err(|error| told(&error))
    }

    #[inline]
    fn read_ready(&self, offset: u64, buffer: &mut [u8]) -> Result<bool, ExportError> {
        self.disk().read_ready(buffer, offset).map_err(|error| told(&error))
    }

    fn runs(&self, offset: u64, length: u64, runs: &mut Vec<Run>) -> Result<(), ExportError> {
        let disk = self.disk();
        let mut pieces = Pieces::new();
        disk.core().plan_read(offset, length, &mut pieces).map_err(|error| told(&error.into()))?;
        for piece in &pieces {
            append_runs(&disk, piece, runs)?;
        }
        Ok(())
    }

    fn status(&self, offset: u64, length: u64, most: usize) -> Result<Vec<Status>, ExportError> {
        let disk = self.disk();
        let (mut at, end) = (offset, offset + length);
        let mut statuses: Vec<Status> = Vec::new();
        while at < end {
            let pieces = disk.extents(at, end - at).map_err(|error| told(&error))?;
            for piece in &pieces {
                let zero = piece.kind.is_zero();
                match statuses.last_mut() {
                    Some(last) if last.zero == zero => last.length += piece.length,
                    _ => statuses.push(Status { length: piece.length, hole: zero, zero }),
                }
                if statuses.len() > most {
                    statuses.pop();
                    return Ok(statuses);
                }
                at = piece.offset + piece.length;
            }
        }
        Ok(statuses)
    }
}

fn append_runs(disk: &Disk, piece: &Piece, runs: &mut Vec<Run>) -> Result<(), ExportError> {
    let length = piece.length;
    match &piece.kind {
        PieceKind::Absent | PieceKind::Zero => runs.push(Run::Zero { length }),
        PieceKind::Stored { source, offset, .. } => {
            let source = disk.core().source(*source).map_err(|error| told(&error.into()))?;
            if let Some(source) = source.as_any().downcast_ref::<FileSource>() {
                runs.push(Run::File { file: source.file().clone(), offset: *offset, length });
            } else if let Some(set) = source.as_any().downcast_ref::<SplitSource>() {
                append_parts(set, *offset, length, runs);
            } else {
                runs.push(Run::Bytes { length });
            }
        }
        _ => runs.push(Run::Bytes { length }),
    }
    Ok(())
}

fn append_parts(set: &SplitSource, offset: u64, length: u64, runs: &mut Vec<Run>) {
    let (mut at, end) = (offset, offset + length);
    while at < end {
        // A range past the parts' end was refused when the extent was checked.
        let Some((file, within, rest)) = set.locate(at) else {
            runs.push(Run::Bytes { length: end - at });
            return;
        };
        let length = rest.min(end - at);
        runs.push(Run::File { file: file.clone(), offset: within, length });
        at += length;
    }
}

/// An error as clients are told it: the kind for the guest, the words for the log.
fn told(error: &Error) -> ExportError {
    let (kind, offset) = match error {
        Error::Core(core::Error::ReadOnly) => (ErrorKind::NotPermitted, None),
        Error::Core(core::Error::OutOfRange { offset, .. }) => (ErrorKind::Invalid, Some(*offset)),
        Error::Core(core::Error::Damaged { offset, .. }) => (ErrorKind::InputOutput, Some(*offset)),
        Error::Core(core::Error::Source(core::SourceError::NoSpace(_))) => {
            (ErrorKind::NoSpace, None)
        }
        Error::Core(core::Error::Format(error)) if error.kind == FormatErrorKind::NoSpace => {
            (ErrorKind::NoSpace, None)
        }
        _ => (ErrorKind::InputOutput, None),
    };
    ExportError { kind, message: error.to_string(), offset }
}
