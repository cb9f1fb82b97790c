//! `fumehood overlay`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use fumehood::core::Access;
use fumehood::{Engine, OpenOptions, control, overlay};
use serde_json::{Value, json};

use super::convert::{self, interrupt_flag};
use super::key::KeyArguments;
use super::{ImageArguments, output, size};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Freeze the top as it is, and start an empty overlay above it, while it is served.
    New(Overlay),
    /// Show the layers: their sizes, and what each of them holds.
    List {
        #[command(flatten)]
        overlay: Overlay,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write what the top holds into the layer below, which then takes its name.
    Commit {
        #[command(flatten)]
        overlay: Overlay,
        /// So many layers, one after the other.
        #[arg(long, default_value_t = 1, value_name = "N")]
        layers: u32,
    },
    /// Forget what the top holds.
    Discard(Overlay),
    /// Put an overlay on another parent; its contents stay the same.
    Rebase {
        #[command(flatten)]
        overlay: Overlay,
        /// The new parent.
        #[arg(long, value_name = "IMAGE")]
        parent: PathBuf,
        /// The new parent's format; recognised where it is not given, except for raw.
        #[arg(long, value_name = "FORMAT")]
        new_format: Option<String>,
        /// The new parent holds the same as the old one (it was moved, say): only
        /// record it.
        #[arg(long)]
        only_record: bool,
    },
    /// Grow or shrink the disk; clients that connect from then on see it.
    Resize {
        #[command(flatten)]
        overlay: Overlay,
        /// The new size, with K, M, G or T.
        #[arg(value_parser = size)]
        size: u64,
    },
    /// Write the whole chain into an image that stands alone.
    Flatten(convert::Arguments),
}

/// An overlay, and what its chain may need.
#[derive(clap::Args)]
struct Overlay {
    /// The overlay on top.
    overlay: PathBuf,
    /// Let it refer to files in this folder, or to this file.
    #[arg(long, value_name = "PATH")]
    allow: Vec<PathBuf>,
    #[command(flatten)]
    keys: KeyArguments,
}

impl Overlay {
    fn options(&self) -> Result<OpenOptions> {
        let (allow, keys) = (self.allow.clone(), self.keys.read()?);
        Ok(OpenOptions { allow, keys, ..OpenOptions::default() })
    }

    fn name(&self) -> String {
        self.overlay.display().to_string()
    }
}

pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::New(overlay) => new(engine, overlay).with_context(|| overlay.name())?,
        Command::List { overlay, json } => {
            list(engine, overlay, *json).with_context(|| overlay.name())?;
        }
        Command::Commit { overlay, layers } => {
            commit(engine, overlay, *layers).with_context(|| overlay.name())?;
        }
        Command::Discard(overlay) => {
            overlay::discard(engine, &overlay.overlay, overlay.options()?)
                .with_context(|| overlay.name())?;
        }
        Command::Rebase { overlay, parent, new_format, only_record } => {
            rebase(engine, overlay, parent, new_format.clone(), *only_record)
                .with_context(|| overlay.name())?;
        }
        Command::Resize { overlay, size } => {
            resize(engine, overlay, *size).with_context(|| overlay.name())?;
        }
        Command::Flatten(arguments) => return convert::run(engine, arguments),
    }
    Ok(ExitCode::SUCCESS)
}

/// By the process that serves it; where none does, here.
fn new(engine: &Engine, overlay: &Overlay) -> Result<()> {
    let frozen = match control::call(&overlay.overlay, "overlay.new", &Value::Null)? {
        Some(answer) => answer["frozen"].as_str().unwrap_or_default().to_owned(),
        None => {
            let frozen = overlay::push(engine, &overlay.overlay, overlay.options()?)?;
            frozen.display().to_string()
        }
    };
    output::line(&frozen);
    Ok(())
}

fn resize(engine: &Engine, overlay: &Overlay, size: u64) -> Result<()> {
    if control::call(&overlay.overlay, "resize", &json!({ "size": size }))?.is_some() {
        return Ok(());
    }
    let options = OpenOptions { access: Access::ReadWrite, ..overlay.options()? };
    let disk = engine.open(&overlay.overlay, options)?.disk(0)?;
    disk.resize(size)?;
    Ok(disk.close()?)
}

fn list(engine: &Engine, overlay: &Overlay, as_json: bool) -> Result<()> {
    let layers = match control::call(&overlay.overlay, "overlay.list", &Value::Null)? {
        Some(layers) => layers,
        None => {
            let image = engine.open(&overlay.overlay, overlay.options()?)?;
            overlay::layers(&image.disk(0)?)?.iter().map(control::layer).collect()
        }
    };
    if as_json {
        return output::json(&json!({ "layers": layers }));
    }
    for layer in layers.as_array().into_iter().flatten() {
        let number = |name: &str| output::size(layer[name].as_u64().unwrap_or_default());
        let text = |name: &str| layer[name].as_str().unwrap_or_default().to_owned();
        output::field("layer", &text("path"));
        output::field("  format", &text("format"));
        output::field("  disk", &number("disk-size"));
        output::field("  on storage", &number("allocated"));
        output::field("  holds", &number("data"));
        output::field("  says zero", &number("zero"));
    }
    Ok(())
}

fn commit(engine: &Engine, overlay: &Overlay, layers: u32) -> Result<()> {
    let (interrupted, options) = (interrupt_flag()?, overlay.options()?);
    let path = &overlay.overlay;
    for _ in 0..layers {
        let bar = output::progress(disk_size(engine, path, options.clone())?);
        let progress = |bytes| bar.inc(bytes);
        let done = overlay::merge(engine, path, options.clone(), &progress, &interrupted);
        bar.finish_and_clear();
        done?;
    }
    Ok(())
}

fn rebase(
    engine: &Engine,
    overlay: &Overlay,
    parent: &Path,
    format: Option<String>,
    only_record: bool,
) -> Result<()> {
    let (interrupted, options) = (interrupt_flag()?, overlay.options()?);
    let of_parent = OpenOptions { format, ..options.clone() };
    let parent = engine.open(parent, of_parent).with_context(|| parent.display().to_string())?;
    let bar = output::progress(parent.disks().first().map_or(0, |disk| disk.size));
    let done = overlay::rebase(
        engine,
        &overlay.overlay,
        &parent,
        only_record,
        options,
        &|bytes| bar.inc(bytes),
        &interrupted,
    );
    bar.finish_and_clear();
    Ok(done?)
}

fn disk_size(engine: &Engine, path: &Path, options: OpenOptions) -> Result<u64> {
    let image = engine.open(path, options)?;
    match image.disks().first() {
        Some(disk) => Ok(disk.size),
        None => bail!("it holds no disks"),
    }
}

/// `fumehood compact`.
#[derive(clap::Args)]
pub struct Compact {
    #[command(flatten)]
    image: ImageArguments,
}

pub fn compact(engine: &Engine, arguments: &Compact) -> Result<ExitCode> {
    let interrupted = interrupt_flag()?;
    let options = arguments.image.options()?;
    let image = arguments.image.open(engine)?;
    let bar = output::progress(image.disks().first().map_or(0, |disk| disk.size));
    drop(image);
    let path = &arguments.image.image;
    let done = overlay::compact(engine, path, options, &|bytes| bar.inc(bytes), &interrupted);
    bar.finish_and_clear();
    done.with_context(|| arguments.image.name())?;
    Ok(ExitCode::SUCCESS)
}
