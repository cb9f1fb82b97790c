//! `fumehood convert`: a disk is copied into an image of another format.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use fumehood::{CopyOptions, CreateOptions, Disk, Engine, OpenOptions, copy, first_difference};

use super::{DiskArguments, output, setting};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: DiskArguments,
    /// The file to write.
    out: PathBuf,
    /// The format to write: raw, qcow2, vhdx, vhd.
    #[arg(short = 'O', long, value_name = "FORMAT")]
    output_format: String,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
    /// Store it compressed, where the format can.
    #[arg(long, value_name = "METHOD", num_args = 0..=1, default_missing_value = "zlib")]
    compress: Option<Compression>,
    /// Return only when the file is on storage and survives a power cut.
    #[arg(long)]
    sync: bool,
    /// Read both afterwards, and compare them.
    #[arg(long)]
    verify: bool,
    /// A setting of the format that is written.
    #[arg(long = "output-option", value_name = "NAME=VALUE", value_parser = setting)]
    output_settings: Vec<(String, String)>,
}

/// How qcow2 compresses.
#[derive(Clone, Copy, ValueEnum)]
enum Compression {
    Zlib,
    Zstd,
}

impl Arguments {
    /// What the new image is to be.
    fn target(&self, from: &Disk) -> CreateOptions {
        let mut options = CreateOptions::new(self.output_format.as_str(), from.size());
        options.logical_sector = from.info().logical_sector;
        options.sync = self.sync;
        if let Some(compression) = self.compress {
            let method = match compression {
                Compression::Zlib => "zlib",
                Compression::Zstd => "zstd",
            };
            options.settings.push(("compression_type".into(), method.into()));
        }
        options.settings.extend(self.output_settings.iter().cloned());
        options
    }
}

pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    let (image, disk) = arguments.source.open(engine)?;
    let out = &arguments.out;
    check_target(out, arguments.force, image.path())?;
    let interrupted = interrupt_flag()?;
    let half = HalfFile::beside(out);
    let shown = || out.display().to_string();
    let new = engine.create(&half.path, &arguments.target(&disk)).with_context(shown)?;
    let target = new.disk(0)?;
    let options = CopyOptions { compress: arguments.compress.is_some() };
    let bar = output::progress(disk.size());
    let done = copy(&disk, &target, options, &|bytes| bar.inc(bytes), &interrupted);
    bar.finish_and_clear();
    done.with_context(|| arguments.source.image.name())?;
    check_interrupted(&interrupted, out)?;
    target.close().with_context(shown)?;
    drop((target, new));
    if arguments.verify {
        verify(engine, arguments, &disk, &half.path, &interrupted)?;
    }
    half.persist(out)?;
    Ok(ExitCode::SUCCESS)
}

fn check_target(out: &Path, force: bool, image: &Path) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    if !out.is_file() {
        bail!("{}: it is there and is not a regular file", out.display());
    }
    if !force {
        bail!("{}: it is there; give --force to replace it", out.display());
    }
    if out.canonicalize()? == image {
        bail!("{}: it is the image itself", out.display());
    }
    Ok(())
}

fn check_interrupted(interrupted: &AtomicBool, out: &Path) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) {
        bail!("{}: interrupted; nothing is left of it", out.display());
    }
    Ok(())
}

/// Opens what was written, and compares it with what was read.
fn verify(
    engine: &Engine,
    arguments: &Arguments,
    from: &Disk,
    written: &Path,
    interrupted: &AtomicBool,
) -> Result<()> {
    let format = Some(arguments.output_format.clone());
    let image = engine.open(written, OpenOptions { format, ..OpenOptions::default() })?;
    let bar = output::progress(from.size());
    let different = first_difference(from, &image.disk(0)?, &|bytes| bar.inc(bytes), interrupted)?;
    bar.finish_and_clear();
    check_interrupted(interrupted, &arguments.out)?;
    match different {
        None => Ok(()),
        Some(offset) => bail!(
            "{}: what was written differs from {} at offset {offset} of the disk; nothing is left \
             of it",
            arguments.out.display(),
            arguments.source.image.name()
        ),
    }
}

/// The file under another name: it gets its own when it is whole.
struct HalfFile {
    path: PathBuf,
}

impl HalfFile {
    fn beside(out: &Path) -> Self {
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let id = std::process::id();
        Self { path: out.with_file_name(format!(".{name}.{id}.part")) }
    }

    fn persist(self, out: &Path) -> Result<()> {
        std::fs::rename(&self.path, out).with_context(|| out.display().to_string())
    }
}

impl Drop for HalfFile {
    fn drop(&mut self) {
        // Gone already where it was renamed.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A flag that Ctrl-C and SIGTERM set, so that the work stops and cleans up.
pub fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}
