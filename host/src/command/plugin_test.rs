//! `fumehood plugin test`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use fumehood::conformance::{Outcome, TestImage, TestOptions, TestResult, test_plugin};
use fumehood::{Engine, EngineOptions, OpenOptions};
use serde::Serialize;

use super::key::KeyArguments;
use super::{output, setting};

/// Tests without an image show little: give images, small ones, and what they hold.
#[derive(clap::Args)]
pub struct Arguments {
    /// The plugin: a .wasm file, or the name of one that is built in.
    file: PathBuf,
    /// An image to test it with; may be given more than once.
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// SHA-256 of the first disk of the image, in the order of the images; - where it is
    /// not known.
    #[arg(long, value_name = "HEX")]
    sha256: Vec<String>,
    /// How many images with exchanged bytes are tried.
    #[arg(long, default_value_t = 2000, value_name = "N")]
    exchanges: u32,
    /// What random choices begin from.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Let the images refer to files in this folder, or to this file.
    #[arg(long, value_name = "PATH")]
    allow: Vec<PathBuf>,
    #[command(flatten)]
    keys: KeyArguments,
    /// A setting of the plugin.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The shape of `plugin test --json`; documented in `host/COMMAND.md`.
#[derive(Serialize)]
struct Report {
    plugin: String,
    passed: bool,
    tests: Vec<TestReport>,
}

#[derive(Serialize)]
struct TestReport {
    image: String,
    test: &'static str,
    outcome: &'static str,
    what: String,
}

impl TestReport {
    fn of(result: &TestResult) -> Self {
        let (outcome, what) = match &result.outcome {
            Outcome::Passed(what) => ("passed", what),
            Outcome::Failed(what) => ("failed", what),
            Outcome::Skipped(what) => ("skipped", what),
        };
        let image = output::printable(&result.image);
        Self { image, test: result.test, outcome, what: output::printable(what) }
    }
}

/// 0 if every test passed, 1 otherwise.
pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    let (engine, name) = plugin(engine, arguments)?;
    let open = OpenOptions {
        allow: arguments.allow.clone(),
        settings: arguments.settings.clone(),
        keys: arguments.keys.read()?,
        ..OpenOptions::default()
    };
    let options = TestOptions {
        exchanges: arguments.exchanges,
        seed: arguments.seed,
        open,
        ..TestOptions::default()
    };
    let images = images(arguments)?;
    let mut shown = String::new();
    let mut show = |result: &TestResult| {
        if !arguments.json {
            print(&TestReport::of(result), &mut shown);
        }
    };
    let results = test_plugin(&engine, &name, &images, &options, &mut show)?;
    let failed = results.iter().filter(|one| matches!(one.outcome, Outcome::Failed(_))).count();
    if arguments.json {
        let tests = results.iter().map(TestReport::of).collect();
        output::json(&Report { plugin: name, passed: failed == 0, tests })?;
    } else if failed > 0 {
        output::line(&format!("{failed} of {} tests failed", results.len()));
    } else {
        let hint = if images.is_empty() { "; give images to test more" } else { "" };
        output::line(&format!("no test failed{hint}"));
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An engine that has the plugin, and the plugin's name.
fn plugin(engine: &Engine, arguments: &Arguments) -> Result<(Engine, String)> {
    let path = &arguments.file;
    let name = path.to_string_lossy().into_owned();
    if !path.exists() && engine.plugin(&name).is_ok() {
        return Ok((engine.clone(), name));
    }
    let inspected = engine.inspect(path).with_context(|| path.display().to_string())?;
    let options = EngineOptions { plugins: vec![path.clone()], ..EngineOptions::default() };
    Ok((Engine::with(options)?, inspected.plugin.name().to_owned()))
}

fn images(arguments: &Arguments) -> Result<Vec<TestImage>> {
    let (count, hashes) = (arguments.image.len(), &arguments.sha256);
    if hashes.len() > count {
        bail!("{} hashes are given for {count} images", hashes.len());
    }
    let hash = |number: usize| match hashes.get(number).map(String::as_str) {
        None | Some("-") => Ok(None),
        Some(text) => parse(text).map(Some),
    };
    let images = arguments.image.iter().enumerate();
    images
        .map(|(number, path)| Ok(TestImage { path: path.clone(), sha256: hash(number)? }))
        .collect()
}

fn parse(text: &str) -> Result<[u8; 32]> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex {
        bail!("{text:?} is not a SHA-256 in hexadecimal");
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(0..32) {
        *byte = u8::from_str_radix(&text[2 * digits..2 * digits + 2], 16)?;
    }
    Ok(bytes)
}

fn print(report: &TestReport, shown: &mut String) {
    if report.image != *shown {
        output::line(&report.image);
        shown.clone_from(&report.image);
    }
    output::line(&format!("  {:<8} {:<34} {}", report.outcome, report.test, report.what));
}
