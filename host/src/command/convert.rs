//! `fumehood convert`.

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use fumehood::{Disk, Engine};

use super::{ImageArguments, output};

/// Bytes that one thread copies in one step.
const STEP: u64 = 2 << 20;
/// Zeroes are left out in units of this many bytes.
const SPARSE_UNIT: usize = 4096;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    image: ImageArguments,
    /// The file to write.
    out: PathBuf,
    /// The format to write: raw.
    #[arg(short = 'O', long, value_name = "FORMAT")]
    output_format: String,
    /// Which disk of the image.
    #[arg(long, default_value_t = 0, value_name = "N")]
    disk: u32,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
}

pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    if arguments.output_format != "raw" {
        bail!("cannot write format {}; the formats to write are: raw", arguments.output_format);
    }
    let image = arguments.image.open(engine)?;
    let disk = image.disk(arguments.disk).with_context(|| arguments.image.name())?;
    let out = &arguments.out;
    if out.exists() {
        if !out.is_file() {
            bail!("{}: it is there and is not a regular file", out.display());
        }
        if !arguments.force {
            bail!("{}: it is there; give --force to replace it", out.display());
        }
        if out.canonicalize()? == image.path() {
            bail!("{}: it is the image itself", out.display());
        }
    }
    let interrupted = interrupt_flag()?;
    let file = half_file(out).with_context(|| format!("{}: cannot be made", out.display()))?;
    file.as_file().set_len(disk.size()).with_context(|| out.display().to_string())?;
    copy(&disk, file.as_file(), &interrupted).with_context(|| arguments.image.name())?;
    if interrupted.load(Ordering::Relaxed) {
        bail!("{}: interrupted; nothing is left of it", out.display());
    }
    file.as_file().sync_data()?;
    file.persist(out).with_context(|| out.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// The file under another name: it gets its own when it is whole.
fn half_file(out: &Path) -> Result<tempfile::NamedTempFile> {
    let folder = match out.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // As any new file: the user's umask takes away what it should.
    builder.permissions(std::fs::Permissions::from_mode(0o666));
    builder.prefix(".fumehood-").suffix(".part");
    Ok(builder.tempfile_in(folder)?)
}

/// A flag that Ctrl-C and SIGTERM set, so that the work stops and cleans up.
pub fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}

/// Copies the disk with as many threads as there are processors; zeroes are skipped.
fn copy(disk: &Disk, out: &File, interrupted: &AtomicBool) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    let bar = output::progress(disk.size());
    let work = || {
        let mut buffer = vec![0; STEP as usize];
        loop {
            let offset = next.fetch_add(STEP, Ordering::Relaxed);
            if offset >= disk.size() || interrupted.load(Ordering::Relaxed) {
                return Ok(());
            }
            let length = STEP.min(disk.size() - offset);
            copy_step(disk, out, offset, &mut buffer[..length as usize])?;
            bar.inc(length);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let result: Result<()> = work();
                if let Err(error) = result {
                    next.store(u64::MAX / 2, Ordering::Relaxed);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    bar.finish_and_clear();
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Copies one step, but for what is known to be zero or turns out to be.
fn copy_step(disk: &Disk, out: &File, offset: u64, buffer: &mut [u8]) -> Result<()> {
    let end = offset + buffer.len() as u64;
    let mut at = offset;
    while at < end {
        let pieces = disk.extents(at, end - at)?;
        let Some(last) = pieces.last() else { bail!("no extents at offset {at}") };
        let stop = last.offset + last.length;
        if pieces.iter().any(|piece| !piece.kind.is_zero()) {
            let part = &mut buffer[..(stop - at) as usize];
            disk.read_at(part, at)?;
            write_sparse(out, part, at)?;
        }
        at = stop;
    }
    Ok(())
}

/// Writes the runs of `bytes` that are not zero.
fn write_sparse(out: &File, bytes: &[u8], offset: u64) -> Result<()> {
    let mut start = None;
    for (index, unit) in bytes.chunks(SPARSE_UNIT).enumerate() {
        let at = index * SPARSE_UNIT;
        match (is_zero(unit), start) {
            (true, Some(from)) => {
                out.write_all_at(&bytes[from..at], offset + from as u64)?;
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    if let Some(from) = start {
        out.write_all_at(&bytes[from..], offset + from as u64)?;
    }
    Ok(())
}

fn is_zero(unit: &[u8]) -> bool {
    // Sixteen bytes at a time: the compiler makes vector code of it.
    let (chunks, rest) = unit.as_chunks::<16>();
    chunks.iter().all(|chunk| u128::from_ne_bytes(*chunk) == 0)
        && rest.iter().all(|byte| *byte == 0)
}
