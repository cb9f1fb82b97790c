//! Opening an image: which plugin, and what it is granted.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fumehood_core::contract::format::{DiskInfo, Glimpse, ImageInfo};
use fumehood_core::{self as core, Access, Grants, Layer, NoGrants, OpenImage, Plugin, Source};

use crate::chain::Chain;
use crate::container::{Opened, format_of, open_one, split_format};
use crate::disk::{Disk, Means, WeakDisk};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::remember;
use crate::source::{self, NestedSource, ScratchSource};

/// Bytes of an image's head and tail that plugins are shown to recognise it.
const GLIMPSE: u64 = 64 << 10;

/// How an image is opened. `OpenOptions::default()` opens it read-only, by what it
/// looks like, granting it the files in its own folder.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The format, by its plugin's name; recognised where it is not given.
    pub format: Option<String>,
    /// The format of parents for which their child records none.
    pub parent_format: Option<String>,
    /// Folders and files that references may lead to, beside the image's own folder.
    pub allow: Vec<PathBuf>,
    /// What the main source is opened for. Parents are always opened read-only.
    pub access: Access,
    /// The internal snapshot to show instead of the present state.
    pub snapshot: Option<String>,
    /// Free settings, format by format.
    pub settings: Vec<(String, String)>,
    /// Passwords and the contents of key files, each with a name or none.
    pub keys: Vec<Key>,
    /// Is told how far a plugin has come that must read much of the image first.
    pub on_progress: Option<Progress>,
    /// Bytes of memory a disk's extent cache may take.
    pub extent_cache: usize,
    /// Bytes of memory a disk's cache of decoded blocks may take.
    pub block_cache: usize,
}

impl OpenOptions {
    /// What the core opens an image with, by these options.
    pub(crate) fn to_core(
        &self,
        main: Arc<dyn Source>,
        grants: Arc<dyn Grants>,
        scratch: Option<Arc<dyn Source>>,
    ) -> Result<OpenImage> {
        Ok(OpenImage {
            main,
            grants,
            scratch,
            snapshot: self.snapshot.clone(),
            keys: self.keys.iter().map(|key| (key.id.clone(), key.secret.clone())).collect(),
            settings: self.settings.clone(),
            seed: seed()?,
            on_progress: self.on_progress.clone().map(|Progress(on_progress)| on_progress),
        })
    }
}

/// A secret for an encrypted image.
#[derive(Clone)]
pub struct Key {
    /// Which key, where an image has several; usually empty.
    pub id: String,
    /// A password, or what is in a key file.
    pub secret: Vec<u8>,
}

impl fmt::Debug for Key {
    /// Says that there is one, and not which.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Called with what is done and what there is to do, in whatever unit; answers whether
/// to go on.
#[derive(Clone)]
pub struct Progress(pub core::OnProgress);

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Progress")
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            format: None,
            parent_format: None,
            allow: Vec::new(),
            access: Access::Read,
            snapshot: None,
            settings: Vec::new(),
            keys: Vec::new(),
            on_progress: None,
            extent_cache: 16 << 20,
            block_cache: 24 << 20,
        }
    }
}

/// An opened image. Its disks are had with [`Image::disk`].
#[derive(Clone)]
pub struct Image {
    engine: Engine,
    opened: Opened,
    info: ImageInfo,
    disk_infos: Vec<DiskInfo>,
    format: String,
    path: PathBuf,
    policy: Policy,
    options: OpenOptions,
    /// Disks that are open: one that is written must not be opened twice.
    disks: Arc<Mutex<HashMap<u32, WeakDisk>>>,
    /// A disk that cannot be opened again by what the image records, or not yet.
    kept: Option<Disk>,
}

impl Image {
    /// [`Engine::open`].
    pub(crate) fn open(engine: &Engine, path: &Path, options: OpenOptions) -> Result<Self> {
        let path =
            path.canonicalize().map_err(Error::io(format!("cannot open {}", path.display())))?;
        let (path, named) = engine.entry_of(path)?;
        let options = OpenOptions { format: options.format.clone().or(named), ..options };
        let main = source::open_path(&path, options.access)?;
        let recorded = || remember::recorded(&path);
        let format = options.format.clone().or_else(recorded);
        let (plugin, glimpse) = choose(engine, &*main, &path, format.as_deref())?;
        if options.access == Access::ReadWrite {
            remember::record(&path, plugin.name())?;
        }
        Self::open_with(engine, plugin, (main, glimpse), path, options)
    }

    /// [`Engine::open_source`].
    pub(crate) fn open_source(
        engine: &Engine,
        main: Arc<dyn Source>,
        path: &Path,
        options: OpenOptions,
    ) -> Result<Self> {
        let (plugin, glimpse) = choose(engine, &*main, path, options.format.as_deref())?;
        let options = OpenOptions { access: main.access(), ..options };
        Self::open_with(engine, plugin, (main, glimpse), path.to_path_buf(), options)
    }

    fn open_with(
        engine: &Engine,
        plugin: Arc<Plugin>,
        (main, glimpse): (Arc<dyn Source>, Option<Glimpse>),
        path: PathBuf,
        options: OpenOptions,
    ) -> Result<Self> {
        let policy = Policy::new(&path, &options.allow)?;
        let snapshot = options.snapshot.clone();
        let opening =
            Opening { main, glimpse, path: &path, policy: &policy, snapshot, granted: true };
        let inner = options.format.as_deref().and_then(|format| split_format(format).1);
        let image = open_one(engine, plugin, &opening, &options)?;
        let opened = Opened::all(engine, image, &opening, &options, inner)?;
        Ok(Self::new(engine, opened, path, policy, options))
    }

    pub(crate) fn new(
        engine: &Engine,
        opened: Opened,
        path: PathBuf,
        policy: Policy,
        options: OpenOptions,
    ) -> Self {
        Self {
            engine: engine.clone(),
            info: opened.info(),
            disk_infos: opened.disk_infos(),
            format: opened.format(),
            opened,
            path,
            policy,
            options,
            disks: Arc::default(),
            kept: None,
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn core(&self) -> &Arc<core::Image> {
        &self.opened.image
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What its chain may refer to: its own folder, and what the operator allowed.
    pub(crate) fn granted(&self) -> Vec<PathBuf> {
        let folder = self.path.parent().map(Path::to_path_buf);
        folder.into_iter().chain(self.options.allow.iter().cloned()).collect()
    }

    pub(crate) fn options(&self) -> &OpenOptions {
        &self.options
    }

    /// The name of the format; of a container with what is in it: `ova/vmdk`.
    pub fn format(&self) -> &str {
        &self.format
    }

    /// The plugin that opened it.
    pub fn plugin(&self) -> &Plugin {
        self.opened.image.plugin()
    }

    /// Its path, free of symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of the image as a whole.
    pub fn info(&self) -> &ImageInfo {
        &self.info
    }

    /// Its disks; a disk's place is its number.
    pub fn disks(&self) -> &[DiskInfo] {
        &self.disk_infos
    }

    /// An embedded text by name, as listed in [`Image::info`].
    ///
    /// # Errors
    /// [`Error::Core`] with the plugin's reason.
    pub fn document(&self, name: &str) -> Result<Vec<u8>> {
        self.opened.document(name)
    }

    /// Opens the disk `number` and all its parents. The same disk again as long as it
    /// is open.
    ///
    /// # Errors
    /// [`Error::Chain`] for parents that are missing, not granted, of no recorded
    /// format, not the right ones, or in a circle.
    pub fn disk(&self, number: u32) -> Result<Disk> {
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disk) = disks.get(&number).and_then(WeakDisk::upgrade) {
            return Ok(disk);
        }
        let (layers, paths) = self.chain(number)?;
        let disk = Disk::new(layers, paths, self.means())?;
        disks.insert(number, disk.downgrade());
        Ok(disk)
    }

    fn means(&self) -> Means {
        let OpenOptions { extent_cache, block_cache, .. } = self.options;
        Means { extent_cache, block_cache, decoder: self.engine.decoder() }
    }

    /// Its first disk without any parent, which need not be there yet.
    pub(crate) fn disk_alone(&self) -> Result<Disk> {
        let layers = vec![Layer { image: self.opened.image.clone(), number: 0 }];
        Ok(Disk::new(layers, vec![self.path.clone()], self.means())?)
    }

    /// The same image under another name, its first disk with these layers.
    pub(crate) fn renamed(
        mut self,
        path: PathBuf,
        layers: Vec<Layer>,
        paths: Vec<PathBuf>,
    ) -> Result<Self> {
        let disk = Disk::new(layers, paths, self.means())?;
        (self.path, self.disks) = (path, Arc::default());
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        disks.insert(0, disk.downgrade());
        drop(disks);
        self.kept = Some(disk);
        Ok(self)
    }

    /// The layers of the disk `number`, from this image down, and their files.
    pub(crate) fn chain(&self, number: u32) -> Result<(Vec<Layer>, Vec<PathBuf>)> {
        let mut chain = Chain::new(self)?;
        let layer = self.opened.disk(number, &self.path)?;
        let parent = &layer.image.disks()[layer.number as usize].parent;
        if parent.is_some() && self.opened.is_guessed(layer) {
            let (path, format) = (self.path.display(), format_of(&layer.image));
            return Err(Error::Chain(format!(
                "{path} holds a disk that names a parent; as a guest may have written it, the \
                 parent is opened only where the format is named: --format {format}"
            )));
        }
        chain.add(layer.clone())?;
        while let Some(parent) = chain.wanted() {
            chain.add_parent(&parent)?;
        }
        chain.finish()
    }
}

/// The plugin that is named, or the one that recognises the image; and what the image
/// looks like, if that could be read.
fn choose(
    engine: &Engine,
    main: &dyn Source,
    path: &Path,
    format: Option<&str>,
) -> Result<(Arc<Plugin>, Option<Glimpse>)> {
    if let Some(name) = format {
        return Ok((engine.plugin(split_format(name).0)?, glimpse_of(main).ok()));
    }
    let glimpse = glimpse_of(main)?;
    let plugin = engine.recognise(&glimpse)?;
    let plugin = plugin.ok_or_else(|| Error::Unrecognised(path.to_path_buf()))?;
    Ok((plugin, Some(glimpse)))
}

/// What an image is opened from.
#[derive(Clone)]
pub(crate) struct Opening<'a> {
    pub main: Arc<dyn Source>,
    /// What it looks like, if that could be read.
    pub glimpse: Option<Glimpse>,
    pub path: &'a Path,
    pub policy: &'a Policy,
    pub snapshot: Option<String>,
    /// Whether it may open what it names, by the policy.
    pub granted: bool,
}

impl Opening<'_> {
    pub(crate) fn open(
        self,
        engine: &Engine,
        plugin: Arc<Plugin>,
        options: &OpenOptions,
    ) -> Result<Arc<core::Image>> {
        let scratch = self.scratch(engine, &plugin);
        let grants: Arc<dyn Grants> = match self.granted {
            true => Arc::new(self.policy.for_image(self.path, self.main.access())),
            false => Arc::new(NoGrants),
        };
        let options = OpenOptions { snapshot: self.snapshot, ..options.clone() };
        Ok(Arc::new(core::Image::open(plugin, options.to_core(self.main, grants, scratch)?)?))
    }

    /// The plugin's scratch for this image: found again by what the plugin is, to the
    /// byte, and what the image is (size, time of change, head and tail), not by where
    /// they lie.
    fn scratch(&self, engine: &Engine, plugin: &Arc<Plugin>) -> Option<Arc<dyn Source>> {
        let cache = engine.cache()?;
        let glimpse = self.glimpse.as_ref()?;
        let metadata = self.path.metadata().ok()?;
        let changed = [metadata.mtime(), metadata.mtime_nsec()];
        let mut identity = blake3::Hasher::new();
        identity.update(engine.blake3(plugin)?.as_bytes());
        identity.update(&glimpse.size.to_le_bytes());
        if self.main.as_any().is::<NestedSource>() {
            // Files in one container may begin and end alike.
            identity.update(glimpse.name.as_bytes());
        }
        for part in changed {
            identity.update(&part.to_le_bytes());
        }
        identity.update(&glimpse.head);
        identity.update(&glimpse.tail);
        let path = cache.scratch(&identity.finalize().to_hex())?;
        Some(Arc::new(ScratchSource::new(path)))
    }
}

/// Random bytes for one open.
pub(crate) fn seed() -> Result<[u8; 32]> {
    let mut seed = [0; 32];
    let length = rustix::rand::getrandom(&mut seed[..], rustix::rand::GetRandomFlags::empty());
    match length {
        Ok(32) => Ok(seed),
        Ok(_) => Err(Error::io("no random bytes")(std::io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(Error::io("no random bytes")(error.into())),
    }
}

/// What plugins are shown of the image at `path` to recognise it.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn glimpse(path: &Path) -> Result<Glimpse> {
    glimpse_of(&*source::open_path(path, Access::Read)?)
}

pub(crate) fn glimpse_of(source: &dyn Source) -> Result<Glimpse> {
    let size = source.size();
    let length = size.min(GLIMPSE);
    let mut head = vec![0; length as usize];
    source.read_at(0, &mut head)?;
    let mut tail = vec![0; length as usize];
    source.read_at(size - length, &mut tail)?;
    Ok(Glimpse { name: source.name().into(), size, head, tail })
}
