//! What the surveys of all containers share: a step, and how far it went.

use alloc::boxed::Box;

use fumehood_plugin::{Error, Result, SourceHandle};

use crate::bzip2::Bzip2Survey;
use crate::gzip::GzipSurvey;
use crate::index_writer::IndexWriter;
use crate::kind::Kind;
use crate::lz4::Lz4Survey;
use crate::lzop::LzopSurvey;
use crate::xz::XzSurvey;
use crate::zstd::ZstdSurvey;

/// Bytes that a step decodes, at most about: a tenth of a second for a fast decoder.
pub const STEP_DECODED: u64 = 16 << 20;
/// Small reads of a step.
pub const STEP_READS: usize = 2048;

/// A walk over a container.
pub trait Survey {
    /// Goes on for a while; true at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Unsupported`] by the field that says so,
    /// [`Error::NoSpace`] where what must be unpacked does not fit.
    fn step(&mut self, index: &mut IndexWriter) -> Result<bool>;

    /// The offset it has come to in the main source.
    fn position(&self) -> u64;
}

/// The survey of a container.
pub fn begin(kind: Kind, main: &SourceHandle) -> Box<dyn Survey> {
    match kind {
        Kind::Gzip => Box::new(GzipSurvey::new(main)),
        Kind::Xz => Box::new(XzSurvey::new(main)),
        Kind::Zstd => Box::new(ZstdSurvey::new(main)),
        Kind::Bzip2 => Box::new(Bzip2Survey::new(main)),
        Kind::Lz4 => Box::new(Lz4Survey::new(main)),
        Kind::Lzop => Box::new(LzopSurvey::new(main)),
    }
}

/// Tells that the file ends within something.
pub fn cut(position: u64, what: &str) -> Error {
    Error::corrupt(position, alloc::format!("expected {what}, found the end of the file"))
}
