//! `fumehood serve`.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, bail};
use fumehood::core::Access;
use fumehood::export::nbd::{Address, Listener, NbdServer, ServerOptions, Target};
use fumehood::export::{DiskExport, Export};
use fumehood::{Engine, Image};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::writable::{OverlayArguments, Served};
use super::{ImageArguments, output};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    image: ImageArguments,
    /// Where to listen: unix:/PATH, tcp:PORT, tcp:HOST:PORT, nbd://HOST:PORT,
    /// nbd+unix:///?socket=/PATH, or systemd: for sockets that were passed.
    #[arg(long, value_name = "URI")]
    nbd: Target,
    /// Only this disk of the image, as the default export; all of them where it is
    /// not given.
    #[arg(long, value_name = "N")]
    disk: Option<u32>,
    /// Serve read-only: the default, unless there is an overlay.
    #[arg(long, conflicts_with_all = ["overlay", "write"])]
    read_only: bool,
    /// Let clients write to the image itself, if its format can be written.
    #[arg(long, conflicts_with = "overlay")]
    write: bool,
    #[command(flatten)]
    overlay: OverlayArguments,
    /// Run this command with $uri, $unixsocket, $port and $exportname set, stop
    /// serving when it ends, and end with its exit code.
    #[arg(long, value_name = "COMMAND")]
    run: Option<OsString>,
}

pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    let access = if arguments.write { Access::ReadWrite } else { Access::Read };
    let image = arguments.image.open_for(engine, access)?;
    let name = arguments.nbd.export.as_str();
    let number = arguments.disk.unwrap_or(0);
    let served = arguments.overlay.open(engine, &image, number, name)?;
    let exports = match &served {
        Some(served) => vec![served.export()],
        None => {
            let name = (!name.is_empty()).then_some(name);
            exports(&image, arguments.disk, name).with_context(|| arguments.image.name())?
        }
    };
    let first = exports[0].name().to_owned();
    let listeners = Listener::open(&arguments.nbd.address)?;
    let address = listeners[0].address().clone();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let server = NbdServer::start(exports, listeners, ServerOptions::default())?;
    let code = match &arguments.run {
        None => {
            if let Some(uri) = address.uri(&first) {
                eprintln!("fumehood: serving {} at {uri}", arguments.image.name());
            }
            signals.forever().next();
            Ok(ExitCode::SUCCESS)
        }
        Some(command) => start(command, &address, &first).and_then(|child| wait(child, signals)),
    };
    server.shutdown();
    close(&image, arguments.write, served)?;
    code
}

/// What was written is on storage before we go.
fn close(image: &Image, write: bool, served: Option<Served>) -> Result<()> {
    if let Some(served) = served {
        served.close()?;
    }
    if write {
        for number in 0..image.disks().len() as u32 {
            image.disk(number)?.close().with_context(|| image.path().display().to_string())?;
        }
    }
    Ok(())
}

/// One export for each disk. The first is also the default; it has the name asked
/// for, the others those of their disks, or their numbers.
pub fn exports(
    image: &Image,
    disk: Option<u32>,
    name: Option<&str>,
) -> Result<Vec<Arc<dyn Export>>> {
    let all = 0..image.disks().len() as u32;
    let numbers = disk.map_or(all, |number| number..number + 1);
    let mut exports: Vec<Arc<dyn Export>> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for number in numbers {
        let disk = match (image.disk(number), image.disks().len()) {
            (disk, 1) => disk?,
            (disk, _) => disk.context("not every disk can be served; choose one with --disk")?,
        };
        let own = output::printable(&disk.info().name);
        let mut export_name = match (name, own.as_str()) {
            (Some(name), _) if exports.is_empty() => name.to_owned(),
            (_, "") if exports.is_empty() => String::new(),
            (_, "") => number.to_string(),
            (_, own) => own.to_owned(),
        };
        if names.contains(&export_name) {
            export_name = format!("{export_name}-{number}");
        }
        let description =
            format!("disk {number} of {} ({})", image.path().display(), image.format());
        names.push(export_name.clone());
        exports.push(DiskExport::new(disk, export_name, output::printable(&description)));
    }
    if exports.is_empty() {
        bail!("it holds no disks");
    }
    Ok(exports)
}

/// Starts the command in a shell, with what it needs to find the server.
fn start(command: &OsString, address: &Address, export: &str) -> Result<Child> {
    let (socket, port) = match address {
        Address::Unix(path) => (path.as_os_str().to_owned(), String::new()),
        Address::Tcp { port, .. } => (OsString::new(), port.to_string()),
        Address::Activated => (OsString::new(), String::new()),
    };
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command);
    shell.env("uri", address.uri(export).unwrap_or_default());
    shell.env("unixsocket", socket).env("port", port).env("exportname", export);
    shell.arg0("sh");
    shell.spawn().context("cannot run /bin/sh")
}

/// Waits for a child; passes SIGTERM on to it. Ctrl-C reaches it by itself.
pub fn wait(mut child: Child, mut signals: Signals) -> Result<ExitCode> {
    let handle = signals.handle();
    let id = rustix::process::Pid::from_child(&child);
    let (ended, has_ended) = mpsc::channel::<()>();
    let forward = thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGTERM && has_ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            }
        }
    });
    let status = child.wait().context("waiting for the command")?;
    drop(ended);
    handle.close();
    let _ = forward.join();
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
