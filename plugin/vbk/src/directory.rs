//! The folders and files of an archive.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use fumehood_plugin::read::parse_struct;
use fumehood_plugin::text::harmless;
use fumehood_plugin::{Error, Result};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::archive::Archive;
use crate::slot::Root;

/// The most items of an archive.
const MOST_ITEMS: usize = 16384;
/// How deep folders nest.
const DEEPEST: u32 = 16;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Item {
    kind: U32,
    name_length: U32,
    name: [u8; 128],
    properties: I64,
    unknown: U32,
    tail: [u8; 44],
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FolderTail {
    root: I64,
    count: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FileTail {
    update_in_progress: U16,
    unknown: u8,
    format: u8,
    root: I64,
    count: U64,
    size: U64,
    unknown_too: U64,
    attach_state: u8,
}

/// A file inside the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The names of its folders and its own.
    pub path: Vec<String>,
    /// Its length in bytes.
    pub size: u64,
    /// Its table of blocks, and the number of blocks.
    pub blocks: Root,
    /// Where its properties are, if it has any.
    pub properties: Option<u64>,
    /// It was being written when the archive was left.
    pub unfinished: bool,
}

impl File {
    /// Its name without folders.
    pub fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}

/// What an archive holds.
#[derive(Debug, Default)]
pub struct Directory {
    /// Files that can be read, in order.
    pub files: Vec<File>,
    /// Names of folders, in order.
    pub folders: Vec<String>,
    /// What cannot be read, and why.
    pub refused: Vec<String>,
    items: usize,
}

impl Directory {
    /// Reads all folders.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for items that make no sense, [`Error::Unsupported`] for more
    /// than can be kept.
    pub fn read(archive: &Archive) -> Result<Self> {
        let mut directory = Self::default();
        directory.read_folder(archive, archive.snapshot.directory, &[], 0)?;
        Ok(directory)
    }

    fn read_folder(
        &mut self,
        archive: &Archive,
        root: Root,
        path: &[String],
        depth: u32,
    ) -> Result<()> {
        if depth > DEEPEST {
            return Err(Error::corrupt(0, format!("folders nest deeper than {DEEPEST}")));
        }
        let vector = archive.vector(root, size_of::<Item>(), MOST_ITEMS as u64, "folder")?;
        for index in 0..vector.count {
            self.items += 1;
            if self.items > MOST_ITEMS {
                return Err(Error::Unsupported(format!("more than {MOST_ITEMS} files")));
            }
            let item: Item = vector.get(archive, index)?;
            self.take(archive, &item, path, depth)?;
        }
        Ok(())
    }

    fn take(&mut self, archive: &Archive, item: &Item, path: &[String], depth: u32) -> Result<()> {
        let length = item.name_length.get();
        let name = usize::try_from(length).ok().and_then(|length| item.name.get(..length));
        let Some(name) = name else {
            return Err(Error::corrupt(0, format!("a file name of {length} bytes")));
        };
        let name = harmless(&String::from_utf8_lossy(name)).replace('/', "_");
        let mut path = path.to_vec();
        path.push(name);
        let full = path.join("/");
        match item.kind.get() {
            1 => {
                let folder: FolderTail = parse_struct(&item.tail, 0, 0, "folder")?;
                self.folders.push(full);
                let root = Root::new(folder.root, folder.count.get().into());
                self.read_folder(archive, root, &path, depth + 1)?;
            }
            2 => self.refused.push(format!("{full} is an external file (type 2)")),
            3 => {
                let file: FileTail = parse_struct(&item.tail, 0, 0, "file")?;
                self.files.push(File {
                    path,
                    size: file.size.get(),
                    blocks: Root::new(file.root, file.count.get()),
                    properties: u64::try_from(item.properties.get()).ok(),
                    unfinished: file.update_in_progress.get() != 0,
                });
            }
            4 => self.refused.push(format!("{full} is a patch (type 4), not a full backup")),
            5 => self.refused.push(format!("{full} is an increment (type 5), not a full backup")),
            kind => self.refused.push(format!("{full} is of the unknown type {kind}")),
        }
        Ok(())
    }

    /// The path of `file` without the folder that all share, if there is just one.
    pub fn shown(&self, file: &File) -> String {
        let top = self.folders.iter().filter(|folder| !folder.contains('/')).count();
        let shared = top == 1 && self.files.iter().all(|file| file.path.len() > 1);
        let path = file.path.get(usize::from(shared)..).unwrap_or_default();
        path.iter().map(ToString::to_string).collect::<Vec<_>>().join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((size_of::<Item>(), size_of::<FileTail>()), (192, 37));
    }
}
