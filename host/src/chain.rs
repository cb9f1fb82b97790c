//! The chain of parents behind a disk: opened by what each child records, and held
//! to the identities it records.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fumehood_core::contract::format::Parent;
use fumehood_core::{Access, CHAIN_LIMIT, Layer};

use crate::container::{Opened, split_format};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::identity;
use crate::image::{Image, Opening, glimpse_of};
use crate::policy::PolicyGrants;
use crate::remember;
use crate::source::FileSource;

/// A chain of parents while it is opened.
pub(crate) struct Chain<'a> {
    top: &'a Image,
    /// Where the lowest image opened so far lies.
    path: PathBuf,
    layers: Vec<Layer>,
    /// The files of the layers.
    paths: Vec<PathBuf>,
    /// Device and inode of every image of the chain.
    seen: HashSet<(u64, u64)>,
    checks: Vec<Check>,
}

/// An identity to be checked once the whole chain is there.
struct Check {
    child: String,
    parent: PathBuf,
    /// The parent's place in the chain.
    depth: usize,
    identities: Vec<String>,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(top: &'a Image) -> Result<Self> {
        let mut chain = Self {
            top,
            path: top.path().to_path_buf(),
            layers: Vec::new(),
            paths: Vec::new(),
            seen: HashSet::new(),
            checks: Vec::new(),
        };
        chain.see()?;
        Ok(chain)
    }

    /// Notes the file at `path`; one that was seen before closes a circle.
    fn see(&mut self) -> Result<()> {
        let shown = self.path.display();
        // The top may lie in a source of the embedder's own.
        let metadata = match self.path.metadata() {
            Err(_) if self.seen.is_empty() && self.layers.is_empty() => return Ok(()),
            metadata => metadata.map_err(Error::io(format!("cannot look at {shown}")))?,
        };
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return Err(Error::Chain(format!("the chain of parents comes back to {shown}")));
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, layer: Layer) -> Result<()> {
        if self.layers.len() >= CHAIN_LIMIT {
            return Err(Error::Chain(format!("the chain has more than {CHAIN_LIMIT} images")));
        }
        self.layers.push(layer);
        self.paths.push(self.path.clone());
        Ok(())
    }

    /// The parent that the lowest layer names.
    pub(crate) fn wanted(&self) -> Option<Parent> {
        let lowest = self.layers.last()?;
        lowest.image.disks()[lowest.number as usize].parent.clone()
    }

    pub(crate) fn add_parent(&mut self, parent: &Parent) -> Result<()> {
        let top = self.top;
        let child = self.path.display().to_string();
        let gate = top.policy().for_image(&self.path, Access::Read);
        let (path, source) = open_first(&gate, &child, &parent.references)?;
        self.path = path;
        self.see()?;
        let format = parent
            .format
            .clone()
            .or_else(|| top.options().parent_format.clone())
            .or_else(|| remember::recorded(&self.path))
            .ok_or_else(|| {
                Error::Chain(format!(
                    "{child} records no format for its parent {}; name it with --parent-format \
                     (it is not guessed, since a guest may have written the parent)",
                    self.path.display()
                ))
            })?;
        let (engine, options) = (top.engine(), top.options());
        let (outer, inner) = split_format(&format);
        let plugin = engine.plugin(outer)?;
        let opening = Opening {
            glimpse: glimpse_of(&source).ok(),
            main: Arc::new(source),
            path: &self.path,
            policy: top.policy(),
            snapshot: None,
            granted: true,
        };
        let image = opening.clone().open(engine, plugin, options)?;
        let opened = Opened::all(engine, image, &opening, options, inner)?;
        if opened.sound_disks().any(|disk| opened.is_guessed(disk)) {
            return Err(Error::Chain(format!(
                "{child} records {format} as its parent's format, and not the format of what is \
                 in it; name it with --parent-format {format}/…"
            )));
        }
        let layer = choose_disk(engine, &opened, &self.path, &parent.identities)?.clone();
        self.checks.push(Check {
            child,
            parent: self.path.clone(),
            depth: self.layers.len(),
            identities: parent.identities.clone(),
        });
        self.add(layer)
    }

    /// The layers, once all recorded identities are found to be right.
    pub(crate) fn finish(self) -> Result<(Vec<Layer>, Vec<PathBuf>)> {
        for check in &self.checks {
            let layers = &self.layers[check.depth..];
            if check.identities.is_empty()
                || identity::is_one_of(self.top.engine(), layers, &check.identities)
            {
                continue;
            }
            let format = layers[0].image.plugin().name();
            let found = identity::for_child(self.top.engine(), layers, format)?;
            return Err(Error::Chain(format!(
                "{} was made on a parent with identity {}, but {} has {found}; it was exchanged \
                 or changed since",
                check.child,
                check.identities.join(" or "),
                check.parent.display(),
            )));
        }
        Ok((self.layers, self.paths))
    }
}

/// Opens the first of the references that can be opened; the error is that of the
/// first, which the child likes best.
fn open_first(
    gate: &PolicyGrants,
    child: &str,
    references: &[String],
) -> Result<(PathBuf, FileSource)> {
    let mut refused = None;
    for reference in references {
        match gate.open_parent(reference) {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    Err(Error::Chain(match refused {
        Some(error) => format!("the parent of {child} cannot be opened: {error}"),
        None => format!("{child} has a parent, but does not say where"),
    }))
}

/// Which disk of an image of several a child was made on: the one whose identity it
/// records, or the first.
fn choose_disk<'a>(
    engine: &Engine,
    opened: &'a Opened,
    path: &Path,
    identities: &[String],
) -> Result<&'a Layer> {
    let is_meant =
        |disk: &&Layer| identity::is_one_of(engine, std::slice::from_ref(*disk), identities);
    let found = if opened.count() > 1 { opened.sound_disks().find(is_meant) } else { None };
    found.map_or_else(|| opened.disk(0, path), Ok)
}
