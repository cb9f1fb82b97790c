//! Making new images, stand-alone or on top of a parent.

use std::fs::{File, OpenOptions as FileOptions};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use fumehood_core::contract::format::Parent;
use fumehood_core::{self as core, Access, NewImage, OpenImage, Source};

use crate::container::{Opened, format_of};
use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::identity;
use crate::image::{Image, Key, OpenOptions, seed};
use crate::policy::Policy;
use crate::remember;
use crate::source::FileSource;

/// What a new image is to be.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// The format, by its plugin's name.
    pub format: String,
    /// Size of its disk in bytes.
    pub size: u64,
    /// Bytes a logical sector.
    pub logical_sector: u32,
    /// What it differs from.
    pub parent: Option<NewParent>,
    /// Free settings, format by format.
    pub settings: Vec<(String, String)>,
    /// Whether a flush waits for storage. Without it nothing survives a power cut
    /// until the system has written it by itself: for a file that is made anew then.
    pub sync: bool,
    /// Folders and files that the parent and its own parents may lie in, beside the new
    /// image's folder and the parent itself.
    pub allow: Vec<PathBuf>,
    /// Keys and passwords of the parent and its own parents.
    pub keys: Vec<Key>,
}

impl CreateOptions {
    /// A stand-alone disk of `size` bytes with 512-byte sectors.
    pub fn new(format: impl Into<String>, size: u64) -> Self {
        Self {
            format: format.into(),
            size,
            logical_sector: 512,
            parent: None,
            settings: Vec::new(),
            sync: true,
            allow: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// A differencing disk of the size and sectors of the disk `number` of `image`.
    ///
    /// # Errors
    /// [`Error::Chain`] for a disk that is not there or not whole, and where its first
    /// and last bytes, which identify it, cannot be read.
    pub fn on(format: impl Into<String>, image: &Image, number: u32) -> Result<Self> {
        let (format, (layers, _)) = (format.into(), image.chain(number)?);
        let info = &image.disks()[number as usize];
        let identity = identity::for_child(image.engine(), &layers, &format)?;
        let parent = NewParent {
            path: image.path().to_path_buf(),
            format: layers.first().map(|top| format_of(&top.image)).unwrap_or_default(),
            identity,
        };
        Ok(Self {
            format,
            size: info.size,
            logical_sector: info.logical_sector,
            parent: Some(parent),
            settings: Vec::new(),
            sync: true,
            allow: image.granted(),
            keys: image.options().keys.clone(),
        })
    }
}

/// The parent of a new image.
#[derive(Debug, Clone)]
pub struct NewParent {
    /// Its path, absolute. It is recorded relative to the new image where it lies in
    /// that image's folder or beneath.
    pub path: PathBuf,
    /// Its format.
    pub format: String,
    /// What it is recognised by.
    pub identity: String,
}

impl NewParent {
    /// As the image at `child` (an absolute path) records it.
    pub(crate) fn seen_from(&self, child: &Path) -> Result<Parent> {
        let folder = child.parent().unwrap_or(Path::new("/"));
        let path = self.path.strip_prefix(folder).unwrap_or(&self.path);
        let reference = path.to_str().ok_or_else(|| {
            Error::Chain(format!("{} cannot be recorded: it is not UTF-8", self.path.display()))
        })?;
        // A colon before the first slash would be read as a protocol.
        let plain = path.is_absolute() || !reference.contains(':');
        let reference = if plain { reference.to_owned() } else { format!("./{reference}") };
        Ok(Parent {
            references: vec![reference],
            identities: vec![self.identity.clone()],
            format: Some(self.format.clone()),
        })
    }
}

/// The parent that the top of `disk` has.
pub(crate) fn parent_of(engine: &Engine, disk: &Disk) -> Result<NewParent> {
    let layers = &disk.core().layers()[1..];
    let parent = &layers[0];
    let format = format_of(&parent.image);
    let child = disk.core().layers()[0].image.plugin().name();
    let identity = identity::for_child(engine, layers, child)?;
    Ok(NewParent { path: disk.paths()[1].clone(), format, identity })
}

/// [`Engine::create`].
pub(crate) fn create(engine: &Engine, path: &Path, options: &CreateOptions) -> Result<Image> {
    let shown = path.display();
    let plugin = engine.plugin(&options.format)?;
    let made = FileOptions::new().read(true).write(true).create_new(true).open(path);
    let file = made.map_err(Error::io(format!("cannot make {shown}")))?;
    let image = fill(engine, plugin.name(), path, file, options);
    if image.is_err() {
        // What went wrong is told; that it could not be tidied up says no more.
        let _ = std::fs::remove_file(path);
    }
    image
}

fn fill(
    engine: &Engine,
    format: &str,
    path: &Path,
    file: File,
    options: &CreateOptions,
) -> Result<Image> {
    let shown = path.display();
    let path = path.canonicalize().map_err(Error::io(format!("cannot find {shown}")))?;
    remember::record(&path, format)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let main = FileSource::from_file(&name, file, Access::ReadWrite)
        .map_err(Error::io(format!("cannot open {shown}")))?;
    let main = if options.sync { main } else { main.without_waiting() };
    let image = create_source(engine, Arc::new(main), &path, options)?;
    // A flush promises nothing about a file that a crash may leave without a name.
    sync_folder(&path)?;
    Ok(image)
}

/// Gives the file at `path` the owner and permissions of the one at `model`, whose
/// place it is to take.
pub(crate) fn look_alike(model: &Path, path: &Path) -> Result<()> {
    let what = || format!("cannot give {} the owner of {}", path.display(), model.display());
    let found = model.metadata().map_err(Error::io(what()))?;
    let made = path.metadata().map_err(Error::io(what()))?;
    if (made.uid(), made.gid()) != (found.uid(), found.gid()) {
        chown(path, Some(found.uid()), Some(found.gid())).map_err(Error::io(what()))?;
    }
    std::fs::set_permissions(path, found.permissions()).map_err(Error::io(what()))
}

/// Gives the finished file at `half` the name `path`, in place of what was there.
pub(crate) fn rename_over(half: &Path, path: &Path) -> Result<()> {
    let what = format!("cannot rename {} to {}", half.display(), path.display());
    std::fs::rename(half, path).map_err(Error::io(what))
}

/// Makes changes of names in a file's folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io(format!("cannot flush the folder {}", folder.display())))
}

/// [`Engine::create_source`].
pub(crate) fn create_source(
    engine: &Engine,
    main: Arc<dyn Source>,
    path: &Path,
    options: &CreateOptions,
) -> Result<Image> {
    let parent = options.parent.as_ref();
    let open_options = OpenOptions {
        format: Some(options.format.clone()),
        access: Access::ReadWrite,
        // The operator named the parent, which may be made later.
        allow: parent
            .map(|parent| parent.path.clone())
            .into_iter()
            .chain(options.allow.iter().cloned())
            .filter(|path| path.exists())
            .collect(),
        keys: options.keys.clone(),
        ..OpenOptions::default()
    };
    let policy = Policy::new(path, &open_options.allow)?;
    let open = OpenImage {
        grants: Arc::new(policy.for_image(path, Access::ReadWrite)),
        settings: options.settings.clone(),
        seed: seed()?,
        ..OpenImage::alone(main)
    };
    let new = NewImage {
        size: options.size,
        logical_sector: options.logical_sector,
        parent: parent.map(|parent| parent.seen_from(path)).transpose()?,
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    };
    let plugin = engine.plugin(&options.format)?;
    let image = Arc::new(core::Image::create(plugin, open, &new)?);
    let image = Opened::alone(image);
    let image = Image::new(engine, image, path.to_path_buf(), policy, open_options);
    // From here on a crash leaves a whole image.
    image.disk_alone()?.flush()?;
    Ok(image)
}
