//! Writing an overlay anew: empty, or without what reads as zeroes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fumehood_core::{Access, Codec, PieceKind};

use super::{beside, settings};
use crate::copy::{CopyOptions, copy};
use crate::create::{self, CreateOptions, sync_folder};
use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::{Image, OpenOptions};

/// Forgets what the overlay at `path` holds: an empty one on the same parent takes
/// its place.
///
/// # Errors
/// [`Error::Chain`] for an image without a parent, and as [`Engine::open`].
pub fn discard(engine: &Engine, path: &Path, options: OpenOptions) -> Result<()> {
    let options = OpenOptions { access: Access::ReadWrite, ..options };
    let image = engine.open(path, options)?;
    refuse_snapshots(&image)?;
    if image.disk(0)?.core().layers().len() < 2 {
        let shown = path.display();
        return Err(Error::Chain(format!(
            "{shown} has no parent: without it nothing would be left"
        )));
    }
    replace(&image, None, |_| Ok(()))
}

/// Writes the image at `path` anew, without what reads as zeroes and was given back.
///
/// # Errors
/// As [`Engine::open`] and [`copy`]; the image is then as it was.
pub fn compact(
    engine: &Engine,
    path: &Path,
    options: OpenOptions,
    progress: &(dyn Fn(u64) + Sync),
    interrupted: &AtomicBool,
) -> Result<()> {
    // Opened for writing, though nothing is written, to be its only user.
    let options = OpenOptions { access: Access::ReadWrite, ..options };
    let image = engine.open(path, options)?;
    refuse_snapshots(&image)?;
    let disk = image.disk(0)?;
    let alone = disk.only(&disk.core().layers()[0])?;
    let codec = first_codec(&alone)?;
    let options = CopyOptions { compress: codec.is_some() };
    replace(&image, codec, |new| {
        let new = new.disk(0)?;
        copy(&alone, &new, options, progress, interrupted)?;
        match interrupted.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    })
}

/// What is made anew holds the present state alone.
pub(super) fn refuse_snapshots(image: &Image) -> Result<()> {
    if image.info().snapshots.is_empty() {
        return Ok(());
    }
    let shown = image.path().display();
    Err(Error::Unsupported(format!("{shown} holds internal snapshots, which would be lost")))
}

/// How the disk's first encoded extent is encoded, if it has any.
fn first_codec(disk: &Disk) -> Result<Option<Codec>> {
    let mut at = 0;
    while at < disk.size() {
        for piece in &disk.extents(at, disk.size() - at)? {
            if let PieceKind::Encoded { block, .. } = &piece.kind {
                return Ok(Some(block.codec));
            }
            at = piece.offset + piece.length;
        }
    }
    Ok(None)
}

/// Makes an image of the same kind and parent, lets `fill` fill it, and gives it the
/// name of `image`.
fn replace(
    image: &Image,
    codec: Option<Codec>,
    fill: impl FnOnce(&Image) -> Result<()>,
) -> Result<()> {
    let path = image.path();
    let half = beside(path, ".new");
    let info = &image.disks()[0];
    let mut options = CreateOptions::new(image.format(), info.size);
    options.logical_sector = info.logical_sector;
    options.allow = image.granted();
    if codec == Some(Codec::Zstd) {
        options.settings.push(("compression_type".into(), "zstd".into()));
    }
    if info.parent.is_some() {
        options.settings.extend(settings(image.format()));
        options.parent = Some(create::parent_of(image.engine(), &image.disk(0)?)?);
    }
    let _ = std::fs::remove_file(&half);
    let new = create::create(image.engine(), &half, &options)?;
    let done = fill(&new)
        .and_then(|()| new.disk(0)?.close())
        .and_then(|()| create::look_alike(path, &half))
        .and_then(|()| create::rename_over(&half, path))
        .and_then(|()| sync_folder(path));
    if done.is_err() {
        let _ = std::fs::remove_file(&half);
    }
    done
}
