//! A plugin's scratch: a private file that comes into being at the first write.

use std::any::Any;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use fumehood_core::{Access, Source, SourceError};

use super::FileSource;

/// The most bytes of one image's scratch.
const LIMIT: u64 = 16 << 30;

fn check_limit(end: Option<u64>) -> Result<(), SourceError> {
    match end {
        Some(end) if end <= LIMIT => Ok(()),
        _ => Err(SourceError::NoSpace(format!("scratch may take {LIMIT} bytes"))),
    }
}

/// Scratch at a path of the host's cache; losing it costs only time. One that another
/// reader of the same image has open is left to that one: then this is a file of its own,
/// without a name.
#[derive(Debug)]
pub(crate) struct ScratchSource {
    path: PathBuf,
    file: Mutex<Option<FileSource>>,
}

impl ScratchSource {
    /// Scratch in the file `path`, which need not exist yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        let file = match path.exists() {
            true => FileSource::open(&path, Access::ReadWrite).ok().or_else(|| nameless(&path)),
            false => None,
        };
        Self { path, file: Mutex::new(file) }
    }

    fn with<R>(
        &self,
        create: bool,
        action: impl FnOnce(&FileSource) -> Result<R, SourceError>,
    ) -> Option<Result<R, SourceError>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() && create {
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&self.path)
                .and_then(|opened| FileSource::from_file("scratch", opened, Access::ReadWrite));
            // Another reader may have been faster.
            match opened.or_else(|error| nameless(&self.path).ok_or(error)) {
                Ok(opened) => *file = Some(opened),
                Err(error) => {
                    let what = format!("scratch {}: {error}", self.path.display());
                    return Some(Err(SourceError::Io(what)));
                }
            }
        }
        file.as_ref().map(action)
    }
}

/// An empty file beside `path` that goes when it is closed.
fn nameless(path: &Path) -> Option<FileSource> {
    let file = tempfile::tempfile_in(path.parent()?).ok()?;
    FileSource::from_file("scratch", file, Access::ReadWrite).ok()
}

impl Source for ScratchSource {
    fn name(&self) -> &str {
        "scratch"
    }

    fn size(&self) -> u64 {
        self.with(false, |file| Ok(file.size())).and_then(Result::ok).unwrap_or(0)
    }

    fn access(&self) -> Access {
        Access::ReadWrite
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        self.with(false, |file| file.read_at(offset, buffer))
            .unwrap_or_else(|| Err(SourceError::Io("scratch is empty".into())))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SourceError> {
        check_limit(offset.checked_add(bytes.len() as u64))?;
        self.with(true, |file| file.write_at(offset, bytes)).unwrap_or(Ok(()))
    }

    fn resize(&self, size: u64) -> Result<(), SourceError> {
        check_limit(Some(size))?;
        self.with(size > 0, |file| file.resize(size)).unwrap_or(Ok(()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
