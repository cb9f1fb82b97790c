//! `fumehood create`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use fumehood::{CreateOptions, Engine, OpenOptions};

use super::key::KeyArguments;
use super::{setting, size};

#[derive(clap::Args)]
pub struct Arguments {
    /// The file to make; nothing must be there.
    file: PathBuf,
    /// Size of its disk, with K, M, G or T; that of the parent where it is not given.
    #[arg(value_parser = size)]
    size: Option<u64>,
    /// The format to write.
    #[arg(short = 'O', long, value_name = "FORMAT")]
    output_format: String,
    /// Make an overlay on this image.
    #[arg(long, value_name = "IMAGE")]
    parent: Option<PathBuf>,
    /// The parent's format; recognised where it is not given, except for raw disks.
    #[arg(long, value_name = "FORMAT")]
    parent_format: Option<String>,
    /// Which disk of the parent.
    #[arg(long, default_value_t = 0, value_name = "N")]
    disk: u32,
    /// Let the parent refer to files in this folder, or to this file.
    #[arg(long, value_name = "PATH")]
    allow: Vec<PathBuf>,
    #[command(flatten)]
    keys: KeyArguments,
    /// A setting of the format's plugin.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    let format = arguments.output_format.as_str();
    let mut options = match (&arguments.parent, arguments.size) {
        (Some(parent), _) => {
            let shown = || parent.display().to_string();
            let options = OpenOptions {
                format: arguments.parent_format.clone(),
                allow: arguments.allow.clone(),
                keys: arguments.keys.read()?,
                ..OpenOptions::default()
            };
            let image = engine.open(parent, options).with_context(shown)?;
            CreateOptions::on(format, &image, arguments.disk).with_context(shown)?
        }
        (None, Some(size)) => CreateOptions::new(format, size),
        (None, None) => bail!("how large is it to be? Give a size, or a --parent"),
    };
    options.size = arguments.size.unwrap_or(options.size);
    options.settings = arguments.settings.clone();
    let image = engine.create(&arguments.file, &options);
    let image = image.with_context(|| arguments.file.display().to_string())?;
    image.disk(0)?.close()?;
    Ok(ExitCode::SUCCESS)
}
