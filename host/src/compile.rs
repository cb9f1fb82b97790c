//! From a `.wasm` file to native code: encoding, compiling ahead of time, and the
//! private cache of what was compiled. Plugins are components; the decoder is a module.
//!
//! The cache holds native code that will run with the host's rights, so its folder
//! must belong to the user and be closed to everyone else; otherwise it is not used.
//! This is the library's only module with `unsafe`.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use wasmtime::Module;
use wasmtime::component::Component;

use crate::error::{Error, Result};

/// A folder for compiled plugins and plugins' scratch.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in `folder`, made if need be; `None` (and a warning) where it
    /// cannot be private.
    pub(crate) fn open(folder: PathBuf) -> Option<Self> {
        match private_folder(&folder) {
            Ok(()) => Some(Self { folder }),
            Err(why) => {
                tracing::warn!("the cache {} is not used: {why}", folder.display());
                None
            }
        }
    }

    /// The user's own: `$XDG_CACHE_HOME/fumehood` or `~/.cache/fumehood`.
    pub(crate) fn of_user() -> Option<Self> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Self::open(base.join("fumehood"))
    }

    /// Where the scratch of the image with this identity lies.
    pub(crate) fn scratch(&self, identity: &str) -> Option<PathBuf> {
        let folder = self.folder.join("scratch");
        private_folder(&folder).ok()?;
        Some(folder.join(identity))
    }
}

fn private_folder(folder: &Path) -> Result<(), String> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| error.to_string())?;
    let metadata = fs::symlink_metadata(folder).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("it is not a folder".into());
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err("it is open to other users; it must be yours, with mode 0700".into());
    }
    Ok(())
}

/// What can be compiled ahead of time and kept: plugins, and the host's own modules.
pub(crate) trait Artifact: Sized {
    /// Goes into the cache's keys, since one file may be compiled as either.
    const KIND: &'static [u8];

    /// Compiles `wasm`.
    ///
    /// # Errors
    /// The compiler's words.
    fn precompile(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, String>;

    /// Loads what [`Artifact::precompile`] made.
    ///
    /// # Safety
    /// `compiled` must be that, unaltered.
    #[allow(unsafe_code)]
    unsafe fn load(engine: &wasmtime::Engine, compiled: &[u8]) -> wasmtime::Result<Self>;

    /// Loads a file of what [`Artifact::precompile`] made.
    ///
    /// # Safety
    /// The file must be that, unaltered, and remain so.
    #[allow(unsafe_code)]
    unsafe fn load_file(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Self>;
}

/// A plugin: `wasm` is a component, or the core module that `cargo build --target
/// wasm32-unknown-unknown` makes of it.
#[allow(unsafe_code)]
impl Artifact for Component {
    const KIND: &'static [u8] = b"";

    fn precompile(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, String> {
        let component = encode(engine, wasm)?;
        engine.precompile_component(&component).map_err(|error| format!("{error:#}"))
    }

    unsafe fn load(engine: &wasmtime::Engine, compiled: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: the caller vouches for the bytes.
        unsafe { Self::deserialize(engine, compiled) }
    }

    unsafe fn load_file(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Self> {
        // SAFETY: the caller vouches for the file.
        unsafe { Self::deserialize_file(engine, path) }
    }
}

/// A module of the host's own, compiled while blocks wait for it.
#[allow(unsafe_code)]
impl Artifact for Module {
    const KIND: &'static [u8] = b"module";

    fn precompile(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, String> {
        // On this thread alone. Others wait for the module when its first blocks are
        // read, and a compiler that spreads its work would wait for them.
        let mut config = engine.config().clone();
        config.parallel_compilation(false);
        wasmtime::Engine::new(&config)
            .and_then(|engine| engine.precompile_module(wasm))
            .map_err(|error| format!("{error:#}"))
    }

    unsafe fn load(engine: &wasmtime::Engine, compiled: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: the caller vouches for the bytes.
        unsafe { Self::deserialize(engine, compiled) }
    }

    unsafe fn load_file(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Self> {
        // SAFETY: the caller vouches for the file.
        unsafe { Self::deserialize_file(engine, path) }
    }
}

/// What is in `wasm`, compiled, from the cache where it is there.
///
/// # Errors
/// [`Error::Compile`] with `name`.
pub(crate) fn compile<A: Artifact>(
    engine: &wasmtime::Engine,
    cache: Option<&Cache>,
    name: &str,
    wasm: &[u8],
) -> Result<A> {
    let failed = |what: String| Error::Compile { plugin: name.into(), what };
    let file = || format!("{}.cwasm", key(engine, A::KIND, wasm));
    let cached = cache.map(|cache| cache.folder.join(file()));
    if let Some(path) = &cached
        && let Some(artifact) = load(engine, path)
    {
        return Ok(artifact);
    }
    let started = std::time::Instant::now();
    let compiled = A::precompile(engine, wasm).map_err(failed)?;
    tracing::debug!(plugin = name, "compiled in {:?}", started.elapsed());
    if let Some(path) = &cached {
        match store(path, &compiled) {
            Ok(()) => {
                if let Some(artifact) = load(engine, path) {
                    return Ok(artifact);
                }
            }
            Err(error) => tracing::warn!("cannot keep {}: {error}", path.display()),
        }
    }
    // SAFETY: the bytes were made by this engine a moment ago.
    #[allow(unsafe_code)]
    let artifact = unsafe { A::load(engine, &compiled) };
    artifact.map_err(|error| failed(format!("{error:#}")))
}

/// Compiles the plugin in `path` ahead of time for `target` (this machine where it
/// is not given), for a host that links the core alone. Such a host makes its engine
/// with [`fumehood_core::Runtime::config`] and the same target.
///
/// # Errors
/// [`Error::Io`], [`Error::Compile`].
pub fn precompile(path: &Path, target: Option<&str>) -> Result<Vec<u8>> {
    let shown = path.display().to_string();
    let failed = |what: String| Error::Compile { plugin: shown.clone(), what };
    let wasm = fs::read(path).map_err(Error::io(format!("cannot read plugin {shown}")))?;
    let mut config = fumehood_core::Runtime::config();
    if let Some(target) = target {
        config.target(target).map_err(|error| failed(format!("{error:#}")))?;
        fumehood_core::Runtime::without_virtual_memory(&mut config);
    }
    let engine = wasmtime::Engine::new(&config).map_err(|error| failed(format!("{error:#}")))?;
    Component::precompile(&engine, &wasm).map_err(failed)
}

/// Makes a component of a core module that carries the contract's types; leaves a
/// component as it is.
///
/// # Errors
/// The encoder's words.
fn encode(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, String> {
    const COMPONENT_LAYER: u8 = 1;
    match wasm {
        [0, b'a', b's', b'm', _, _, layer, 0, ..] if *layer == COMPONENT_LAYER => Ok(wasm.to_vec()),
        [0, b'a', b's', b'm', ..] => {
            // The encoder expects a sound module, and panics at some that are not.
            wasmtime::Module::validate(engine, wasm)
                .map_err(|error| format!("it is not a sound Wasm module: {error:#}"))?;
            let encode = || {
                wit_component::ComponentEncoder::default()
                    .validate(true)
                    .module(wasm)
                    .and_then(|encoder| encoder.encode())
            };
            match std::panic::catch_unwind(encode) {
                Ok(encoded) => {
                    encoded.map_err(|error| format!("it cannot be made a component: {error:#}"))
                }
                Err(_) => Err("it cannot be made a component: its types are broken".into()),
            }
        }
        _ => Err("it is not a Wasm file".into()),
    }
}

/// What the compiled code depends on: the file and what it is compiled as, the
/// engine's version, its settings, and the processor.
fn key(engine: &wasmtime::Engine, kind: &[u8], wasm: &[u8]) -> String {
    struct Settings(blake3::Hasher);
    impl Hasher for Settings {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut settings = Settings(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut settings);
    settings.0.update(kind);
    settings.0.update(wasm);
    settings.0.finalize().to_hex().to_string()
}

fn load<A: Artifact>(engine: &wasmtime::Engine, path: &Path) -> Option<A> {
    if !path.exists() {
        return None;
    }
    // SAFETY: the file lies in a folder that only this user can write to (checked
    // when the cache was opened), and was put there whole by `store`.
    #[allow(unsafe_code)]
    let artifact = unsafe { A::load_file(engine, path) };
    match artifact {
        Ok(artifact) => Some(artifact),
        Err(error) => {
            tracing::debug!("{} is made anew: {error:#}", path.display());
            None
        }
    }
}

/// Writes the file whole or not at all.
fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}
