//! Opening: from the main file to a [`Snapshot`]. Reads headers and the manifest, no
//! digests and no chunks.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use fumehood_plugin::{Access, Error, Host, OpenOptions, Result, SourceHandle};

use crate::MANIFEST;
use crate::blob::Blob;
use crate::fixed::{self, Index};
use crate::image::PbsImage;
use crate::keys;
use crate::manifest::{File, Manifest, Mode};
use crate::snapshot::{ActiveKey, Entry, Snapshot};
use crate::store::Store;

/// What the client puts beside a snapshot after its manifest.
const CLIENT_LOG: &str = "client.log.blob";

/// Opens a manifest with all that it lists, or a single index.
///
/// # Errors
/// As [`Index::read`], [`Manifest::parse`], [`keys::find`].
pub fn open(main: SourceHandle, host: Rc<dyn Host>, options: &OpenOptions) -> Result<PbsImage> {
    let lenient = is_lenient(&options.settings)?;
    let head = main.read(0, 8).map_err(|_| Error::Unrecognised)?;
    let mut snapshot = Snapshot {
        store: Rc::new(Store::new(Rc::clone(&host))),
        host,
        manifest: None,
        disks: Vec::new(),
        archives: Vec::new(),
        documents: Vec::new(),
        key: None,
        lenient,
        warnings: Vec::new(),
    };
    if fixed::is_index(&head) {
        open_index(main, &mut snapshot)?;
    } else {
        open_manifest(&main, &mut snapshot)?;
    }
    snapshot.key = find_key(&mut snapshot, options)?;
    Ok(PbsImage::new(snapshot))
}

/// The setting `index_checksum=ignore`.
fn is_lenient(settings: &[(String, String)]) -> Result<bool> {
    let value = settings.iter().find(|(name, _)| name == "index_checksum");
    match value.map(|(_, value)| value.as_str()) {
        None => Ok(false),
        Some("ignore") => Ok(true),
        Some(other) => Err(Error::Unsupported(format!("index_checksum={other}, not ignore"))),
    }
}

/// A single index, and what the manifest beside it says of it.
fn open_index(main: SourceHandle, snapshot: &mut Snapshot) -> Result<()> {
    let name = main.name();
    let index = Index::read(main)?;
    let (mut found, mut mode, size) = (None, None, index.size);
    match snapshot.host.open(MANIFEST, Access::Read) {
        Ok(source) => match read_manifest(&source) {
            Ok(manifest) => found = Some(manifest),
            Err(error) => {
                snapshot.warnings.push(format!("the manifest beside it is not used: {error}"));
            }
        },
        Err(Error::Missing(_)) => {
            let what = "there is no manifest beside it to compare it with";
            snapshot.warnings.push(what.into());
        }
        Err(error) => return Err(error),
    }
    let mut index = Ok(Rc::new(index));
    if let Some(manifest) = found {
        match manifest.file(&name) {
            Some(file) => {
                mode = Some(file.mode);
                index = index.and_then(|index| compare(index, file, snapshot));
                snapshot.manifest = Some(manifest);
            }
            None => {
                snapshot.warnings.push(format!("the manifest beside it does not list {name}"));
            }
        }
    }
    // There is nothing else in the image.
    index.clone()?;
    snapshot.disks = vec![Entry { name: String::new(), size, index, mode }];
    Ok(())
}

/// All that the manifest in `main` lists.
fn open_manifest(main: &SourceHandle, snapshot: &mut Snapshot) -> Result<()> {
    let manifest = read_manifest(main).map_err(|error| match error {
        Error::Unrecognised if main.name() == MANIFEST => {
            Error::corrupt(0, "expected the manifest of a snapshot, found another text")
        }
        other => other,
    })?;
    for file in &manifest.files {
        if file.name.ends_with(".fidx") {
            let entry = entry(file, snapshot);
            snapshot.disks.extend(entry);
        } else if file.name.ends_with(".didx") {
            snapshot.archives.push(file.name.clone());
        } else if file.name.ends_with(".blob") {
            snapshot.documents.push(file.name.clone());
        }
    }
    let has_log = snapshot.host.open(CLIENT_LOG, Access::Read).is_ok();
    if has_log && manifest.file(CLIENT_LOG).is_none() {
        snapshot.documents.push(CLIENT_LOG.into());
    }
    snapshot.manifest = Some(manifest);
    Ok(())
}

fn read_manifest(source: &SourceHandle) -> Result<Manifest> {
    let blob = Blob::read(&**source).map_err(|_| Error::Unrecognised)?;
    if blob.sealed.is_some() {
        return Err(Error::Unrecognised);
    }
    Manifest::parse(blob.contents(&**source, None)?)
}

/// The disk of an index that a manifest lists. Where it cannot be read the others can.
fn entry(file: &File, snapshot: &mut Snapshot) -> Option<Entry> {
    let name = file.name.strip_suffix(".fidx").unwrap_or(&file.name);
    let name = name.strip_suffix(".img").unwrap_or(name).to_string();
    let index = match snapshot.host.open(&file.name, Access::Read).and_then(Index::read) {
        Ok(index) => compare(Rc::new(index), file, snapshot),
        Err(Error::Unrecognised) => Err(Error::Unsupported(format!("{} is no index", file.name))),
        Err(error) => Err(error),
    };
    if let Err(error) = &index {
        snapshot.warnings.push(format!("{} cannot be read: {error}", file.name));
    }
    let size = index.as_ref().map_or(file.size, |index| index.size);
    let shown = size > 0 && i64::try_from(size).is_ok();
    shown.then_some(Entry { name, size, index, mode: Some(file.mode) })
}

/// That an index is the one the manifest lists.
fn compare(index: Rc<Index>, file: &File, snapshot: &mut Snapshot) -> Result<Rc<Index>> {
    let same = index.checksum == file.checksum && index.size == file.size;
    if same {
        return Ok(index);
    }
    let what = format!("{} is not the index that the manifest lists under this name", file.name);
    if snapshot.lenient {
        snapshot.warnings.push(what);
        return Ok(index);
    }
    let what = format!("{what}; the setting index_checksum=ignore reads it all the same");
    Err(Error::corrupt_in(index.source(), 32, what))
}

/// The key, if anything takes one, and that the manifest is signed with it.
fn find_key(snapshot: &mut Snapshot, options: &OpenOptions) -> Result<Option<ActiveKey>> {
    let manifest = snapshot.manifest.as_ref();
    let is_needed = manifest.is_none_or(|it| it.is_encrypted() || it.is_signed());
    if !is_needed {
        return Ok(None);
    }
    let fingerprint = manifest.and_then(|manifest| manifest.fingerprint.as_ref());
    let Some(key) = keys::find(&options.keys, fingerprint)? else { return Ok(None) };
    if let Some(manifest) = manifest {
        manifest.check_signature(&key)?;
        if !manifest.is_signed() {
            let what = "the manifest is not signed, so anyone may have changed it";
            snapshot.warnings.push(what.into());
        }
    }
    let number = snapshot.host.keep_secret(&key.key)?;
    Ok(Some(ActiveKey { key, number }))
}

/// Whether a disk can be read with what was given.
///
/// # Errors
/// [`Error::NeedsKey`] where its key is missing, and why it has no index.
pub fn usable(snapshot: &Snapshot, entry: &Entry) -> Result<Rc<Index>> {
    let index = entry.index.clone()?;
    if entry.mode == Some(Mode::Encrypted) && snapshot.key.is_none() {
        let fingerprint = snapshot.manifest.as_ref().and_then(|it| it.fingerprint.as_ref());
        let of = fingerprint.map(|it| format!(" with fingerprint {}", keys::brief(it)));
        let what = format!("the key file of the backup{}", of.unwrap_or_default());
        return Err(Error::NeedsKey(what));
    }
    Ok(index)
}
