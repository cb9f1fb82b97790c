//! Images inside images: a `.vmdk` in an `.ova`, a `.vma` in a `.vma.zst`.
//!
//! A container's disks are files. Each is opened as an image in its turn, from a source
//! that reads through the container, and its disks take the file's place. A file that no
//! plugin recognises is a raw disk. The format of such an image is written with slashes,
//! from the outside in: `ova/vmdk`, `compressed/vma`.
//!
//! What is in a container may be a raw disk in which a guest wrote the beginning of
//! another format. So an image whose format was not named is granted nothing, and its
//! parents are not opened: the guest sees its own bytes in another order, and no others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fumehood_core::contract::format::{Confidence, Contents, DiskInfo, ImageInfo};
use fumehood_core::{self as core, Layer, Plugin};

use crate::disk::{Disk, Means};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::{OpenOptions, Opening, glimpse_of};
use crate::source::NestedSource;

/// Containers in containers: `.ova` with `.vmdk.gz` has two, and no one needs many more.
const DEPTH_LIMIT: usize = 4;
/// The most images in one container and all that lie in it.
const INNER_LIMIT: usize = 64;

/// An opened image and all that it contains.
#[derive(Clone)]
pub(crate) struct Opened {
    /// The image itself, the outermost.
    pub image: Arc<core::Image>,
    /// Its disks, and those of the images in it in the place of files.
    disks: Vec<Layer>,
    /// Images in it, outer ones first.
    inner: Vec<Arc<core::Image>>,
    /// Disks, by their numbers, that are files which do not open, and why.
    failures: BTreeMap<usize, String>,
    /// Whether the format of one of those was not named.
    guessed: bool,
}

/// What is left of the limits.
struct Limits {
    /// How deep containers may still lie in each other.
    depth: usize,
    /// How many images may still be tried, wherever they lie.
    images: usize,
}

/// A format by its name: what comes before the first slash, and what is inside of it.
pub(crate) fn split_format(format: &str) -> (&str, Option<&str>) {
    match format.split_once('/') {
        Some((outer, inner)) => (outer, Some(inner)),
        None => (format, None),
    }
}

/// The disk of a container that holds an image, if one does.
pub(crate) fn around(image: &core::Image) -> Option<Layer> {
    let main = image.source(0).ok()?;
    let nested = main.as_any().downcast_ref::<NestedSource>()?;
    nested.disk().core().layers().first().cloned()
}

/// The format of an image, with that of the containers around it.
pub(crate) fn format_of(image: &core::Image) -> String {
    let name = image.plugin().name();
    match around(image) {
        Some(outer) => format!("{}/{name}", format_of(&outer.image)),
        None => name.to_owned(),
    }
}

impl Opened {
    /// An image that is no container.
    pub(crate) fn alone(image: Arc<core::Image>) -> Self {
        let layer = |number| Layer { image: image.clone(), number };
        let disks = (0..image.disks().len() as u32).map(layer).collect();
        Self { disks, ..Self::empty(image) }
    }

    fn empty(image: Arc<core::Image>) -> Self {
        let (disks, inner, failures) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { image, disks, inner, failures, guessed: false }
    }

    /// Opens what is in `image`, by what it looks like, or as `format` says. A file that
    /// does not open keeps none of the others from it.
    ///
    /// # Errors
    /// Where none of them opens: what is wrong with the first.
    pub(crate) fn all(
        engine: &Engine,
        image: Arc<core::Image>,
        around: &Opening<'_>,
        options: &OpenOptions,
        format: Option<&str>,
    ) -> Result<Self> {
        let mut limits = Limits { depth: DEPTH_LIMIT, images: INNER_LIMIT };
        Self::within(engine, image, around, options, format, &mut limits)
    }

    fn within(
        engine: &Engine,
        image: Arc<core::Image>,
        around: &Opening<'_>,
        options: &OpenOptions,
        format: Option<&str>,
        limits: &mut Limits,
    ) -> Result<Self> {
        let mut opened = Self::empty(image.clone());
        let mut first = None;
        for (number, info) in (0..).zip(image.disks()) {
            let layer = Layer { image: image.clone(), number };
            if !matches!(info.contents, Contents::File) {
                opened.disks.push(layer);
                continue;
            }
            match Self::file(engine, layer.clone(), around, options, format, limits) {
                Ok(file) => opened.add(file),
                Err(error) => {
                    let name = info.name.clone();
                    let error = Error::Contained { name, error: Box::new(error) };
                    opened.failures.insert(opened.disks.len(), error.to_string());
                    opened.disks.push(layer);
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(error) if opened.failures.len() == opened.disks.len() => Err(error),
            _ => Ok(opened),
        }
    }

    /// Opens the file in `layer`, and what is in it.
    fn file(
        engine: &Engine,
        layer: Layer,
        around: &Opening<'_>,
        options: &OpenOptions,
        format: Option<&str>,
        limits: &mut Limits,
    ) -> Result<Self> {
        if limits.depth == 0 || limits.images == 0 {
            return Err(Error::Chain(format!(
                "it lies in more than {DEPTH_LIMIT} containers, or is one of more than \
                 {INNER_LIMIT} images in them"
            )));
        }
        limits.images -= 1;
        let alone = layer.image.disks().len() == 1;
        let mut opening = nested(engine, layer, around, options)?;
        let named = choose_named(engine, &opening, format, alone)?;
        opening.granted = named.is_some();
        let (plugin, inner) = match named {
            Some(named) => named,
            None => (guess(engine, &opening)?, None),
        };
        let image = open_one(engine, plugin, &opening, options)?;
        limits.depth -= 1;
        let opened = Self::within(engine, image.clone(), around, options, inner, limits);
        limits.depth += 1;
        let mut opened = opened?;
        opened.inner.insert(0, image);
        opened.guessed |= !opening.granted;
        Ok(opened)
    }

    /// Puts the disks of a file in its place.
    fn add(&mut self, file: Self) {
        let before = self.disks.len();
        self.failures.extend(file.failures.into_iter().map(|(at, why)| (before + at, why)));
        self.disks.extend(file.disks);
        self.inner.extend(file.inner);
        self.guessed |= file.guessed;
    }

    /// The disk of that number.
    ///
    /// # Errors
    /// Where there is none, or it does not open.
    pub(crate) fn disk(&self, number: u32, path: &Path) -> Result<&Layer> {
        let number = number as usize;
        let path = path.display();
        if let Some(why) = self.failures.get(&number) {
            return Err(Error::Chain(format!("{path}: disk {number} does not open: {why}")));
        }
        let count = self.count();
        self.disks
            .get(number)
            .ok_or_else(|| Error::Chain(format!("{path} has no disk {number}; it has {count}")))
    }

    /// How many disks there are, with those that do not open.
    pub(crate) fn count(&self) -> usize {
        self.disks.len()
    }

    /// The disks that open.
    pub(crate) fn sound_disks(&self) -> impl Iterator<Item = &Layer> {
        let disks = self.disks.iter().enumerate();
        disks.filter(|(number, _)| !self.failures.contains_key(number)).map(|(_, disk)| disk)
    }

    /// Whether a disk's format was not named: it is trusted with nothing else.
    pub(crate) fn is_guessed(&self, disk: &Layer) -> bool {
        self.guessed && !Arc::ptr_eq(&disk.image, &self.image)
    }

    /// What is known of the image and of all in it.
    pub(crate) fn info(&self) -> ImageInfo {
        let mut info = self.image.info().clone();
        for inner in &self.inner {
            let ImageInfo { details, documents, snapshots, warnings } = inner.info().clone();
            info.details.extend(details);
            info.documents.extend(documents);
            info.warnings.extend(warnings);
            if self.inner.len() == 1 {
                info.snapshots.extend(snapshots);
            }
        }
        info.warnings.extend(self.failures.values().cloned());
        info
    }

    /// What is known of the disks.
    pub(crate) fn disk_infos(&self) -> Vec<DiskInfo> {
        let info = |layer: &Layer| layer.image.disks()[layer.number as usize].clone();
        let name = |layer: &Layer| {
            let mut info = info(layer);
            // A disk that has no name of its own is called as the file it lies in.
            if info.name.is_empty() && !Arc::ptr_eq(&layer.image, &self.image) {
                info.name = layer.image.source_name(0);
            }
            info
        };
        self.disks.iter().map(name).collect()
    }

    /// The format: of the image, and of what lies in it where that is of one format.
    pub(crate) fn format(&self) -> String {
        let mut formats: Vec<_> = self.sound_disks().map(|disk| format_of(&disk.image)).collect();
        formats.dedup();
        match formats.as_slice() {
            [format] => format.clone(),
            _ => self.image.plugin().name().to_owned(),
        }
    }

    /// An embedded text of the image, or of one in it.
    ///
    /// # Errors
    /// Where none lists it.
    pub(crate) fn document(&self, name: &str) -> Result<Vec<u8>> {
        let lists =
            |image: &&Arc<core::Image>| image.info().documents.iter().any(|one| one == name);
        let image = self.inner.iter().find(lists).unwrap_or(&self.image);
        Ok(image.document(name)?)
    }
}

/// Opens one image; a snapshot's name is not meant for a container, but for what is in it.
pub(crate) fn open_one(
    engine: &Engine,
    plugin: Arc<Plugin>,
    opening: &Opening<'_>,
    options: &OpenOptions,
) -> Result<Arc<core::Image>> {
    let opened = opening.clone().open(engine, plugin.clone(), options);
    if opened.is_ok() || opening.snapshot.is_none() {
        return opened;
    }
    let without = Opening { snapshot: None, ..opening.clone() };
    let is_file = |disk: &DiskInfo| matches!(disk.contents, Contents::File);
    match without.open(engine, plugin, options) {
        Ok(image) if !image.disks().is_empty() && image.disks().iter().all(is_file) => Ok(image),
        _ => opened,
    }
}

/// How the file in `layer` is opened.
fn nested<'a>(
    engine: &Engine,
    layer: Layer,
    around: &Opening<'a>,
    options: &OpenOptions,
) -> Result<Opening<'a>> {
    let name = layer.image.disks()[layer.number as usize].name.clone();
    let OpenOptions { extent_cache, block_cache, .. } = *options;
    let means = Means { extent_cache, block_cache, decoder: engine.decoder() };
    let disk = Disk::new(vec![layer], vec![around.path.to_path_buf()], means)?;
    let main = Arc::new(NestedSource::new(name, disk));
    Ok(Opening {
        glimpse: Some(glimpse_of(&*main)?),
        main,
        path: around.path,
        policy: around.policy,
        snapshot: around.snapshot.clone(),
        granted: false,
    })
}

/// The plugin that `format` names for a file, and what it names inside of that; none where
/// it is of another format than the other files of its container.
fn choose_named<'a>(
    engine: &Engine,
    opening: &Opening<'_>,
    format: Option<&'a str>,
    alone: bool,
) -> Result<Option<(Arc<Plugin>, Option<&'a str>)>> {
    let Some((name, inner)) = format.map(split_format) else { return Ok(None) };
    let plugin = engine.plugin(name)?;
    if let Some(glimpse) = opening.glimpse.as_ref().filter(|_| !alone)
        && plugin.probe(glimpse)? == Confidence::No
    {
        return Ok(None);
    }
    Ok(Some((plugin, inner)))
}

/// The plugin that recognises a file; raw where none does.
fn guess(engine: &Engine, opening: &Opening<'_>) -> Result<Arc<Plugin>> {
    let recognised = match &opening.glimpse {
        Some(glimpse) => engine.recognise(glimpse)?,
        None => None,
    };
    recognised.map_or_else(|| engine.plugin("raw"), Ok)
}
