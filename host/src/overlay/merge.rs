//! Committing an overlay: what it holds is written into the layer below.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fumehood_core::Access;
use fumehood_core::contract::format::Parent;

use crate::copy::{CopyOptions, copy};
use crate::create::{rename_over, sync_folder};
use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::{Image, OpenOptions};

/// Writes what the overlay at `path` holds into the layer below it, which then takes
/// its name.
///
/// Until the very end the chain holds the same as before, since the overlay stays
/// above what is written below: after a crash the same call does the rest.
///
/// # Errors
/// [`Error::Chain`] where the layer below is no overlay, so that a foreign image or
/// a base is never written; as [`Engine::open`], also where another program uses one
/// of the two; and what copying answers. Nothing is lost then.
pub fn merge(
    engine: &Engine,
    path: &Path,
    options: OpenOptions,
    progress: &(dyn Fn(u64) + Sync),
    interrupted: &AtomicBool,
) -> Result<()> {
    let top = engine.open(path, OpenOptions { access: Access::ReadWrite, ..options.clone() })?;
    super::rewrite::refuse_snapshots(&top)?;
    let (below, parent) = below(&top)?;
    let path = top.path().to_path_buf();
    let disk = top.disk(0)?;
    // The layer below gets other contents, and with them another identity: the
    // overlay stops asking for the old one.
    let unchecked = Parent { identities: Vec::new(), ..parent };
    disk.core().rebase(Some(unchecked))?;
    disk.close()?;
    drop((disk, top));

    let top = engine.open(&path, OpenOptions { access: Access::Read, ..options.clone() })?;
    let top_disk = top.disk(0)?;
    let alone = top_disk.only(&top_disk.core().layers()[0])?;
    drop((top_disk, top));
    let below = engine.open(&below, OpenOptions { access: Access::ReadWrite, ..options })?;
    let target = below.disk(0)?;
    write_into(&alone, &target, progress, interrupted)?;
    target.close()?;
    rename_over(below.path(), &path)?;
    sync_folder(&path)
}

/// The layer that would be written, and how the overlay names it.
fn below(top: &Image) -> Result<(std::path::PathBuf, Parent)> {
    let shown = top.path().display();
    let Some(parent) = top.disks()[0].parent.clone() else {
        return Err(Error::Chain(format!("{shown} has no parent")));
    };
    let disk = top.disk(0)?;
    let layers = disk.core().layers();
    let below = &layers[1];
    if disk.paths()[1].parent() != top.path().parent() {
        return Err(Error::Chain(format!(
            "{} lies in another folder than {shown}, whose name it is to take: the parent that it \
             records would not be found",
            disk.paths()[1].display()
        )));
    }
    if below.image.disks()[below.number as usize].parent.is_none() {
        return Err(Error::Chain(format!(
            "{shown} lies directly on {}, which is no overlay: it is never written; use \
             `overlay flatten` to make a disk that stands alone",
            disk.paths()[1].display()
        )));
    }
    Ok((disk.paths()[1].clone(), parent))
}

fn write_into(
    from: &Disk,
    to: &Disk,
    progress: &(dyn Fn(u64) + Sync),
    interrupted: &AtomicBool,
) -> Result<()> {
    if to.size() != from.size() {
        to.resize(from.size())?;
    }
    copy(from, to, CopyOptions::default(), progress, interrupted)?;
    if interrupted.load(Ordering::Relaxed) {
        to.close()?;
        return Err(Error::Interrupted);
    }
    to.flush()
}
