//! `fumehood probe`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use fumehood::Engine;
use fumehood::core::contract::format::Confidence;
use serde::Serialize;

use super::output;

#[derive(clap::Args)]
pub struct Arguments {
    /// The image: a path.
    image: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer {
    format: String,
    title: String,
    confidence: &'static str,
}

/// 0 if a plugin is certain, 1 otherwise.
pub fn run(engine: &Engine, arguments: &Arguments) -> Result<ExitCode> {
    let answers = engine.probe(&arguments.image).context(arguments.image.display().to_string())?;
    let certain = answers.iter().any(|(_, confidence)| *confidence == Confidence::Certain);
    let answers: Vec<_> = answers
        .iter()
        .map(|(plugin, confidence)| Answer {
            format: plugin.name().into(),
            title: output::printable(&plugin.description().title),
            confidence: match confidence {
                Confidence::No => "no",
                Confidence::Maybe => "maybe",
                Confidence::Certain => "certain",
            },
        })
        .collect();
    if arguments.json {
        output::json(&answers)?;
    } else {
        for answer in answers {
            println!("{:<10}{:<10}{}", answer.confidence, answer.format, answer.title);
        }
    }
    Ok(if certain { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
