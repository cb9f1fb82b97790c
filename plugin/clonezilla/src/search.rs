//! Finding the file of a partition by asking for the names that it may have.

use fumehood_plugin::{Result, SourceHandle};

use crate::compression::Compression;
use crate::folder::Folder;
use crate::naming::{Candidate, Split, candidates};
use crate::plan::Planned;
use crate::sums::Sums;

/// A file that is there.
pub struct Found {
    pub file: Candidate,
    pub split: Split,
    /// Its first piece; `None` where only the second is there.
    pub first: Option<SourceHandle>,
}

/// The file of a partition, if it has one. `usual` is how others were compressed.
///
/// # Errors
/// As [`Folder::find`].
pub fn search(
    partition: &Planned,
    usual: Option<Compression>,
    folder: &Folder,
    sums: &Sums,
) -> Result<Option<Found>> {
    let list = candidates(&partition.name, partition.device.file_system.as_deref(), usual);
    // A list of the folder's files saves most questions. It need not be of this folder.
    for listed in [true, false] {
        for file in &list {
            if let Some(found) = ask(file, folder, |name| !listed || sums.has(name))? {
                return Ok(Some(found));
            }
        }
    }
    for file in &list {
        for split in Split::ALL {
            let Some(second) = split.piece(&file.stem, 1) else { continue };
            if folder.find(&second)?.is_some() {
                return Ok(Some(Found { file: file.clone(), split, first: None }));
            }
        }
    }
    Ok(None)
}

/// The file of this name, whole or in pieces.
fn ask(
    file: &Candidate,
    folder: &Folder,
    asked_for: impl Fn(&str) -> bool,
) -> Result<Option<Found>> {
    for split in Split::ALL {
        let Some(name) = split.piece(&file.stem, 0).filter(|name| asked_for(name)) else {
            continue;
        };
        if let Some(source) = folder.find(&name)? {
            return Ok(Some(Found { file: file.clone(), split, first: Some(source) }));
        }
    }
    Ok(None)
}
