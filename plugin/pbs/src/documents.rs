//! Small files of a snapshot, as texts: the manifest, a machine's configuration, the
//! client's log.

use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Access, Error, Result};

use crate::blob::Blob;
use crate::manifest::Mode;
use crate::snapshot::Snapshot;

/// The manifest's name among them.
const MANIFEST: &str = "index.json";

/// Their names.
pub fn names(snapshot: &Snapshot) -> Vec<String> {
    let own = snapshot.manifest.iter().map(|_| MANIFEST.into());
    own.chain(snapshot.documents.iter().map(|name| shown(name).into())).collect()
}

/// The one of that name.
///
/// # Errors
/// [`Error::Missing`] for another name, and as [`Blob::contents`];
/// [`Error::Corrupt`] where it is not protected as the manifest says.
pub fn read(snapshot: &Snapshot, name: &str) -> Result<Vec<u8>> {
    let missing = || Error::Missing(name.into());
    if name == MANIFEST {
        return snapshot.manifest.as_ref().map(|it| it.text.clone()).ok_or_else(missing);
    }
    let file = snapshot.documents.iter().find(|file| shown(file) == name).ok_or_else(missing)?;
    let source = snapshot.host.open(file, Access::Read)?;
    let blob = Blob::read(&*source)?;
    let listed = snapshot.manifest.as_ref().and_then(|manifest| manifest.file(file));
    let expected = listed.map(|file| file.mode == Mode::Encrypted);
    if expected.is_some_and(|expected| expected != blob.sealed.is_some()) {
        let what = "it is not encrypted as the manifest says";
        return Err(Error::corrupt_in(source.id(), 0, alloc::format!("{file}: {what}")));
    }
    blob.contents(&*source, snapshot.key.as_ref().map(|active| &active.key.key))
}

fn shown(file: &str) -> &str {
    file.strip_suffix(".blob").unwrap_or(file)
}
