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

/// The command's file.
pub fn binary() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built().join("fumehood"))
}

/// The example that reads an image with the core alone.
pub fn embed_core() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built().join("embed-core"))
}

/// A first-party plugin as the host's build left it.
pub fn plugin(format: &str) -> PathBuf {
    target().join(format!("plugin/wasm32-unknown-unknown/release/fumehood_{format}.wasm"))
}

/// The folder of the programs, which are built once for each test program.
fn built() -> &'static Path {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        // The whole workspace decides on features, as when the tests were built. The
        // example alone would decide on others, and everything be compiled again.
        build.current_dir(root()).args(["build", "--quiet", "--workspace", "--bin", "fumehood"]);
        build.args(["--bin", "embed-core", "--features", "embed-core/std"]);
        build.arg("--target-dir").arg(target());
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = child::start(&mut build).wait().expect("cargo is ours");
        assert!(status.success(), "{build:?}: {status}");
    });
    profile()
}
