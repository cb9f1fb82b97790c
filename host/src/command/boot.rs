//! `fumehood boot`: a disk, an overlay that is kept or thrown away, and QEMU.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use fumehood::Engine;
use fumehood::export::nbd::{Address, Listener, NbdServer, ServerOptions};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::writable::OverlayArguments;
use super::{DiskArguments, kvm, serve};

/// QEMU for guests of the kind that this host is.
#[cfg(target_arch = "aarch64")]
const QEMU: &str = "qemu-system-aarch64";
#[cfg(not(target_arch = "aarch64"))]
const QEMU: &str = "qemu-system-x86_64";

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: DiskArguments,
    #[command(flatten)]
    overlay: OverlayArguments,
    /// The guest's memory, as QEMU takes it.
    #[arg(short, long, default_value = "1G", value_name = "SIZE")]
    memory: String,
    /// How the guest sees the disk: virtio, ide, or scsi.
    #[arg(long, default_value = "virtio", value_parser = ["virtio", "ide", "scsi"])]
    interface: String,
    /// KVM where it works (auto), or one of kvm and tcg without a look.
    #[arg(long, default_value = "auto", value_parser = ["auto", "kvm", "tcg"])]
    accelerator: String,
    /// The QEMU to run; otherwise the one in PATH.
    #[arg(long, value_name = "PROGRAM")]
    qemu: Option<PathBuf>,
    /// Show the guest's screen in a window, not its serial console here.
    #[arg(long)]
    window: bool,
    /// Further arguments for QEMU, behind --.
    #[arg(last = true)]
    qemu_arguments: Vec<OsString>,
}

pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    let image = arguments.source.image.open(engine)?;
    let qemu = find_qemu(arguments)?;
    let served = arguments.overlay.open(engine, &image, arguments.source.disk, "")?;
    let exports = match &served {
        Some(served) => vec![served.export()],
        None => serve::exports(&image, Some(arguments.source.disk), Some(""))
            .with_context(|| arguments.source.image.name())?,
    };
    // A folder that only we can enter keeps others off the socket.
    let folder = tempfile::Builder::new().prefix("fumehood-").tempdir()?;
    let socket = folder.path().join("nbd.sock");
    let listeners = Listener::open(&Address::Unix(socket.clone()))?;
    let server = NbdServer::start(exports, listeners, ServerOptions::default())?;

    let accelerated = match arguments.accelerator.as_str() {
        "auto" => kvm::works(),
        chosen => chosen == "kvm",
    };
    let accelerator = if accelerated { "kvm" } else { "tcg" };
    eprintln!(
        "fumehood: booting {} with {accelerator}; what the guest writes {}{}",
        arguments.source.image.name(),
        match &arguments.overlay.overlay {
            Some(overlay) => format!("goes to {}", overlay.display()),
            None => "is thrown away".into(),
        },
        if std::io::stdin().is_terminal() { " (Ctrl-A X ends it)" } else { "" },
    );
    let mut command = Command::new(&qemu);
    command.args(["-m", &arguments.memory, "-no-reboot", "-accel", accelerator]);
    if accelerated {
        command.args(["-cpu", "host"]);
    }
    let drive = format!(
        "driver=nbd,server.type=unix,server.path={},if={},{}",
        socket.display().to_string().replace(',', ",,"),
        arguments.interface,
        if served.is_some() { "discard=unmap" } else { "snapshot=on" }
    );
    command.args(["-drive", &drive, "-net", "none"]);
    if !arguments.window {
        command.args(["-display", "none", "-serial", "mon:stdio"]);
    }
    command.args(&arguments.qemu_arguments);
    if !std::io::stdin().is_terminal() {
        command.stdin(Stdio::null());
    }
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let child = command.spawn().with_context(|| format!("cannot run {}", qemu.display()))?;
    let code = serve::wait(child, signals);
    server.shutdown();
    if let Some(served) = served {
        served.close()?;
    }
    code
}

fn find_qemu(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(qemu) = &arguments.qemu {
        return Ok(qemu.clone());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&folders).map(|folder| folder.join(QEMU));
    match candidates.find(|candidate| candidate.is_file()) {
        Some(qemu) => Ok(qemu),
        None => bail!("{QEMU} is not in PATH; on Debian: apt-get install qemu-system-x86"),
    }
}
