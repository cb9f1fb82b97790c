//! What all subcommands print alike: errors, sizes, tables, JSON, progress.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;

use anyhow::Result;
use fumehood::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Prints `fumehood: WHAT: why: and why that`.
pub fn error(error: &anyhow::Error) {
    let mut said = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Libraries often repeat their cause; say everything once.
        if !said.contains(&text) {
            if !said.is_empty() {
                said.push_str(": ");
            }
            said.push_str(&text);
        }
    }
    eprintln!("fumehood: {}", printable(&said));
}

/// Text out of an image, without anything that could steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Prints a value as JSON, indented, with a newline at the end.
///
/// JSON lets the C1 controls through as they are, and some terminals obey them; they
/// are escaped here, which means the same.
pub fn json(value: &impl Serialize) -> Result<()> {
    let mut escaped = String::new();
    for c in serde_json::to_string_pretty(value)?.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => write!(escaped, "\\u{:04x}", u32::from(c))?,
            c => escaped.push(c),
        }
    }
    writeln!(std::io::stdout().lock(), "{escaped}")?;
    Ok(())
}

/// A size for people: "4 GiB (4294967296 bytes)".
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} bytes"),
        _ if value.fract() == 0.0 => format!("{value} {} ({bytes} bytes)", UNITS[unit]),
        _ => format!("{value:.1} {} ({bytes} bytes)", UNITS[unit]),
    }
}

/// A line "name: value", aligned with its like.
pub fn field(name: &str, value: &str) {
    line(&format!("{:<21} {}", format!("{}:", printable(name)), printable(value)));
}

/// Prints a line; ends the command in silence where no one reads any more.
pub fn line(text: &str) {
    if writeln!(std::io::stdout().lock(), "{text}").is_err() {
        std::process::exit(1);
    }
}

/// A progress bar of `length` bytes on a terminal's stderr; silent in a pipe.
pub fn progress(length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:40} {percent}% {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Shows on a terminal's stderr how far a plugin has come that must read much of the
/// image `name` before it can be opened.
pub fn preparation(name: &str) -> Progress {
    let bar = ProgressBar::hidden();
    let shown = std::io::stderr().is_terminal();
    let template = "reading {msg} {bar:40} {percent}%, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(printable(name));
    let show = move |done: u64, total: u64| {
        if shown && bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.set_length(total);
        bar.set_position(done);
        true
    };
    Progress(Arc::new(show))
}
