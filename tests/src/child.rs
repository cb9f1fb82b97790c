//! Running a command within a time limit, so that no test can hang.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::peer::INSTALL;

/// How long a command may take where nothing else is said.
pub const LIMIT: Duration = Duration::from_secs(120);
/// How often a child is looked at.
const POLL: Duration = Duration::from_millis(3);

/// How a command ended, and what it printed.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed, with � for what is not text.
    pub stdout: String,
    /// What it said on stderr.
    pub stderr: String,
}

/// Commands that end in time or fail the test.
pub trait Bounded {
    /// Runs the command to its end, within `limit`.
    fn finish_within(&mut self, limit: Duration) -> Outcome;

    /// Runs it to its end, within [`LIMIT`].
    fn finish(&mut self) -> Outcome {
        self.finish_within(LIMIT)
    }

    /// Runs it; the test fails unless it succeeds.
    fn succeed(&mut self) -> Outcome;

    /// Runs it; the test fails unless it ends with `code`.
    fn end_with(&mut self, code: i32) -> Outcome;
}

impl Bounded for Command {
    fn finish_within(&mut self, limit: Duration) -> Outcome {
        let (mut stdout, mut stderr) = (scratch(), scratch());
        let handle = |file: &File| Stdio::from(file.try_clone().expect("a second handle"));
        self.stdin(Stdio::null()).stdout(handle(&stdout)).stderr(handle(&stderr));
        let mut child = start(self);
        let status = wait(&mut child, limit);
        let (stdout, stderr) = (text(&mut stdout), text(&mut stderr));
        let Some(status) = status else {
            panic!("{self:?}: no end within {limit:?}; it said:\n{stdout}{stderr}");
        };
        Outcome { code: status.code(), stdout, stderr }
    }

    fn succeed(&mut self) -> Outcome {
        self.end_with(0)
    }

    fn end_with(&mut self, code: i32) -> Outcome {
        let outcome = self.finish();
        assert_eq!(
            outcome.code,
            Some(code),
            "{self:?} said:\n{}{}",
            outcome.stdout,
            outcome.stderr
        );
        outcome
    }
}

/// Starts a command; says how to install it where it is missing.
pub fn start(command: &mut Command) -> Child {
    command
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; {INSTALL}", command.get_program().display()))
}

/// Waits for a child; kills it at the end of `limit` and answers `None`.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status);
        }
        if started.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Waits until `ready`; the test fails with `what` at the end of `limit`.
pub fn await_that(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(POLL);
    }
}

fn scratch() -> File {
    tempfile::tempfile().expect("the folder for temporary files is writable")
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a file of ours");
    String::from_utf8_lossy(&bytes).into_owned()
}
