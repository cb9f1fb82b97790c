//! Builds the first-party plugins and the decoder for Wasm, so that `cargo build` is
//! the whole build, and writes the table that embeds the plugins in the library.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";
/// First-party formats, in the order in which they are asked.
const FORMATS: [&str; 23] = [
    "qcow2",
    "vhdx",
    "vmdk",
    "vhd",
    "vdi",
    "parallels",
    "qed",
    "qcow",
    "vma",
    "xva",
    "pbs",
    "mrimgx",
    "vbk",
    "partclone",
    "clonezilla",
    "ewf",
    "aff4",
    "dmg",
    "asif",
    "android-sparse",
    "ova",
    "compressed",
    "raw",
];
/// The module that decodes what the host does not decode natively.
const DECODER: &str = "decoder";

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let root = manifest.parent().expect("the host lies in the project");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    println!("cargo::rerun-if-changed={}", root.join("plugin").display());
    println!("cargo::rerun-if-changed={}", root.join("wit").display());

    require_target();
    let target_dir = plugin_target_dir(&out);
    build(&root.join("plugin"), &target_dir);

    let built = target_dir.join(TARGET).join("release");
    let mut table = String::from("&[\n");
    for format in FORMATS {
        let kept = keep(&built, &out, format);
        writeln!(table, "    ({format:?}, include_bytes!({:?})),", kept.display())
            .expect("a string");
    }
    table.push_str("]\n");
    fs::write(out.join("plugins.rs"), table).expect("OUT_DIR is writable");
    keep(&built, &out, DECODER);
}

/// Copies a module from where it was built to where it is included from.
fn keep(built: &Path, out: &Path, name: &str) -> PathBuf {
    let module = built.join(format!("fumehood_{}.wasm", name.replace('-', "_")));
    let kept = out.join(format!("{name}.wasm"));
    fs::copy(&module, &kept)
        .unwrap_or_else(|error| fail(&format!("{}: {error}", module.display())));
    kept
}

/// Stops with the one command that adds the Wasm target where it is missing.
fn require_target() {
    let rustc = env::var_os("RUSTC").expect("set by cargo");
    let found = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let present = found.is_ok_and(|output| {
        output.status.success()
            && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    });
    if !present {
        fail(&format!(
            "the plugins are built for {TARGET}, which this toolchain lacks. Add it with:\n\n    \
             rustup target add {TARGET}\n"
        ));
    }
}

/// `target/plugin` beside the profile's own folder: one build of the plugins
/// serves every profile of the host.
fn plugin_target_dir(out: &Path) -> PathBuf {
    match out.ancestors().nth(4) {
        Some(target) => target.join("plugin"),
        None => out.join("plugin"),
    }
}

fn build(workspace: &Path, target_dir: &Path) {
    let cargo = env::var_os("CARGO").expect("set by cargo");
    let mut command = Command::new(cargo);
    command.current_dir(workspace);
    command.args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"]);
    command.arg(target_dir);
    for name in FORMATS.into_iter().chain([DECODER]) {
        command.args(["-p", &format!("fumehood-{name}")]);
    }
    // Flags and wrappers of the host's own build are not meant for Wasm.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let of_host = text.starts_with("CARGO_PROFILE_")
            || text.starts_with("CARGO_BUILD_")
            || text.starts_with("CARGO_CFG_")
            || text.starts_with("CARGO_FEATURE_");
        if of_host {
            command.env_remove(&name);
        }
    }
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(name);
    }
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("building the plugins failed: {status}")),
        Err(error) => fail(&format!("cannot run cargo: {error}")),
    }
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(1);
}
