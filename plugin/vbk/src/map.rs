//! A file's map: offset ─▶ block ─▶ descriptor ─▶ store entry ─▶ extent.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use fumehood_plugin::{Content, Disk, Error, Extent, Extents, Finding, Result};

use crate::archive::Archive;
use crate::blocks::{Descriptor, Found, PER_TABLE, Refusal, StoreEntry, TableEntry, Wanted};
use crate::check::check;
use crate::directory::File;
use crate::header::PAGE;
use crate::slot::Root;
use crate::vector::Vector;

/// Blocks of an answer: each takes a read of a descriptor and one of the store.
const MOST_BLOCKS: u64 = 8192;
/// Larger blocks are not decoded for us.
const MOST_BLOCK: u64 = 64 << 20;

/// Descriptors of one entry of the sparse table.
struct Group {
    number: u64,
    /// None where all blocks are sparse.
    descriptors: Option<Vector>,
}

/// A file of an archive, as a disk.
pub struct FileMap {
    archive: Rc<Archive>,
    store: Rc<Vector>,
    table: Vector,
    size: u64,
    /// Bytes a block.
    pub block_size: u64,
    group: Option<Group>,
}

impl FileMap {
    /// The map of `file`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for tables that do not fit the file's size.
    pub fn new(archive: Rc<Archive>, store: Rc<Vector>, file: &File) -> Result<Self> {
        let count = file.blocks.count;
        let root = Root { page: file.blocks.page, count: count.div_ceil(PER_TABLE) };
        let most = archive.source.size() / PAGE * (PAGE / size_of::<TableEntry>() as u64);
        let table = archive.vector(root, size_of::<TableEntry>(), most, "table of blocks")?;
        let mut map = Self { archive, store, table, size: file.size, block_size: 1, group: None };
        if map.size > 0 {
            map.block_size = map.entry(0)?.block_size.get();
        }
        let fits = (1..=MOST_BLOCK).contains(&map.block_size)
            && file.size.div_ceil(map.block_size) == count;
        if !fits {
            let (size, block) = (file.size, map.block_size);
            let what =
                format!("{} of {size} bytes has {count} blocks of {block} bytes", file.name());
            return Err(Error::corrupt(0, what));
        }
        Ok(map)
    }

    /// Refuses by name what no block of would be readable: looks at the first block
    /// that is stored.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn refuse_early(&mut self) -> Result<()> {
        for block in 0..self.size.div_ceil(self.block_size).min(PER_TABLE) {
            match self.find(block)? {
                Ok(None) => (),
                Err(Refusal::Unsupported(what)) => return Err(Error::Unsupported(what)),
                Ok(Some(_)) | Err(Refusal::Corrupt(_)) => break,
            }
        }
        Ok(())
    }

    fn entry(&self, number: u64) -> Result<TableEntry> {
        self.table.get(&self.archive, number)
    }

    /// Where block `number` is, None for zeroes.
    ///
    /// # Errors
    /// What the source answers.
    pub fn find(&mut self, number: u64) -> Result<Found> {
        match self.look_up(number) {
            Ok(found) => Ok(found),
            Err(Error::Corrupt { offset, what, .. }) => {
                Ok(Err(Refusal::Corrupt(format!("at offset {offset}: {what}"))))
            }
            Err(Error::Unsupported(what)) => Ok(Err(Refusal::Unsupported(what))),
            Err(other) => Err(other),
        }
    }

    fn look_up(&mut self, number: u64) -> Result<Found> {
        let start = number.saturating_mul(self.block_size);
        let length = self.block_size.min(self.size.saturating_sub(start));
        let Some(descriptor) = self.descriptor(number)? else { return Ok(Ok(None)) };
        let entry: StoreEntry = match descriptor.wanted(length) {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(Wanted::Zero) => return Ok(Ok(None)),
            Ok(Wanted::Stored(entry)) => self.store.get(&self.archive, entry)?,
        };
        Ok(entry.place(&descriptor, self.archive.source.size()).map(Some))
    }

    fn descriptor(&mut self, number: u64) -> Result<Option<Descriptor>> {
        let group = number / PER_TABLE;
        if self.group.as_ref().is_none_or(|kept| kept.number != group) {
            self.group = Some(Group { number: group, descriptors: self.read_group(group)? });
        }
        match &self.group {
            Some(Group { descriptors: Some(vector), .. }) => {
                vector.get(&self.archive, number % PER_TABLE).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn read_group(&self, number: u64) -> Result<Option<Vector>> {
        let entry = self.entry(number)?;
        let root = Root::new(entry.root, entry.count.get());
        if root.page.is_none() {
            return Ok(None);
        }
        if entry.block_size.get() != self.block_size {
            let (found, due) = (entry.block_size.get(), self.block_size);
            return Err(Error::corrupt(0, format!("blocks of {found} bytes among such of {due}")));
        }
        let size = size_of::<Descriptor>();
        self.archive.vector(root, size, PER_TABLE, "table of descriptors").map(Some)
    }

    /// What is in the archive itself, for checking it.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The file's length.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Disk for FileMap {
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        if offset >= self.size {
            return Err(Error::OutOfRange);
        }
        let end = offset.saturating_add(length.max(1)).min(self.size);
        let first = offset / self.block_size;
        let behind = end.div_ceil(self.block_size).min(first + MOST_BLOCKS);
        let mut extents = Extents::new();
        for block in first..behind {
            let start = block * self.block_size;
            let length = self.block_size.min(self.size - start);
            let content = match self.find(block)? {
                Ok(None) => Content::Zero,
                Ok(Some(encoded)) => Content::Encoded(encoded),
                Err(refusal) => Content::Damaged(label(block, refusal)),
            };
            extents.push(start, length, content);
        }
        Ok(extents.finish())
    }

    fn check(&mut self, _repair: bool) -> Result<Vec<Finding>> {
        check(self)
    }
}

fn label(block: u64, refusal: Refusal) -> String {
    format!("block {block}: {}", refusal.text())
}
