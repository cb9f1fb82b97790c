//! The core in use without an operating system: an image in memory, opened by a
//! plugin that was compiled ahead of time for the Pulley interpreter, and read by
//! carrying out a plan. A hypervisor puts its own drivers where this has a slice.
//!
//! Builds for `x86_64-unknown-none`; `src/main.rs` runs the same code on a host.
#![no_std]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec;
use core::any::Any;

use fumehood_core::{
    Disk, Error, Image, Layer, Limits, OpenImage, PieceKind, Pieces, Plugin, Runtime, Source,
    SourceError,
};

/// Interpreted code needs no executable memory; a host with some names its own target.
#[cfg(target_pointer_width = "64")]
const TARGET: &str = "pulley64";

/// An image that lies in memory.
pub struct MemoryImage(pub &'static [u8]);

impl Source for MemoryImage {
    fn name(&self) -> &str {
        "memory"
    }
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| self.0.get(start..)?.get(..buffer.len()));
        let bytes = bytes.ok_or_else(|| SourceError::Io("past the end of memory".into()))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Opens the image with a plugin compiled by `fumehood plugin compile --target pulley64`.
///
/// The embedder's timer calls [`Runtime::tick`] ten times a second.
///
/// # Safety
/// `plugin` must be what that command wrote, unaltered.
///
/// # Errors
/// What the core says of the plugin or the image.
pub unsafe fn open(plugin: &[u8], image: MemoryImage) -> Result<(Arc<Runtime>, Disk), Error> {
    let mut config = Runtime::config();
    Runtime::without_virtual_memory(&mut config);
    config.target(TARGET).map_err(|_| Error::Failed { reason: "no Pulley".into() })?;
    let runtime = Arc::new(Runtime::new(&config, Limits::default())?);
    // SAFETY: the caller vouches for it.
    let plugin = unsafe { Plugin::from_precompiled(runtime.clone(), "plugin", plugin)? };
    let image = Image::open(Arc::new(plugin), OpenImage::alone(Arc::new(image)))?;
    let disk = Disk::new(vec![Layer { image: Arc::new(image), number: 0 }], 1 << 20)?;
    Ok((runtime, disk))
}

/// Fills `buffer` from `offset` of the disk: the plan, carried out.
///
/// # Errors
/// What the core says; compressed blocks are refused, for want of a decoder here.
pub fn read(disk: &Disk, offset: u64, mut buffer: &mut [u8]) -> Result<(), Error> {
    let mut pieces = Pieces::new();
    disk.plan_read(offset, buffer.len() as u64, &mut pieces)?;
    for piece in &pieces {
        let (part, rest) = buffer.split_at_mut(piece.length as usize);
        buffer = rest;
        match &piece.kind {
            PieceKind::Absent | PieceKind::Zero => part.fill(0),
            PieceKind::Stored { source, offset, .. } => {
                disk.source(*source)?.read_at(*offset, part)?;
            }
            PieceKind::Computed => disk.compute(piece, part)?,
            PieceKind::Encoded { .. } => {
                return Err(Error::Failed { reason: "this example has no decoder".into() });
            }
            PieceKind::Damaged(what) => {
                let what = alloc::string::String::from(&**what);
                return Err(Error::Damaged { offset: piece.offset, what });
            }
        }
    }
    Ok(())
}
