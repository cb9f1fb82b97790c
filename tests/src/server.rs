//! A running `fumehood serve`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::Bench;
use crate::child::{self, await_that};

/// How long the server may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is killed when the test ends.
pub struct Server {
    child: Child,
    uri: String,
    socket: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Serves an image, given with its options, on a Unix socket in the bench.
    pub fn unix(bench: &Bench, image: &[&str]) -> Self {
        let socket = bench.path("nbd.sock");
        Self::start(bench, image, &format!("unix:{}", socket.display()))
    }

    /// Serves an image on a TCP port that the system chooses.
    pub fn tcp(bench: &Bench, image: &[&str]) -> Self {
        Self::start(bench, image, "tcp:127.0.0.1:0")
    }

    fn start(bench: &Bench, image: &[&str], address: &str) -> Self {
        let mut command = bench.fumehood(["serve", "--nbd", address]);
        command.args(image);
        Self::run(bench, &mut command)
    }

    /// Runs a command that serves on `nbd.sock`, or says where.
    pub fn run(bench: &Bench, command: &mut Command) -> Self {
        let log = bench.path("server.log");
        let file = File::create(&log).expect("our folder");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = child::start(command);
        let mut server = Self { child, uri: String::new(), socket: bench.path("nbd.sock"), log };
        await_that("the server listens", PATIENCE, || {
            assert!(server.is_alive(), "the server ended: {}", server.log());
            let said = server.log();
            let line = said.lines().find_map(|line| line.rsplit_once(" at nbd"));
            server.uri = line.map(|(_, rest)| format!("nbd{rest}")).unwrap_or_default();
            !server.uri.is_empty() && said.ends_with('\n')
        });
        server
    }

    /// Where clients find it.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Its Unix socket.
    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_none()
    }

    /// Bytes of memory that it has in use (VmRSS), and the most it ever had (VmHWM).
    pub fn memory(&self) -> (u64, u64) {
        memory(&self.child.id().to_string())
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        tasks.map_or(0, Iterator::count)
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the child is ours");
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        child::wait(&mut self.child, PATIENCE)
            .unwrap_or_else(|| panic!("the server did not end: {}", self.log()))
    }
}

/// Bytes of memory that a process (a number, or `self`) has in use (VmRSS), and the
/// most it ever had (VmHWM).
pub fn memory(process: &str) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the process runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kibibytes.map_or(0, |count: u64| count << 10)
    };
    (field("VmRSS:"), field("VmHWM:"))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
