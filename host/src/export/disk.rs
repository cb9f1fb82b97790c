//! A [`Disk`] as an [`Export`]: where its bytes lie, told to servers.

use std::sync::Arc;

use fumehood_core::{self as core, Piece, PieceKind, Pieces};

use super::error::ErrorKind;
use super::{Export, ExportError, Run, Status};
use crate::disk::Disk;
use crate::error::Error;
use crate::source::{FileSource, SplitSource};

/// A disk under the name by which clients choose it.
pub struct DiskExport {
    disk: Disk,
    name: String,
    description: String,
}

impl DiskExport {
    /// Offers `disk`, read-only, as `name`.
    pub fn new(disk: Disk, name: impl Into<String>, description: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { disk, name: name.into(), description: description.into() })
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
        self.disk.size()
    }

    #[inline]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ExportError> {
        self.disk.read_at(buffer, offset).map_err(|error| told(&error))
    }

    #[inline]
    fn read_ready(&self, offset: u64, buffer: &mut [u8]) -> Result<bool, ExportError> {
        self.disk.read_ready(buffer, offset).map_err(|error| told(&error))
    }

    fn runs(&self, offset: u64, length: u64, runs: &mut Vec<Run>) -> Result<(), ExportError> {
        let mut pieces = Pieces::new();
        self.disk
            .core()
            .plan_read(offset, length, &mut pieces)
            .map_err(|error| told(&error.into()))?;
        for piece in &pieces {
            self.append_runs(piece, runs)?;
        }
        Ok(())
    }

    fn status(&self, offset: u64, length: u64, most: usize) -> Result<Vec<Status>, ExportError> {
        let (mut at, end) = (offset, offset + length);
        let mut statuses: Vec<Status> = Vec::new();
        while at < end {
            let pieces = self.disk.extents(at, end - at).map_err(|error| told(&error))?;
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

impl DiskExport {
    fn append_runs(&self, piece: &Piece, runs: &mut Vec<Run>) -> Result<(), ExportError> {
        let length = piece.length;
        match &piece.kind {
            PieceKind::Absent | PieceKind::Zero => runs.push(Run::Zero { length }),
            PieceKind::Stored { source, offset, .. } => {
                let source =
                    self.disk.core().source(*source).map_err(|error| told(&error.into()))?;
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
        _ => (ErrorKind::InputOutput, None),
    };
    ExportError { kind, message: error.to_string(), offset }
}
