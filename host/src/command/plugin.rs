//! `fumehood plugin`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use fumehood::core::Plugin;
use fumehood::{Engine, PluginFile};
use serde::Serialize;

use super::{output, plugin_test};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the formats that can be opened.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what a plugin is and what it may touch, without opening anything with it.
    Inspect {
        /// The plugin: a .wasm file.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a plugin through the conformance tests.
    Test(plugin_test::Arguments),
    /// Compile a plugin ahead of time, for hosts without a compiler.
    Compile {
        /// The plugin: a .wasm file.
        file: PathBuf,
        /// The file to write.
        out: PathBuf,
        /// The machine to compile for, as a target triple; `pulley64` for the
        /// portable interpreter. This machine where it is not given.
        #[arg(long)]
        target: Option<String>,
    },
}

/// The shape of `plugin list --json`; documented in `host/COMMAND.md`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    name: String,
    title: String,
    version: String,
    extensions: Vec<String>,
    folder_entry: Option<String>,
    can_write: bool,
    can_create: bool,
}

impl Report {
    fn of(plugin: &Plugin) -> Self {
        let description = plugin.description();
        Self {
            name: description.name.clone(),
            title: output::printable(&description.title),
            version: output::printable(&description.version),
            extensions: description.extensions.clone(),
            folder_entry: description.folder_entry.as_deref().map(output::printable),
            can_write: description.can_write,
            can_create: description.can_create,
        }
    }

    fn abilities(&self) -> &'static str {
        match (self.can_write, self.can_create) {
            (true, true) => "read, write, create",
            (true, false) => "read, write",
            (false, true) => "read, create",
            (false, false) => "read",
        }
    }
}

/// The shape of `plugin inspect --json`.
#[derive(Serialize)]
struct Inspection {
    file: String,
    blake3: String,
    contract: String,
    imports: Vec<String>,
    exports: Vec<String>,
    #[serde(flatten)]
    plugin: Report,
}

pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::List { json } => list(engine, *json)?,
        Command::Inspect { file, json } => inspect(engine, file, *json)?,
        Command::Test(arguments) => return plugin_test::run(engine, arguments),
        Command::Compile { file, out, target } => {
            let compiled = fumehood::precompile(file, target.as_deref())?;
            std::fs::write(out, compiled).with_context(|| out.display().to_string())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(engine: &Engine, json: bool) -> Result<()> {
    let plugins: Vec<_> = engine.plugins()?.iter().map(|plugin| Report::of(plugin)).collect();
    if json {
        return output::json(&plugins);
    }
    for plugin in plugins {
        let Report { name, title, version, .. } = &plugin;
        println!("{name:<16}{version:<9}{:<21}{title}", plugin.abilities());
    }
    Ok(())
}

fn inspect(engine: &Engine, file: &Path, json: bool) -> Result<()> {
    let PluginFile { plugin, blake3, imports, exports } =
        engine.inspect(file).with_context(|| file.display().to_string())?;
    let inspection = Inspection {
        file: file.display().to_string(),
        blake3,
        contract: format!("fumehood:disk@{}", fumehood::core::contract::VERSION),
        imports,
        exports,
        plugin: Report::of(&plugin),
    };
    if json {
        return output::json(&inspection);
    }
    output::field("file", &inspection.file);
    output::field("blake3", &inspection.blake3);
    output::field("format", &format!("{} ({})", inspection.plugin.name, inspection.plugin.title));
    output::field("version", &inspection.plugin.version);
    output::field("can", inspection.plugin.abilities());
    output::field("extensions", &inspection.plugin.extensions.join(", "));
    output::field("contract", &inspection.contract);
    for import in &inspection.imports {
        output::field("may call", import);
    }
    for export in &inspection.exports {
        output::field("offers", export);
    }
    println!("It sees the image it is asked to open, what that names within the operator's");
    println!("grants, and a private scratch file; no other file, no network, no clock.");
    Ok(())
}
