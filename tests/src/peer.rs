//! Foreign tools, and the built `fumehood`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::child;

/// What to do where a tool is missing.
pub const INSTALL: &str = "tests/run installs what the tests need";

/// A foreign tool, by its command's name.
pub fn peer(name: &str) -> Command {
    let mut command = Command::new(name);
    // Messages are compared, and system tools lie where users have no path to.
    let path = env::var("PATH").unwrap_or_default();
    command.env("LC_ALL", "C").env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// The built command. Compiled plugins are kept apart from the user's own.
pub fn fumehood() -> Command {
    let mut command = Command::new(binary());
    command.env("XDG_CACHE_HOME", cache()).env_remove("RUST_LOG");
    command
}

/// Where the command keeps compiled plugins during tests.
pub fn cache() -> PathBuf {
    target().join("tests/cache")
}

/// The folder of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the project")
}

/// The folder that everything is built in.
pub fn target() -> &'static Path {
    profile().parent().expect("cargo's layout")
}

/// `target/debug`, or as the profile is called: two above `deps/TEST`.
fn profile() -> &'static Path {
    static PROFILE: OnceLock<PathBuf> = OnceLock::new();
    PROFILE.get_or_init(|| {
        let this = env::current_exe().expect("this test's own path");
        this.ancestors().nth(2).expect("cargo's layout").to_owned()
    })
}

/// The command's file, built once for each test program.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        // The whole workspace decides on features, as when the tests were built.
        build.current_dir(root()).args(["build", "--quiet", "--workspace", "--bin", "fumehood"]);
        build.arg("--target-dir").arg(target());
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = child::start(&mut build).wait().expect("cargo is ours");
        assert!(status.success(), "{build:?}: {status}");
        profile().join("fumehood")
    })
}
