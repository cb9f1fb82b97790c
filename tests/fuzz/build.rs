//! Takes the host's exports without the one module that needs the rest of the host,
//! so that fuzzing the NBD server does not mean building the sandbox.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let folder = here.join("../../host/src/export");
    println!("cargo::rerun-if-changed={}", folder.display());
    let text = fs::read_to_string(folder.join("mod.rs")).expect("the host's exports");
    let kept = text.lines().filter_map(|line| match line {
        "mod disk;" | "pub use disk::DiskExport;" => None,
        "mod error;" => Some(module("mod error;", folder.join("error.rs"))),
        "pub mod nbd;" => Some(module("pub mod nbd;", folder.join("nbd/mod.rs"))),
        line if line.starts_with("//!") => None,
        line => Some(line.to_owned()),
    });
    let kept: Vec<String> = kept.collect();
    fs::write(out.join("export.rs"), kept.join("\n")).expect("OUT_DIR is writable");
}

fn module(line: &str, path: PathBuf) -> String {
    let path = path.canonicalize().expect("a module of the host");
    format!("#[path = {:?}]\n{line}", path.display().to_string())
}
