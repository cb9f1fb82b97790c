//! What serving for writing adds: the overlay, its control socket, and closing in
//! good order. The same for `serve` and `boot`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use fumehood::control::{ControlSocket, socket_of};
use fumehood::export::{DiskExport, Export};
use fumehood::overlay::{self, Live};
use fumehood::{Engine, Image};

use super::output;

/// Where what is written goes.
#[derive(clap::Args)]
pub struct OverlayArguments {
    /// Write to this overlay on top of the image, which is not touched; it is made if
    /// it is not there, and continued if it is.
    #[arg(long, value_name = "FILE")]
    pub overlay: Option<PathBuf>,
    /// The format of a new overlay.
    #[arg(long, default_value = overlay::FORMAT, value_name = "FORMAT")]
    overlay_format: String,
    /// Where to take orders (see `fumehood overlay`) while serving; beside the overlay
    /// unless told otherwise.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

/// An overlay that is served, until it is closed.
pub struct Served {
    live: Arc<Live>,
    control: ControlSocket,
}

impl OverlayArguments {
    /// Opens or makes the overlay on the disk `number` of `base`.
    pub fn open(
        &self,
        engine: &Engine,
        base: &Image,
        number: u32,
        name: &str,
    ) -> Result<Option<Served>> {
        let Some(path) = &self.overlay else { return Ok(None) };
        let shown = || path.display().to_string();
        let top = overlay::open(engine, path, base, number, &self.overlay_format);
        let top = top.with_context(shown)?;
        let description = format!("{} on {}", path.display(), base.path().display());
        let disk = top.disk(0).with_context(shown)?;
        let export = DiskExport::new(disk, name, output::printable(&description));
        let socket = self.control.clone().unwrap_or_else(|| socket_of(top.path()));
        let live = Arc::new(Live::new(top, export));
        let control = ControlSocket::start(&socket, live.clone())?;
        Ok(Some(Served { live, control }))
    }
}

impl Served {
    pub fn export(&self) -> Arc<dyn Export> {
        self.live.export().clone()
    }

    /// Everything is on storage, and the overlay is as one that was closed properly.
    pub fn close(self) -> Result<()> {
        drop(self.control);
        let path = self.live.path();
        self.live.export().disk().close().with_context(|| path.display().to_string())
    }
}
