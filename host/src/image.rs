//! Opening an image: which plugin, what it is granted, and the chain of parents.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fumehood_core::contract::format::{DiskInfo, Glimpse, ImageInfo, Parent};
use fumehood_core::{self as core, Access, CHAIN_LIMIT, Layer, OpenImage, Plugin, Source};

use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::remember;
use crate::source::{self, ScratchSource};

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
    /// Bytes of memory a disk's extent cache may take.
    pub extent_cache: usize,
    /// Bytes of memory a disk's cache of decoded blocks may take.
    pub block_cache: usize,
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
            extent_cache: 16 << 20,
            block_cache: 24 << 20,
        }
    }
}

/// An opened image. Its disks are had with [`Image::disk`].
#[derive(Clone)]
pub struct Image {
    engine: Engine,
    image: Arc<core::Image>,
    path: PathBuf,
    policy: Policy,
    options: OpenOptions,
}

impl Image {
    /// [`Engine::open`].
    pub(crate) fn open(engine: &Engine, path: &Path, options: OpenOptions) -> Result<Self> {
        let path =
            path.canonicalize().map_err(Error::io(format!("cannot open {}", path.display())))?;
        let policy = Policy::new(&path, &options.allow)?;
        let main = source::open_path(&path, options.access)?;
        let plugin = match options.format.clone().or_else(|| remember::recorded(&path)) {
            Some(name) => engine.plugin(&name)?,
            None => engine
                .recognise(&glimpse_of(&*main)?)?
                .ok_or_else(|| Error::Unrecognised(path.clone()))?,
        };
        if options.access == Access::ReadWrite {
            remember::record(&path, plugin.name())?;
        }
        let snapshot = options.snapshot.clone();
        let image = open_core(engine, plugin, main, &path, &policy, snapshot, &options)?;
        Ok(Self { engine: engine.clone(), image, path, policy, options })
    }

    /// The name of the format.
    pub fn format(&self) -> &str {
        self.image.plugin().name()
    }

    /// The plugin that opened it.
    pub fn plugin(&self) -> &Plugin {
        self.image.plugin()
    }

    /// Its path, free of symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of the image as a whole.
    pub fn info(&self) -> &ImageInfo {
        self.image.info()
    }

    /// Its disks; a disk's place is its number.
    pub fn disks(&self) -> &[DiskInfo] {
        self.image.disks()
    }

    /// An embedded text by name, as listed in [`Image::info`].
    ///
    /// # Errors
    /// [`Error::Core`] with the plugin's reason.
    pub fn document(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.image.document(name)?)
    }

    /// Opens the disk `number` and all its parents.
    ///
    /// # Errors
    /// [`Error::Chain`] for parents that are missing, not granted, of no recorded
    /// format, not the right ones, or in a circle.
    pub fn disk(&self, number: u32) -> Result<Disk> {
        let mut chain = Chain::new(self)?;
        chain.add(Layer { image: self.image.clone(), number })?;
        while let Some(parent) = chain.wanted() {
            chain.add_parent(&parent)?;
        }
        let layers = chain.layers;
        Ok(Disk::new(layers, self.options.extent_cache, self.options.block_cache)?)
    }
}

/// A chain of parents while it is opened.
struct Chain<'a> {
    top: &'a Image,
    /// Where the lowest image opened so far lies.
    path: PathBuf,
    layers: Vec<Layer>,
    /// Device and inode of every image of the chain.
    seen: HashSet<(u64, u64)>,
}

impl<'a> Chain<'a> {
    fn new(top: &'a Image) -> Result<Self> {
        let mut chain =
            Self { top, path: top.path.clone(), layers: Vec::new(), seen: HashSet::new() };
        chain.see()?;
        Ok(chain)
    }

    /// Notes the file at `path`; one that was seen before closes a circle.
    fn see(&mut self) -> Result<()> {
        let shown = self.path.display();
        let metadata =
            self.path.metadata().map_err(Error::io(format!("cannot look at {shown}")))?;
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return Err(Error::Chain(format!("the chain of parents comes back to {shown}")));
        }
        Ok(())
    }

    fn add(&mut self, layer: Layer) -> Result<()> {
        let count = layer.image.disks().len();
        if layer.number as usize >= count {
            let (number, path) = (layer.number, self.path.display());
            return Err(Error::Chain(format!("{path} has no disk {number}; it has {count}")));
        }
        if self.layers.len() >= CHAIN_LIMIT {
            return Err(Error::Chain(format!("the chain has more than {CHAIN_LIMIT} images")));
        }
        self.layers.push(layer);
        Ok(())
    }

    /// The parent that the lowest layer names.
    fn wanted(&self) -> Option<Parent> {
        let lowest = self.layers.last()?;
        lowest.image.disks()[lowest.number as usize].parent.clone()
    }

    fn add_parent(&mut self, parent: &Parent) -> Result<()> {
        let top = self.top;
        let child = self.path.display().to_string();
        let gate = top.policy.for_image(&self.path, Access::Read);
        let (path, source) = gate.open_parent(&parent.reference).map_err(|error| {
            Error::Chain(format!("the parent of {child} cannot be opened: {error}"))
        })?;
        self.path = path;
        self.see()?;
        let format = parent
            .format
            .clone()
            .or_else(|| top.options.parent_format.clone())
            .or_else(|| remember::recorded(&self.path))
            .ok_or_else(|| {
                Error::Chain(format!(
                    "{child} records no format for its parent {}; name it with --parent-format \
                     (it is not guessed, since a guest may have written the parent)",
                    self.path.display()
                ))
            })?;
        let plugin = top.engine.plugin(&format)?;
        let options = &top.options;
        let image = open_core(
            &top.engine,
            plugin,
            Arc::new(source),
            &self.path,
            &top.policy,
            None,
            options,
        )?;
        check_identity(&child, &self.path, parent, &image)?;
        self.add(Layer { image, number: 0 })
    }
}

/// A child records whom it was made on; another parent would give wrong bytes.
fn check_identity(child: &str, path: &Path, parent: &Parent, image: &core::Image) -> Result<()> {
    let found = image.disks().first().and_then(|disk| disk.identity.as_deref());
    match (&parent.identity, found) {
        (Some(wanted), found) if found != Some(wanted) => Err(Error::Chain(format!(
            "{child} was made on a parent with identity {wanted}, but {} has {}",
            path.display(),
            found.unwrap_or("none")
        ))),
        _ => Ok(()),
    }
}

fn open_core(
    engine: &Engine,
    plugin: Arc<Plugin>,
    main: Arc<dyn Source>,
    path: &Path,
    policy: &Policy,
    snapshot: Option<String>,
    options: &OpenOptions,
) -> Result<Arc<core::Image>> {
    let scratch = scratch(engine, &plugin, &*main, path);
    let grants = Arc::new(policy.for_image(path, main.access()));
    let open = OpenImage {
        main,
        grants,
        scratch,
        snapshot,
        keys: Vec::new(),
        settings: options.settings.clone(),
    };
    Ok(Arc::new(core::Image::open(plugin, open)?))
}

/// The plugin's scratch for this image: found again by what the image is (size,
/// time of change, head and tail), not by where it lies.
fn scratch(
    engine: &Engine,
    plugin: &Plugin,
    main: &dyn Source,
    path: &Path,
) -> Option<Arc<dyn Source>> {
    let cache = engine.cache()?;
    let glimpse = glimpse_of(main).ok()?;
    let changed = path.metadata().ok()?.mtime_nsec() ^ path.metadata().ok()?.mtime();
    let mut identity = blake3::Hasher::new();
    identity.update(plugin.name().as_bytes());
    identity.update(plugin.description().version.as_bytes());
    identity.update(&glimpse.size.to_le_bytes());
    identity.update(&changed.to_le_bytes());
    identity.update(&glimpse.head);
    identity.update(&glimpse.tail);
    let path = cache.scratch(&identity.finalize().to_hex())?;
    Some(Arc::new(ScratchSource::new(path)))
}

/// What plugins are shown of the image at `path` to recognise it.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn glimpse(path: &Path) -> Result<Glimpse> {
    glimpse_of(&*source::open_path(path, Access::Read)?)
}

fn glimpse_of(source: &dyn Source) -> Result<Glimpse> {
    let size = source.size();
    let length = size.min(GLIMPSE);
    let mut head = vec![0; length as usize];
    source.read_at(0, &mut head)?;
    let mut tail = vec![0; length as usize];
    source.read_at(size - length, &mut tail)?;
    Ok(Glimpse { name: source.name().into(), size, head, tail })
}
