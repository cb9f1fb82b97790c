//! The image's folder as the host grants it: one plain name at a time.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;

use fumehood_plugin::read::read_bytes;
use fumehood_plugin::{Access, Error, Host, Level, Result, Source, SourceHandle};

use crate::names::is_plain;

/// The longest text that is read for what it says; real ones have a few KiB.
pub const TEXT_LIMIT: u64 = 256 << 10;

/// The folder that the entry lies in.
pub struct Folder {
    host: Rc<dyn Host>,
}

impl Folder {
    /// The folder from which `host` grants files.
    pub fn new(host: Rc<dyn Host>) -> Self {
        Self { host }
    }

    /// The file called `name`, if there is one.
    ///
    /// # Errors
    /// [`Error::NotGranted`] for a name that is not plain, or as the host answers.
    pub fn find(&self, name: &str) -> Result<Option<SourceHandle>> {
        if !is_plain(name) {
            return Err(Error::NotGranted(format!("{name:?} is not a plain file name")));
        }
        match self.host.open(name, Access::Read) {
            Ok(source) => Ok(Some(source)),
            Err(Error::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The text called `name`, if there is one. The image can be read without it: what
    /// keeps it from being read is a line in the log.
    ///
    /// # Errors
    /// [`Error::Io`] where it may be read another time.
    pub fn find_text(&self, name: &str) -> Result<Option<SourceHandle>> {
        self.find(name).or_else(|error| self.without(error))
    }

    /// All of such a text, if it is no longer than `limit`.
    ///
    /// # Errors
    /// As [`Folder::find_text`].
    pub fn text(&self, name: &str, limit: u64) -> Result<Option<String>> {
        let Some(source) = self.find_text(name)? else { return Ok(None) };
        text_of(&*source, limit).map(Some).or_else(|error| self.without(error))
    }

    fn without<T>(&self, error: Error) -> Result<Option<T>> {
        if matches!(error, Error::Io(_)) {
            return Err(error);
        }
        self.host.log(Level::Warn, &format!("the image is read without a text: {error}"));
        Ok(None)
    }
}

/// All of a text. Bytes that are none are replaced: the parts that matter are plain.
///
/// # Errors
/// [`Error::Unsupported`] for one that is too long, or as the source answers.
pub fn text_of(source: &dyn Source, limit: u64) -> Result<String> {
    let (name, size) = (source.name(), source.size());
    if size > limit {
        let what = format!("{name} of {size} bytes; such texts of up to {limit} are read");
        return Err(Error::Unsupported(what));
    }
    let bytes = read_bytes(source, 0, size, "text")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
