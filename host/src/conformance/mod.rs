//! The conformance kit: what a plugin is put through before it is shipped, and before it
//! is trusted. Each test says what it did in numbers, so that its report can be acted on.
//!
//! ```text
//!   knowing    what the plugin says of itself, and of bytes that are no image
//!   opening    an image opens, in bounds, and says the same of itself each time
//!   mapping    extents cover the disk and agree with themselves for any window
//!   contents   what is read has the hash it is to have
//!   scratch    losing, cutting or exchanging the scratch does no harm
//!   damage     images cut short and images with bytes exchanged do no harm
//! ```
//!
//! What the host checks for every answer (order, gaps, bounds) is checked here too, since
//! the kit reads through the host: a broken rule is an error that names it.

mod bench;
mod contents;
mod damage;
mod knowing;
mod mapping;
mod opening;
mod scratch;
mod source;

use std::path::{Path, PathBuf};

use self::bench::Bench;
pub use self::bench::TestOptions;
use crate::engine::Engine;
use crate::error::Result;

/// An image to test a plugin with.
#[derive(Debug, Clone)]
pub struct TestImage {
    /// Its main file.
    pub path: PathBuf,
    /// SHA-256 of its first disk's contents, where it is known.
    pub sha256: Option<[u8; 32]>,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it must be; what was done, in numbers.
    Passed(String),
    /// Not as it must be: what was seen, and where.
    Failed(String),
    /// It does not apply; why.
    Skipped(String),
}

/// One test's result.
#[derive(Debug, Clone)]
pub struct TestResult {
    /// The image's file name; empty for tests that need none.
    pub image: String,
    /// The test's name.
    pub test: &'static str,
    /// How it ended.
    pub outcome: Outcome,
}

/// What a test answers: what it did, or what is wrong.
pub(crate) type Verdict = std::result::Result<Outcome, String>;

/// Puts the plugin for the format `name` through all tests, each image in turn;
/// `on_result` is told of each test as it ends.
///
/// # Errors
/// [`crate::Error::NoPlugin`] or [`crate::Error::Io`] for an image that cannot be read;
/// what is wrong with the plugin is in the results.
pub fn test_plugin(
    engine: &Engine,
    name: &str,
    images: &[TestImage],
    options: &TestOptions,
    on_result: &mut dyn FnMut(&TestResult),
) -> Result<Vec<TestResult>> {
    let plugin = engine.plugin(name)?;
    let mut results = Vec::new();
    let mut add = |image: &str, test, verdict: Verdict| {
        let outcome = verdict.unwrap_or_else(Outcome::Failed);
        let result = TestResult { image: image.into(), test, outcome };
        on_result(&result);
        results.push(result);
    };
    add("", "describes itself", knowing::describes(&plugin));
    add("", "knows what is none of its images", knowing::refuses_others(&plugin, options));
    for image in images {
        let bench = Bench::new(engine, plugin.clone(), image, options)?;
        let shown = file_name(&image.path);
        let opened = opening::opens(&bench);
        let is_open = opened.is_ok();
        add(&shown, "opens in bounds", opened);
        if !is_open {
            continue;
        }
        for (test, run) in TESTS {
            add(&shown, test, run(&bench));
        }
    }
    Ok(results)
}

type Test = fn(&Bench<'_>) -> Verdict;

const TESTS: [(&str, Test); 8] = [
    ("recognises it", opening::recognises),
    ("says the same each time", opening::is_stable),
    ("extents agree for any window", mapping::agrees),
    ("reads the same in any order", contents::reads_alike),
    ("holds what it is to hold", contents::has_hash),
    ("scratch may be lost or wrong", scratch::survives),
    ("cut short does no harm", damage::cut_short),
    ("bytes exchanged do no harm", damage::exchanged),
];

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
