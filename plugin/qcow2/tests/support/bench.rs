//! A directory of its own for a test, and QEMU's tools in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// What `qemu-img check` says of an image.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// Clusters are counted and not used; nothing else is wrong.
    Leaks(String),
    /// Anything else.
    Wrong(String),
}

/// A directory, removed at the end.
pub struct Bench {
    directory: PathBuf,
}

impl Bench {
    /// A new directory, named after the test.
    pub fn new(name: &str) -> Self {
        for tool in ["qemu-img", "qemu-io"] {
            let found = Command::new(tool).arg("--version").output().is_ok();
            assert!(found, "{tool} is missing: apt-get install qemu-utils");
        }
        let directory =
            std::env::temp_dir().join(format!("fumehood-qcow2-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The bytes of a file in it.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn output(&self, tool: &str, arguments: &[&str]) -> Output {
        Command::new(tool).args(arguments).current_dir(&self.directory).output().unwrap()
    }

    /// Runs a tool in it, which must succeed; its standard output.
    pub fn run(&self, tool: &str, arguments: &[&str]) -> String {
        let output = self.output(tool, arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool} {arguments:?}: {text}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs commands of `qemu-io` on an image.
    pub fn write(&self, name: &str, commands: &[&str]) {
        let mut arguments = vec!["-f", "qcow2"];
        commands.iter().for_each(|command| arguments.extend(["-c", command]));
        arguments.push(name);
        self.run("qemu-io", &arguments);
    }

    /// What `qemu-img check` says of an image.
    pub fn check(&self, name: &str) -> Verdict {
        let output = self.output("qemu-img", &["check", "-f", "qcow2", name]);
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        match output.status.code() {
            Some(0) => Verdict::Sound,
            Some(3) => Verdict::Leaks(text),
            _ => Verdict::Wrong(text),
        }
    }

    /// The disk of an image, as `qemu-img convert` reads it.
    pub fn raw(&self, name: &str) -> Vec<u8> {
        self.run("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", name, "read.raw"]);
        self.bytes("read.raw")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
