//! A chain as its owner sees it: what each layer is, and how much it changed.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::container::format_of;
use crate::disk::Disk;
use crate::error::{Error, Result};

/// One layer of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// Its file.
    pub path: PathBuf,
    /// Its format.
    pub format: String,
    /// Size of its disk in bytes.
    pub disk_size: u64,
    /// Length of its file in bytes.
    pub file_size: u64,
    /// What its file takes on storage, in bytes.
    pub allocated: u64,
    /// Bytes of the disk that it holds, itself.
    pub data: u64,
    /// Bytes of the disk that it says are zeroes.
    pub zero: u64,
}

/// The layers of a disk, top first.
///
/// # Errors
/// Where a layer's extents or its file cannot be looked at.
pub fn layers(disk: &Disk) -> Result<Vec<LayerInfo>> {
    let layers = disk.core().layers().iter().zip(disk.paths());
    layers
        .map(|(layer, path)| {
            let shown = path.display();
            let metadata = path.metadata().map_err(Error::io(format!("cannot look at {shown}")))?;
            let alone = disk.only(layer)?;
            let (data, zero) = count(&alone)?;
            Ok(LayerInfo {
                path: path.clone(),
                format: format_of(&layer.image),
                disk_size: alone.size(),
                file_size: metadata.len(),
                allocated: metadata.blocks() * 512,
                data,
                zero,
            })
        })
        .collect()
}

/// Bytes that a disk holds, and that it says are zeroes.
fn count(disk: &Disk) -> Result<(u64, u64)> {
    let (mut data, mut zero, mut at) = (0, 0, 0);
    while at < disk.size() {
        for piece in &disk.extents(at, disk.size() - at)? {
            match &piece.kind {
                fumehood_core::PieceKind::Absent => {}
                fumehood_core::PieceKind::Zero => zero += piece.length,
                _ => data += piece.length,
            }
            at = piece.offset + piece.length;
        }
    }
    Ok((data, zero))
}
