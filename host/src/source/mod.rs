//! Sources: files, block devices, sets of split parts, files inside containers, and
//! scratch.

mod file;
mod lock;
mod nested;
mod scratch;
mod split;

pub use file::FileSource;
pub(crate) use nested::NestedSource;
pub(crate) use scratch::ScratchSource;
pub use split::SplitSource;

use std::path::Path;
use std::sync::Arc;

use fumehood_core::{Access, Source};

use crate::error::Result;

/// Opens what the operator named: a file, a block device, or the first part of a
/// split set (`NAME.001`, `NAME.002`, …).
///
/// # Errors
/// [`crate::Error::Io`] naming the path.
pub fn open_path(path: &Path, access: Access) -> Result<Arc<dyn Source>> {
    let first = FileSource::open(path, access)?;
    match split::numbered(path) {
        Some(numbering) => SplitSource::gather(first, path, &numbering, access),
        None => Ok(Arc::new(first)),
    }
}
