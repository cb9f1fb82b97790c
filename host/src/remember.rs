//! A format is chosen once and remembered.
//!
//! A guest that can write to a raw disk can make it look like any other format. So
//! once a disk was opened for writing, its format is recorded beside it (in the
//! extended attribute `user.fumehood.format`), and from then on the record decides,
//! not what the bytes look like (CVE-2008-2004 and its kin).

use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

use crate::error::{Error, Result};

const ATTRIBUTE: &str = "user.fumehood.format";
/// A plugin's name has at most 32 letters.
const NAME_LIMIT: usize = 32;

/// The format that was recorded for the file at `path`.
pub(crate) fn recorded(path: &Path) -> Option<String> {
    let mut buffer = [0u8; NAME_LIMIT];
    let length = getxattr(path, ATTRIBUTE, &mut buffer[..]).ok()?;
    String::from_utf8(buffer.get(..length)?.to_vec()).ok()
}

/// Records that the file at `path`, about to be written, is of format `name`.
///
/// # Errors
/// [`Error::Io`] where the record cannot be kept: the disk is then not opened for
/// writing, since the next opening could not know.
pub(crate) fn record(path: &Path, name: &str) -> Result<()> {
    match setxattr(path, ATTRIBUTE, name.as_bytes(), XattrFlags::empty()) {
        Ok(()) => Ok(()),
        // Device nodes take no such attributes; they are named with their format.
        Err(Errno::PERM | Errno::OPNOTSUPP) if !path.is_file() => Ok(()),
        Err(error) => {
            let what = format!(
                "cannot record the format of {} (extended attribute {ATTRIBUTE}), without which \
                 it is not opened for writing",
                path.display()
            );
            Err(Error::Io { what, error: error.into() })
        }
    }
}
