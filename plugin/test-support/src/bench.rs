//! A directory of its own for one test.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::tool;

/// A directory of its own for one test, removed at the end.
pub struct Bench {
    directory: PathBuf,
}

impl Bench {
    /// A new one; no two tests of a program give the same name.
    pub fn new(name: &str) -> Self {
        let own = format!("fumehood-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(own);
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    /// Where a file in it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// As [`Bench::path`], as text: for the arguments of tools.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().into()
    }

    /// The bytes of a file in it.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Puts a file into it.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// What a tool writes to its standard output, run in the directory. It must succeed.
    pub fn output(&self, tool: &str, arguments: &[&str]) -> Vec<u8> {
        tool::output(Command::new(tool).args(arguments).current_dir(&self.directory))
    }

    /// As [`Bench::output`], as text.
    pub fn run(&self, tool: &str, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.output(tool, arguments)).into_owned()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
