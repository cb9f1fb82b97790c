//! The engine: the sandbox's runtime, the plugins, and the clock of their deadlines.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use fumehood_core::contract::format::{Confidence, Glimpse};
use fumehood_core::{Limits, Plugin, Runtime, Source};
use wasmtime::component::Component;

use crate::compile::{self, Cache};
use crate::create::{self, CreateOptions};
use crate::error::{Error, Result};
use crate::image::{Image, OpenOptions};
use crate::mover::DecoderModule;

/// First-party plugins: name, and the Wasm module that the build made.
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/plugins.rs"));

/// How often deadlines are counted; [`Limits::deadline_ticks`] is in these.
const TICK: Duration = Duration::from_millis(100);

/// Loads plugins and opens images. Cheap to clone; one a process is enough.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Arc<Runtime>,
    cache: Option<Cache>,
    plugins: Vec<Candidate>,
    decoder: Arc<DecoderModule>,
}

/// A plugin that is compiled when it is first needed.
struct Candidate {
    /// The name it is loaded under: the format's for first-party plugins.
    name: String,
    wasm: Wasm,
    blake3: OnceLock<blake3::Hash>,
    loaded: OnceLock<Arc<Plugin>>,
}

enum Wasm {
    Embedded(&'static [u8]),
    File(Vec<u8>),
}

impl Wasm {
    fn bytes(&self) -> &[u8] {
        match self {
            Wasm::Embedded(bytes) => bytes,
            Wasm::File(bytes) => bytes,
        }
    }
}

impl Candidate {
    fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let bytes =
            std::fs::read(path).map_err(Error::io(format!("cannot read plugin {shown}")))?;
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self::new(name, Wasm::File(bytes)))
    }

    fn new(name: String, wasm: Wasm) -> Self {
        Self { name, wasm, blake3: OnceLock::new(), loaded: OnceLock::new() }
    }

    /// BLAKE3 of the file.
    fn blake3(&self) -> blake3::Hash {
        *self.blake3.get_or_init(|| blake3::hash(self.wasm.bytes()))
    }
}

/// A plugin's file, looked into.
pub struct PluginFile {
    /// The plugin in it.
    pub plugin: Arc<Plugin>,
    /// BLAKE3 of the file, in hexadecimal.
    pub blake3: String,
    /// The interfaces it may call.
    pub imports: Vec<String>,
    /// The interfaces it offers.
    pub exports: Vec<String>,
}

/// How an engine is made.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// What each opened image may use.
    pub limits: Limits,
    /// Plugins beside the first-party ones, asked before them.
    pub plugins: Vec<PathBuf>,
    /// Where compiled plugins are kept; `None` is the user's own cache folder.
    pub cache: Option<PathBuf>,
}

impl Engine {
    /// An engine with the first-party plugins.
    ///
    /// # Errors
    /// As [`Engine::with`].
    pub fn new() -> Result<Self> {
        Self::with(EngineOptions::default())
    }

    /// An engine made by `options`.
    ///
    /// # Errors
    /// [`Error::Io`] for a plugin that cannot be read, [`Error::Core`] where this
    /// machine cannot run the sandbox.
    pub fn with(options: EngineOptions) -> Result<Self> {
        let mut config = Runtime::config();
        config.parallel_compilation(true);
        let runtime = Arc::new(Runtime::new(&config, options.limits)?);
        start_clock(&runtime)?;
        let mut plugins = Vec::new();
        for path in &options.plugins {
            plugins.push(Candidate::read(path)?);
        }
        for (name, bytes) in EMBEDDED {
            plugins.push(Candidate::new((*name).into(), Wasm::Embedded(bytes)));
        }
        let cache = match options.cache {
            Some(folder) => Cache::open(folder),
            None => Cache::of_user(),
        };
        let deadline = options.limits.deadline_ticks;
        let decoder = Arc::new(DecoderModule::new(runtime.clone(), cache.clone(), deadline));
        Ok(Self { inner: Arc::new(Inner { runtime, cache, plugins, decoder }) })
    }

    /// All plugins, those of [`EngineOptions::plugins`] first.
    ///
    /// # Errors
    /// [`Error::Compile`] or [`Error::Core`] for the first that cannot be loaded.
    pub fn plugins(&self) -> Result<Vec<Arc<Plugin>>> {
        self.inner.plugins.iter().map(|candidate| self.load(candidate)).collect()
    }

    /// The plugin for the format `name`.
    ///
    /// # Errors
    /// [`Error::NoPlugin`], or as [`Engine::plugins`].
    pub fn plugin(&self, name: &str) -> Result<Arc<Plugin>> {
        let first_party = |candidate: &Candidate| matches!(candidate.wasm, Wasm::Embedded(_));
        // A third party's plugin says its name only once it is loaded.
        for candidate in &self.inner.plugins {
            if first_party(candidate) && candidate.name != name {
                continue;
            }
            let plugin = self.load(candidate)?;
            if plugin.name() == name {
                return Ok(plugin);
            }
        }
        let known: Vec<_> = self.inner.plugins.iter().map(|one| one.name.as_str()).collect();
        Err(Error::NoPlugin { name: name.into(), known: known.join(", ") })
    }

    /// Asks every plugin whether it knows the image at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] for the image, or as [`Engine::plugins`].
    pub fn probe(&self, path: &Path) -> Result<Vec<(Arc<Plugin>, Confidence)>> {
        let glimpse = crate::image::glimpse(path)?;
        let mut answers = Vec::new();
        for plugin in self.plugins()? {
            let confidence = plugin.probe(&glimpse)?;
            answers.push((plugin, confidence));
        }
        Ok(answers)
    }

    /// The file by which the image at `path` is opened: that one, or the one in a folder
    /// that stands for it, with the format whose plugin says so.
    ///
    /// # Errors
    /// [`Error::Folder`] for one with no such file, or as [`Engine::plugins`].
    pub(crate) fn entry_of(&self, path: PathBuf) -> Result<(PathBuf, Option<String>)> {
        if !path.is_dir() {
            return Ok((path, None));
        }
        let plugins = self.plugins()?;
        let mut entries = plugins.iter().filter_map(|one| {
            let entry = one.description().folder_entry.as_ref()?;
            // A plain name: nothing leads out of the folder.
            let is_plain = Path::new(entry).file_name().is_some_and(|name| name == entry.as_str());
            // A symbolic link could lead out of it.
            let is_file =
                |entry: &PathBuf| entry.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
            let entry = is_plain.then(|| path.join(entry)).filter(is_file)?;
            Some((entry, Some(one.name().to_owned())))
        });
        entries.next().ok_or(Error::Folder(path.clone()))
    }

    /// The one plugin that is certain about a glimpse: those whose extension fits
    /// the name are asked first, and the first that is certain is taken.
    pub(crate) fn recognise(&self, glimpse: &Glimpse) -> Result<Option<Arc<Plugin>>> {
        let extension = glimpse.name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
        if let Some(namesake) = self.namesake(extension.as_deref())?
            && matches!(namesake.probe(glimpse), Ok(Confidence::Certain))
        {
            return Ok(Some(namesake));
        }
        let mut plugins = self.plugins()?;
        plugins.sort_by_key(|plugin| {
            let fits = |known: &String| Some(known) == extension.as_ref();
            !plugin.description().extensions.iter().any(fits)
        });
        let mut failed = None;
        for plugin in plugins {
            match plugin.probe(glimpse) {
                Ok(Confidence::Certain) => return Ok(Some(plugin)),
                Ok(_) => {}
                // One plugin that fails must not keep other formats from opening.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), |error| Err(error.into()))
    }

    /// Our own plugin that is called as the ending of a name: the likeliest, asked before
    /// all the others are loaded. Where third parties' plugins are there, those come first.
    fn namesake(&self, extension: Option<&str>) -> Result<Option<Arc<Plugin>>> {
        let plugins = &self.inner.plugins;
        if plugins.iter().any(|candidate| matches!(candidate.wasm, Wasm::File(_))) {
            return Ok(None);
        }
        let found = plugins.iter().find(|candidate| Some(&*candidate.name) == extension);
        found.map(|candidate| self.load(candidate)).transpose()
    }

    /// Opens the image at `path`.
    ///
    /// The format is the one given; else the one recorded when it was last opened
    /// for writing; else the one whose plugin is certain. It is chosen here, once.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unrecognised`], [`Error::NoPlugin`], or in
    /// [`Error::Core`] the plugin's reason.
    pub fn open(&self, path: impl AsRef<Path>, options: OpenOptions) -> Result<Image> {
        Image::open(self, path.as_ref(), options)
    }

    /// Opens the image in a source of the embedder's own, for what that source grants.
    /// `path` is where it would lie as a file: its name in messages, and the folder in
    /// which it may open parents and siblings. No file need be there, and nothing is
    /// recorded: the embedder remembers the format ([`Image::format`]).
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_source(
        &self,
        main: Arc<dyn Source>,
        path: impl AsRef<Path>,
        options: OpenOptions,
    ) -> Result<Image> {
        Image::open_source(self, main, path.as_ref(), options)
    }

    /// Makes a new image in an empty source of the embedder's own; `path` as for
    /// [`Engine::open_source`].
    ///
    /// # Errors
    /// As [`Engine::create`].
    pub fn create_source(
        &self,
        main: Arc<dyn Source>,
        path: impl AsRef<Path>,
        options: &CreateOptions,
    ) -> Result<Image> {
        create::create_source(self, main, path.as_ref(), options)
    }

    /// Makes a new image at `path`, where nothing must be, and opens it for writing.
    ///
    /// # Errors
    /// [`Error::Io`] where the file is there already or cannot be made,
    /// [`Error::NoPlugin`], or in [`Error::Core`] the plugin's reason. Nothing is left
    /// behind then.
    pub fn create(&self, path: impl AsRef<Path>, options: &CreateOptions) -> Result<Image> {
        create::create(self, path.as_ref(), options)
    }

    /// Loads the plugin in `path` and says what it is, without opening anything
    /// with it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Compile`], or [`Error::Core`] with why it is refused.
    pub fn inspect(&self, path: &Path) -> Result<PluginFile> {
        let candidate = Candidate::read(path)?;
        let runtime = &self.inner.runtime;
        let component: Component = compile::compile(
            runtime.engine(),
            self.cache(),
            &candidate.name,
            candidate.wasm.bytes(),
        )?;
        let plugin = Arc::new(Plugin::new(runtime.clone(), &candidate.name, &component)?);
        let ty = component.component_type();
        Ok(PluginFile {
            plugin,
            blake3: candidate.blake3().to_hex().to_string(),
            imports: ty.imports(runtime.engine()).map(|(name, _)| name.into()).collect(),
            exports: ty.exports(runtime.engine()).map(|(name, _)| name.into()).collect(),
        })
    }

    /// BLAKE3 of the file that one of this engine's plugins was loaded from.
    pub(crate) fn blake3(&self, plugin: &Arc<Plugin>) -> Option<blake3::Hash> {
        let is_it = |loaded: &Arc<Plugin>| Arc::ptr_eq(loaded, plugin);
        let mut candidates = self.inner.plugins.iter();
        candidates.find(|one| one.loaded.get().is_some_and(is_it)).map(Candidate::blake3)
    }

    /// What decodes in the sandbox.
    pub(crate) fn decoder(&self) -> Arc<DecoderModule> {
        self.inner.decoder.clone()
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.inner.cache.as_ref()
    }

    fn load(&self, candidate: &Candidate) -> Result<Arc<Plugin>> {
        if let Some(plugin) = candidate.loaded.get() {
            return Ok(plugin.clone());
        }
        let runtime = &self.inner.runtime;
        let (name, bytes) = (&candidate.name, candidate.wasm.bytes());
        let component = compile::compile(runtime.engine(), self.cache(), name, bytes)?;
        let plugin = Arc::new(Plugin::new(runtime.clone(), name, &component)?);
        Ok(candidate.loaded.get_or_init(|| plugin).clone())
    }
}

/// Ticks as long as the runtime is alive.
fn start_clock(runtime: &Arc<Runtime>) -> Result<()> {
    let runtime: Weak<Runtime> = Arc::downgrade(runtime);
    let clock = move || {
        while let Some(runtime) = runtime.upgrade() {
            runtime.tick();
            drop(runtime);
            std::thread::sleep(TICK);
        }
    };
    let thread = std::thread::Builder::new().name("fumehood-clock".into());
    thread.spawn(clock).map(drop).map_err(Error::io("cannot start the clock of deadlines"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_known_by_the_bytes_it_was_loaded_from() {
        let (engine, other) = (Engine::new().unwrap(), Engine::new().unwrap());
        for (name, bytes) in EMBEDDED {
            let plugin = engine.plugin(name).unwrap();
            assert_eq!(engine.blake3(&plugin), Some(blake3::hash(bytes)), "{name}");
            assert_eq!(other.blake3(&plugin), None, "{name}");
        }
    }
}
