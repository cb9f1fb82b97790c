//! The command line: what is common to all subcommands. Each has a module of its
//! own; none has powers that the library does not offer.

mod boot;
mod check;
mod convert;
mod create;
mod info;
mod key;
mod kvm;
mod map;
mod output;
mod overlay;
mod plugin;
mod plugin_test;
mod probe;
mod serve;
mod writable;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use fumehood::core::Access;
use fumehood::{Disk, Engine, EngineOptions, Image, OpenOptions};
use tracing_subscriber::EnvFilter;

use self::key::KeyArguments;

/// Opens foreign disk images and backups in a sandbox and serves them as disks.
#[derive(Parser)]
#[command(name = "fumehood", version, arg_required_else_help = true)]
struct Arguments {
    /// Load this plugin too (a .wasm file); may be given more than once.
    #[arg(long, global = true, value_name = "FILE.wasm")]
    plugin: Vec<PathBuf>,
    /// What to log to stderr: error, warn, info, debug, trace, or a filter as in RUST_LOG.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say which plugins know an image, and how sure they are.
    Probe(probe::Arguments),
    /// Show an image's format, disks, chain, snapshots and documents.
    Info(info::Arguments),
    /// Show where a disk's bytes lie.
    Map(map::Arguments),
    /// Look for damage: structures, checksums, stored hashes.
    Check(check::Arguments),
    /// Serve an image's disks over NBD.
    Serve(serve::Arguments),
    /// Copy a disk into a file of another format.
    Convert(convert::Arguments),
    /// Make a new image, stand-alone or on top of another.
    Create(create::Arguments),
    /// Boot a disk in QEMU; what the guest writes is thrown away, or goes to an overlay.
    Boot(boot::Arguments),
    /// Overlays: freeze, list, commit, discard, rebase, resize, flatten.
    Overlay(overlay::Arguments),
    /// Write an image anew, without what reads as zeroes.
    Compact(overlay::Compact),
    /// List and inspect plugins.
    Plugin(plugin::Arguments),
    /// Find out whether KVM really runs a guest.
    #[command(hide = true)]
    KvmProbe,
}

/// How the image is opened; the same for every subcommand that opens one.
#[derive(Args)]
struct ImageArguments {
    /// The image: a path.
    image: PathBuf,
    /// Its format; recognised where it is not given, except for raw disks.
    #[arg(short, long)]
    format: Option<String>,
    /// The format of parents for which their child records none.
    #[arg(long, value_name = "FORMAT")]
    parent_format: Option<String>,
    /// Let the image refer to files in this folder, or to this file.
    #[arg(long, value_name = "PATH")]
    allow: Vec<PathBuf>,
    /// Show this internal snapshot, by name or id.
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
    /// A setting of the format's plugin.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    #[command(flatten)]
    keys: KeyArguments,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no =")?;
    Ok((name.into(), value.into()))
}

/// A size with K, M, G or T, which are powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.trim_end_matches(|c: char| c.is_ascii_alphabetic()) {
        digits if digits.len() == text.len() => (digits, 0),
        digits => match text[digits.len()..].to_ascii_uppercase().as_str() {
            "K" | "KIB" => (digits, 10),
            "M" | "MIB" => (digits, 20),
            "G" | "GIB" => (digits, 30),
            "T" | "TIB" => (digits, 40),
            unit => return Err(format!("{unit} is not a unit; there are K, M, G and T")),
        },
    };
    let number: u64 = digits.parse().map_err(|error| format!("{digits:?}: {error}"))?;
    number.checked_mul(1 << shift).ok_or_else(|| "it is too large".into())
}

impl ImageArguments {
    fn open(&self, engine: &Engine) -> Result<Image> {
        self.open_for(engine, Access::Read)
    }

    fn options(&self) -> Result<OpenOptions> {
        Ok(OpenOptions {
            format: self.format.clone(),
            parent_format: self.parent_format.clone(),
            allow: self.allow.clone(),
            snapshot: self.snapshot.clone(),
            settings: self.settings.clone(),
            keys: self.keys.read()?,
            on_progress: Some(output::preparation(&self.name())),
            ..OpenOptions::default()
        })
    }

    fn open_for(&self, engine: &Engine, access: Access) -> Result<Image> {
        let options = OpenOptions { access, ..self.options()? };
        let shown = self.image.display().to_string();
        if shown.contains("://") && !self.image.exists() {
            bail!("{shown}: images are files and block devices so far; URLs are not opened yet");
        }
        let image = engine.open(&self.image, options).context(shown)?;
        for warning in &image.info().warnings {
            tracing::warn!("{}: {}", self.image.display(), output::printable(warning));
        }
        Ok(image)
    }

    /// The image's name before an error, as in every message.
    fn name(&self) -> String {
        self.image.display().to_string()
    }
}

/// One disk of the image, for the subcommands that read just one.
#[derive(Args)]
struct DiskArguments {
    #[command(flatten)]
    image: ImageArguments,
    /// Which disk of the image.
    #[arg(long, default_value_t = 0, value_name = "N")]
    disk: u32,
}

impl DiskArguments {
    fn open(&self, engine: &Engine) -> Result<(Image, Disk)> {
        let image = self.image.open(engine)?;
        let disk = image.disk(self.disk).with_context(|| self.image.name())?;
        Ok((image, disk))
    }
}

/// Runs the command: 0 done, 1 failed, 2 misused (by clap).
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.log.as_deref());
    match dispatch(arguments) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<ExitCode> {
    if let Command::KvmProbe = arguments.command {
        return kvm::probe();
    }
    let options = EngineOptions { plugins: arguments.plugin, ..EngineOptions::default() };
    let engine = Engine::with(options)?;
    match arguments.command {
        Command::Probe(arguments) => probe::run(&engine, &arguments),
        Command::Info(arguments) => info::run(&engine, &arguments),
        Command::Map(arguments) => map::run(&engine, &arguments),
        Command::Check(arguments) => check::run(&engine, &arguments),
        Command::Serve(arguments) => serve::run(&engine, &arguments),
        Command::Convert(arguments) => convert::run(&engine, &arguments),
        Command::Boot(arguments) => boot::run(&engine, &arguments),
        Command::Create(arguments) => create::run(&engine, &arguments),
        Command::Overlay(arguments) => overlay::run(&engine, &arguments),
        Command::Compact(arguments) => overlay::compact(&engine, &arguments),
        Command::Plugin(arguments) => plugin::run(&engine, &arguments),
        Command::KvmProbe => kvm::probe(),
    }
}

fn start_log(filter: Option<&str>) {
    let filter = match filter {
        Some(filter) => EnvFilter::new(filter),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")),
    };
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .without_time()
        .with_target(false)
        .init();
}
