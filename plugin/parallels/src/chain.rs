//! Whether a descriptor fits together: storages without gaps, states without circles,
//! images with names that stay in the bundle. What comes out can be opened.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Error, Result};

use crate::descriptor::{Descriptor, ImageEntry, Shot, StorageEntry};
use crate::guid::Guid;
use crate::header::SECTOR;

/// Files opened for a disk; real ones need a few.
const FILE_LIMIT: usize = 1024;

impl Descriptor {
    /// The state that is written to.
    pub fn top(&self) -> Guid {
        match (self.top, &*self.shots, &*self.storages) {
            (Some(top), ..) => top,
            // Without any states there is one image a storage.
            (None, [], [first, ..]) => first.images.first().map_or(Guid::TOP, |image| image.guid),
            _ => Guid::TOP,
        }
    }

    /// The states that were kept.
    pub fn kept(&self) -> impl Iterator<Item = &Shot> {
        let top = self.top();
        self.shots.iter().filter(move |shot| shot.guid != top)
    }

    /// The state `from` and all that it was made on, the newest first.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a state twice, one that is not listed, and a circle.
    pub fn ancestry(&self, from: Guid) -> Result<Vec<Guid>> {
        let mut names = BTreeSet::new();
        if let Some(twice) = self.shots.iter().find(|shot| !names.insert(shot.guid)) {
            return Err(Error::corrupt(0, format!("the state {} is listed twice", twice.guid)));
        }
        if self.shots.is_empty() {
            return Ok(alloc::vec![from]);
        }
        let mut chain = Vec::new();
        let mut at = from;
        while at != Guid::ZERO {
            let shot = self.shots.iter().find(|shot| shot.guid == at);
            let unlisted = || Error::corrupt(0, format!("the state {at} is not listed"));
            let shot = shot.ok_or_else(unlisted)?;
            if chain.len() >= self.shots.len() {
                return Err(Error::corrupt(0, format!("the state {from} was made on itself")));
            }
            chain.push(at);
            at = shot.parent;
        }
        Ok(chain)
    }

    /// The storages in the disk's order, which follow each other from 0 on.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where they leave a gap, overlap, do not reach the disk's end,
    /// or say nonsense.
    pub fn ordered(&self) -> Result<Vec<&StorageEntry>> {
        let mut storages: Vec<&StorageEntry> = self.storages.iter().collect();
        storages.sort_by_key(|storage| storage.start);
        let mut at = 0;
        for storage in &storages {
            let (start, end) = (storage.start, storage.end);
            if start != at || end <= start {
                let what = format!("a storage of the sectors {start} to {end} follows sector {at}");
                return Err(Error::corrupt(0, what));
            }
            at = end;
        }
        let too_long = at.checked_mul(SECTOR).is_none_or(|size| size > i64::MAX as u64);
        if at < self.sectors || too_long || storages.is_empty() {
            let what = format!("storages up to sector {at} for a disk of {}", self.sectors);
            return Err(Error::corrupt(0, what));
        }
        Ok(storages)
    }

    /// For each storage the images of a chain, the newest first.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for an image that is missing or listed twice, and for file
    /// names that lead out of the bundle; [`Error::Unsupported`] for absolute ones.
    pub fn images<'a>(
        &self,
        storages: &[&'a StorageEntry],
        chain: &[Guid],
    ) -> Result<Vec<Vec<&'a ImageEntry>>> {
        if storages.len().saturating_mul(chain.len()) > FILE_LIMIT {
            let (count, depth) = (storages.len(), chain.len());
            let what = format!("{count} storages of {depth} images each");
            return Err(Error::Unsupported(what));
        }
        let mut files = BTreeSet::new();
        let mut found = Vec::new();
        for storage in storages {
            let mut images = Vec::new();
            for guid in chain {
                let image = storage.image(*guid)?;
                check_name(&image.file)?;
                if !files.insert(&*image.file) {
                    let what = format!("{:?} is two images at once", image.file);
                    return Err(Error::corrupt(0, what));
                }
                images.push(image);
            }
            found.push(images);
        }
        Ok(found)
    }
}

impl StorageEntry {
    fn image(&self, guid: Guid) -> Result<&ImageEntry> {
        let mut images = self.images.iter().filter(|image| image.guid == guid);
        match (images.next(), images.next()) {
            (Some(image), None) => Ok(image),
            (None, _) => Err(self.wrong(format!("no image for the state {guid}"))),
            (Some(_), Some(_)) => Err(self.wrong(format!("two images for the state {guid}"))),
        }
    }

    fn wrong(&self, what: String) -> Error {
        Error::corrupt(0, format!("the storage from sector {} on has {what}", self.start))
    }
}

/// Refuses names that lead out of the bundle. The host would too.
fn check_name(name: &str) -> Result<()> {
    let drive = name.as_bytes().get(1) == Some(&b':');
    if name.starts_with(['/', '\\']) || drive {
        let what = format!("an image outside of the bundle ({name:?}), as linked clones have");
        return Err(Error::Unsupported(what));
    }
    let steps_out = name.split(['/', '\\']).any(|part| part == "..");
    if name.is_empty() || steps_out || name.contains(char::is_control) {
        return Err(Error::corrupt(0, format!("{name:?} is not a file of the bundle")));
    }
    Ok(())
}
