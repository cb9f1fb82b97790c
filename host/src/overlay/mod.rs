//! Overlays: writable differencing images on top of a disk that is never touched.
//!
//! The top of a chain keeps its name. [`Live::push`] freezes it under a new name
//! (`work.1.qcow2`) and puts an empty overlay in its place; [`merge`] goes the other
//! way. Every step replaces a file by renaming a finished one over it, so that a crash
//! leaves one or the other.

mod live;
mod merge;
mod rebase;
mod rewrite;
mod stack;

use std::path::{Path, PathBuf};

pub use self::live::{Live, push};
pub use self::merge::merge;
pub use self::rebase::rebase;
pub use self::rewrite::{compact, discard};
pub use self::stack::{LayerInfo, layers};

use fumehood_core::Access;

use crate::create::CreateOptions;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::{Image, OpenOptions};

/// The format of overlays unless told otherwise.
pub const FORMAT: &str = "qcow2";

/// Units of 4 KiB, as guests write, so that a small write copies nothing; tables of
/// 128 KiB clusters.
const SETTINGS: [(&str, &str); 2] = [("cluster_size", "131072"), ("extended_l2", "on")];

/// The settings of a new overlay of `format`.
pub(crate) fn settings(format: &str) -> Vec<(String, String)> {
    match format {
        FORMAT => SETTINGS.map(|(name, value)| (name.into(), value.into())).to_vec(),
        _ => Vec::new(),
    }
}

/// The path with something behind its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    path.with_file_name(name)
}

/// Opens the overlay at `path` on the disk `number` of `base`; makes it, in `format`,
/// where there is none.
///
/// # Errors
/// [`Error::Chain`] for an overlay that was made on something else, and as
/// [`Engine::open`] and [`Engine::create`].
pub fn open(
    engine: &Engine,
    path: &Path,
    base: &Image,
    number: u32,
    format: &str,
) -> Result<Image> {
    if base.options().snapshot.is_some() {
        return Err(Error::Chain(format!(
            "an overlay on an internal snapshot of {} could not be opened again: it has no way \
             to record the snapshot",
            base.path().display()
        )));
    }
    if !path.exists() {
        let mut options = CreateOptions::on(format, base, number)?;
        options.settings = settings(format);
        return engine.create(path, &options);
    }
    let mut allow = base.granted();
    allow.push(base.path().to_path_buf());
    let options = OpenOptions { access: Access::ReadWrite, allow, ..base.options().clone() };
    let options = OpenOptions { format: None, settings: Vec::new(), ..options };
    let image = engine.open(path, options)?;
    live::tidy(image.path());
    let disk = image.disk(0)?;
    if !disk.paths().iter().any(|path| path == base.path()) {
        let made_on =
            disk.paths().get(1).map_or("nothing".into(), |path| path.display().to_string());
        return Err(Error::Chain(format!(
            "{} was made on {made_on}, not on {}",
            path.display(),
            base.path().display()
        )));
    }
    Ok(image)
}
