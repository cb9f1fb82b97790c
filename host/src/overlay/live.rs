//! A disk that is served, with an overlay on top: a new one is put above it while
//! requests go on.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fumehood_core::{Access, CHAIN_LIMIT, Layer};

use super::{beside, settings};
use crate::create::{self, CreateOptions, NewParent};
use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::export::DiskExport;
use crate::identity;
use crate::image::{Image, OpenOptions};
use crate::source::FileSource;

/// The most layers that one name may be frozen into.
const NUMBER_LIMIT: u32 = 10_000;

/// An overlay that is served.
pub struct Live {
    export: Arc<DiskExport>,
    /// The image on top.
    top: Mutex<Image>,
}

impl Live {
    /// The overlay `top`, whose disk `export` serves.
    pub fn new(top: Image, export: Arc<DiskExport>) -> Self {
        Self { export, top: Mutex::new(top) }
    }

    /// What is served.
    pub fn export(&self) -> &Arc<DiskExport> {
        &self.export
    }

    /// The path of the top, which stays the same.
    pub fn path(&self) -> PathBuf {
        self.top.lock().unwrap_or_else(PoisonError::into_inner).path().to_path_buf()
    }

    /// Freezes the top as it is now, flushed, under a name of its own, and puts an
    /// empty overlay in its place. Requests wait for that, and none is lost. Answers
    /// the path of what was frozen.
    ///
    /// # Errors
    /// Where the overlay cannot be made; everything is as before then.
    pub fn push(&self) -> Result<PathBuf> {
        let mut top = self.top.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = self.export.disk();
        // Most of what is pending is written before anyone has to wait.
        disk.flush()?;
        let held = disk.core().hold_writes();
        disk.flush()?;
        let above = put_above(&top, &disk)?;
        self.export.replace(above.disk(0)?);
        disk.core().freeze();
        drop(held);
        let frozen = above.disk(0)?.paths()[1].clone();
        leave(&disk);
        *top = above;
        Ok(frozen)
    }
}

/// [`Live::push`] on an overlay that no process serves.
///
/// # Errors
/// As [`Engine::open`] and [`Live::push`].
pub fn push(engine: &Engine, path: &Path, options: OpenOptions) -> Result<PathBuf> {
    let image = engine.open(path, OpenOptions { access: Access::ReadWrite, ..options })?;
    let export = DiskExport::new(image.disk(0)?, "", "");
    let live = Live::new(image, export);
    let frozen = live.push()?;
    live.export.disk().close()?;
    Ok(frozen)
}

/// The frozen image is closed, and others may read it.
fn leave(disk: &Disk) {
    let image = &disk.core().layers()[0].image;
    if let Err(error) = image.close() {
        tracing::warn!("{}: {error}; it is whole, but was not tidied up", image.source_name(0));
    }
    if let Ok(source) = image.source(0)
        && let Some(file) = source.as_any().downcast_ref::<FileSource>()
    {
        file.share_for_reading();
    }
}

/// Makes an empty overlay, and gives it the name of `top`, which gets another.
fn put_above(top: &Image, disk: &Disk) -> Result<Image> {
    let path = top.path();
    let frozen = free_name(path)?;
    let layers = disk.core().layers();
    if layers.len() >= CHAIN_LIMIT {
        let shown = path.display();
        return Err(Error::Chain(format!("{shown} has {CHAIN_LIMIT} layers; commit some of them")));
    }
    let format = top.format();
    let identity = identity::for_child(top.engine(), layers, format)?;
    let info = disk.info();
    let options = CreateOptions {
        format: format.to_owned(),
        size: disk.size(),
        logical_sector: info.logical_sector,
        parent: Some(NewParent { path: frozen.clone(), format: format.to_owned(), identity }),
        settings: settings(format),
        sync: true,
        allow: top.options().allow.clone(),
        keys: top.options().keys.clone(),
    };
    let half = beside(path, ".new");
    let _ = std::fs::remove_file(&half);
    let above = create::create(top.engine(), &half, &options)?;
    let mut paths = vec![path.to_path_buf(), frozen.clone()];
    paths.extend(disk.paths().iter().skip(1).cloned());
    let mut chain = vec![Layer { image: above.core().clone(), number: 0 }];
    chain.extend(layers.iter().cloned());
    let result = above
        .renamed(path.to_path_buf(), chain, paths)
        .and_then(|above| create::look_alike(path, &half).map(|()| above))
        .and_then(|above| exchange(&half, path, &frozen).map(|()| above));
    if result.is_err() {
        let _ = std::fs::remove_file(&half);
    }
    result
}

/// `path` becomes `frozen`, and `half` becomes `path`: at no time is there nothing
/// under that name.
fn exchange(half: &Path, path: &Path, frozen: &Path) -> Result<()> {
    if !is_same_file(path, frozen) {
        let what = format!("cannot link {} to {}", path.display(), frozen.display());
        std::fs::hard_link(path, frozen).map_err(Error::io(what))?;
        // The frozen layer must have a name before the top loses it.
        create::sync_folder(frozen)?;
    }
    let renamed = create::rename_over(half, path);
    if renamed.is_err() {
        let _ = std::fs::remove_file(frozen);
    }
    renamed?;
    // The names are exchanged, and must not be taken back: both files are whole.
    if let Err(error) = create::sync_folder(path) {
        tracing::error!("{error}; a crash may bring the old names back");
    }
    Ok(())
}

/// Whether both names lead to one file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// `work.1.qcow2` for `work.qcow2`, with the first number that is free, or that was
/// given to this very file just before a crash.
fn free_name(path: &Path) -> Result<PathBuf> {
    let name = |number: u32| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        match path.extension() {
            Some(extension) => {
                path.with_file_name(format!("{stem}.{number}.{}", extension.to_string_lossy()))
            }
            None => path.with_file_name(format!("{stem}.{number}")),
        }
    };
    (1..NUMBER_LIMIT)
        .map(name)
        .find(|name| !name.exists() || is_same_file(path, name))
        .ok_or_else(|| Error::Chain(format!("{} was frozen {NUMBER_LIMIT} times", path.display())))
}

/// Removes what an interrupted [`Live::push`] or rewriting left beside the overlay at
/// `path`, which no one else has open for writing.
pub(super) fn tidy(path: &Path) {
    let _ = std::fs::remove_file(beside(path, ".new"));
    if let Ok(next) = free_name(path)
        && is_same_file(path, &next)
    {
        let _ = std::fs::remove_file(next);
    }
}
