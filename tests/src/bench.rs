//! A folder of its own for one test, and making images in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::{Bounded, Outcome};
use crate::content;
use crate::map;
use crate::peer::{fumehood, peer};

/// A folder that goes when the test ends.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// An empty folder. Its path is short: sockets lie in it.
    pub fn new() -> Self {
        let made = tempfile::Builder::new().prefix("fumehood-").tempdir();
        Self { folder: made.expect("the folder for temporary files is writable") }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a file of this name lies, or would.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Changes the byte at `offset` of a file.
    pub fn change(&self, name: &str, offset: usize, change: impl FnOnce(u8) -> u8) {
        let mut bytes = self.read(name);
        bytes[offset] = change(bytes[offset]);
        self.write(name, &bytes);
    }

    /// Size and SHA-256 of a file.
    pub fn fingerprint(&self, name: &str) -> (u64, String) {
        content::fingerprint(&self.path(name))
    }

    /// The names of what is in the folder.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).expect("our folder");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("an entry"))).collect();
        names.sort();
        names
    }

    /// The built command, in this folder.
    pub fn fumehood<T: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = T>) -> Command {
        let mut command = fumehood();
        command.current_dir(self.folder()).args(arguments);
        command
    }

    /// A foreign tool, in this folder.
    pub fn peer<T: AsRef<OsStr>>(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = T>,
    ) -> Command {
        let mut command = peer(name);
        command.current_dir(self.folder()).args(arguments);
        command
    }

    /// A qcow2 image of `size`, made with `options`.
    pub fn create_qcow2(&self, name: &str, options: &str, size: &str) {
        let arguments = ["create", "-q", "-f", "qcow2", "-o", options, name, size];
        self.peer("qemu-img", arguments).succeed();
    }

    /// Has qemu-io carry out commands on a qcow2 image. `$noise` in them stands for a
    /// file of noise, for `write -s`.
    pub fn qemu_io(&self, name: &str, commands: &[&str]) {
        if !self.path("noise").exists() {
            self.write("noise", &content::noise(1 << 20, 7));
        }
        let mut command = self.peer("qemu-io", ["-f", "qcow2"]);
        for line in commands {
            command.arg("-c").arg(line.replace("$noise", "noise"));
        }
        let outcome = command.arg(name).succeed();
        // qemu-io ends with 0 even when a command of its was refused.
        assert!(!outcome.stdout.contains("failed"), "{command:?}: {}", outcome.stdout);
    }

    /// Acquires `source` into `NAME.E01` with libewf.
    pub fn acquire(&self, source: &str, name: &str, options: &[&str]) {
        let mut command = self.peer("ewfacquire", ["-u", "-q", "-d", "sha1", "-t", name]);
        command.args(options).arg(source).succeed();
    }

    /// What the command prints about an image, as JSON.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        parse(&self.fumehood(arguments).succeed())
    }

    /// What the command prints as JSON when it has found something wrong.
    pub fn json_of_failing(&self, arguments: &[&str]) -> serde_json::Value {
        parse(&self.fumehood(arguments).end_with(1))
    }

    /// Size and hash of what `fumehood convert` makes of an image.
    pub fn converted(&self, image: &[&str]) -> (u64, String) {
        let arguments = [&["convert", "--force", "-O", "raw"], image, &["found.raw"]].concat();
        self.fumehood(arguments).succeed();
        let found = self.fingerprint("found.raw");
        fs::remove_file(self.path("found.raw")).expect("just made");
        found
    }

    /// Size and hash of what `qemu-img convert` makes of a qcow2 image.
    pub fn converted_by_qemu(&self, image: &[&str]) -> (u64, String) {
        let arguments = [&["convert", "-f", "qcow2", "-O", "raw"], image, &["expected.raw"]];
        self.peer("qemu-img", arguments.concat()).succeed();
        let expected = self.fingerprint("expected.raw");
        fs::remove_file(self.path("expected.raw")).expect("just made");
        expected
    }

    /// The test fails unless `plugin test` with these arguments finds nothing wrong; its
    /// report.
    pub fn conforms(&self, arguments: &[&str]) -> serde_json::Value {
        let mut command = self.fumehood(["plugin", "test", "--json", "--exchanges", "200"]);
        let outcome = command.args(arguments).finish_within(Duration::from_secs(120));
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
        parse(&outcome)
    }

    /// The test fails unless bytes and map of a qcow2 image are what QEMU says.
    pub fn agrees_with_qemu(&self, name: &str) {
        assert_eq!(self.converted(&[name]), self.converted_by_qemu(&[name]), "{name}");
        let arguments = ["map", "--output=json", "-f", "qcow2", name];
        let expected = map::runs(&self.peer("qemu-img", arguments).succeed().stdout);
        let found = map::runs(&self.fumehood(["map", "--json", name]).succeed().stdout);
        map::compare(name, &found, &expected);
    }
}

/// The JSON that a command printed.
pub fn parse(outcome: &Outcome) -> serde_json::Value {
    serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}", outcome.stdout))
}
