//! Putting an overlay on another parent.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fumehood_core::Access;

use crate::copy::copy_differences;
use crate::create::CreateOptions;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::{Image, OpenOptions};

/// Puts the overlay at `path` on the first disk of `parent`. Its contents stay the
/// same: what the new parent holds otherwise than the old one is copied into the
/// overlay first. With `only_record`, the new parent is recorded and nothing else, for
/// a parent that was moved.
///
/// # Errors
/// As [`Engine::open`] and what copying answers; the overlay then has its old parent,
/// and the same contents.
pub fn rebase(
    engine: &Engine,
    path: &Path,
    parent: &Image,
    only_record: bool,
    options: OpenOptions,
    progress: &(dyn Fn(u64) + Sync),
    interrupted: &AtomicBool,
) -> Result<()> {
    let options = OpenOptions { access: Access::ReadWrite, ..options };
    let image = engine.open(path, options)?;
    let new = CreateOptions::on(image.format(), parent, 0)?;
    let recorded = new.parent.map(|parent| parent.seen_from(image.path())).transpose()?;
    if only_record {
        let disk = image.disk_alone()?;
        disk.core().rebase(recorded)?;
        return disk.close();
    }
    let disk = image.disk(0)?;
    if disk.core().layers().len() > 1 {
        let old = disk.behind()?;
        copy_differences(&disk, &old, &parent.disk(0)?, progress, interrupted)?;
    }
    if interrupted.load(Ordering::Relaxed) {
        disk.close()?;
        return Err(Error::Interrupted);
    }
    disk.flush()?;
    disk.core().rebase(recorded)?;
    disk.close()
}
