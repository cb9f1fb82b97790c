//! Sources and a host over memory, so that a parser can be tested and fuzzed
//! natively; and [`read_disk`], which carries out extents the way the host does.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::error::{Error, Result};
use crate::extent::{Content, Encoded, Extent};
use crate::format::Disk;
use crate::source::{Access, Host, Level, Source, SourceHandle};

/// The part of `bytes` at `offset`, or the error that a source gives past its end.
pub(crate) fn slice(bytes: &[u8], offset: u64, length: usize) -> Result<&[u8]> {
    usize::try_from(offset)
        .ok()
        .and_then(|start| bytes.get(start..start.checked_add(length)?))
        .ok_or_else(|| {
            Error::Io(format!("{length} bytes at {offset} lie past the end at {}", bytes.len()))
        })
}

/// A source over memory. Clones share their bytes.
#[derive(Debug, Clone)]
pub struct MemorySource {
    id: u32,
    name: String,
    bytes: Rc<RefCell<Vec<u8>>>,
    writable: bool,
}

impl MemorySource {
    /// A read-only source numbered `id`.
    pub fn new(id: u32, name: &str, bytes: Vec<u8>) -> Self {
        Self { id, name: name.to_string(), bytes: Rc::new(RefCell::new(bytes)), writable: false }
    }

    /// The same, granted for writing.
    pub fn writable(mut self) -> Self {
        self.writable = true;
        self
    }

    /// A copy of what it holds now.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }
}

impl Source for MemorySource {
    fn id(&self) -> u32 {
        self.id
    }
    fn name(&self) -> String {
        self.name.clone()
    }
    fn size(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        slice(&self.bytes.borrow(), offset, length).map(<[u8]>::to_vec)
    }
    fn write(&self, offset: u64, new: &[u8]) -> Result<()> {
        if !self.writable {
            return Err(Error::ReadOnly);
        }
        let mut bytes = self.bytes.borrow_mut();
        let start = usize::try_from(offset).map_err(|_| Error::NoSpace)?;
        let end = start.checked_add(new.len()).ok_or(Error::NoSpace)?;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(new);
        Ok(())
    }
    fn resize(&self, size: u64) -> Result<()> {
        if !self.writable {
            return Err(Error::ReadOnly);
        }
        let size = usize::try_from(size).map_err(|_| Error::NoSpace)?;
        self.bytes.borrow_mut().resize(size, 0);
        Ok(())
    }
    fn discard(&self, offset: u64, length: u64) -> Result<bool> {
        let mut bytes = self.bytes.borrow_mut();
        let size = bytes.len() as u64;
        let range = offset.min(size) as usize..offset.saturating_add(length).min(size) as usize;
        if self.writable {
            bytes[range].fill(0);
        }
        Ok(self.writable)
    }
    fn zero(&self, offset: u64, length: u64) -> Result<()> {
        let length = usize::try_from(length).map_err(|_| Error::NoSpace)?;
        self.write(offset, &vec![0; length])
    }
}

/// A host that grants the named byte strings it was given, and nothing else.
#[derive(Debug, Default)]
pub struct MemoryHost {
    granted: RefCell<BTreeMap<String, MemorySource>>,
    secrets: RefCell<Vec<Vec<u8>>>,
    log: RefCell<Vec<String>>,
}

impl MemoryHost {
    /// A host that grants nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants `bytes` under `name`; the source gets the next free number from 1 on.
    pub fn grant(&self, name: &str, bytes: Vec<u8>) {
        let mut granted = self.granted.borrow_mut();
        let id = granted.len() as u32 + 1;
        granted.insert(name.to_string(), MemorySource::new(id, name, bytes));
    }

    /// The lines logged so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// The keys kept so far, by their numbers.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        self.secrets.borrow().clone()
    }

    /// The granted source numbered `id`.
    pub fn source(&self, id: u32) -> Option<MemorySource> {
        self.granted.borrow().values().find(|source| source.id() == id).cloned()
    }
}

impl Host for MemoryHost {
    fn open(&self, reference: &str, _access: Access) -> Result<SourceHandle> {
        match self.granted.borrow().get(reference) {
            Some(source) => Ok(Rc::new(source.clone())),
            None => Err(Error::Missing(reference.to_string())),
        }
    }
    fn declare(&self, reference: &str) -> Result<u32> {
        self.open(reference, Access::Read).map(|source| source.id())
    }
    fn keep_secret(&self, key: &[u8]) -> Result<u32> {
        if !matches!(key.len(), 16 | 32) {
            return Err(Error::Unsupported(format!("a key of {} bytes", key.len())));
        }
        let mut secrets = self.secrets.borrow_mut();
        secrets.push(key.to_vec());
        Ok(secrets.len() as u32 - 1)
    }
    fn log(&self, _level: Level, message: &str) {
        self.log.borrow_mut().push(message.to_string());
    }
}

/// Decodes a block for [`read_disk`]: (what, stored bytes) → decoded bytes.
pub type Decode<'a> = &'a dyn Fn(&Encoded, &[u8]) -> Result<Vec<u8>>;

/// Checks one answer of [`Disk::extents`] by the contract's rules, as the host does.
///
/// # Errors
/// The first rule broken, as text.
pub fn check_answer(
    extents: &[Extent],
    offset: u64,
    disk_size: u64,
) -> core::result::Result<(), String> {
    let first = extents.first().ok_or("an answer without extents")?;
    if first.offset > offset || first.offset.saturating_add(first.length) <= offset {
        return Err(format!("the first extent does not hold offset {offset}: {first:?}"));
    }
    let mut at = first.offset;
    for extent in extents {
        if extent.offset != at || extent.length == 0 {
            return Err(format!("gap, overlap or empty extent at {at}: {extent:?}"));
        }
        at = at.checked_add(extent.length).ok_or("an extent beyond 2^64")?;
        if at > disk_size {
            return Err(format!("an extent past the disk's end {disk_size}: {extent:?}"));
        }
        if let Content::Encoded(encoded) = &extent.content
            && u64::from(encoded.skip).saturating_add(extent.length)
                > u64::from(encoded.decoded_length)
        {
            return Err(format!("an extent past its decoded block: {extent:?}"));
        }
    }
    Ok(())
}

/// Reads `length` bytes at `offset` of `disk` by its extents; absent reads as zero.
///
/// # Errors
/// What the disk answers, [`Error::Io`] with the rule's text for an answer that
/// breaks the contract, and for damaged ranges.
pub fn read_disk(
    disk: &mut dyn Disk,
    disk_size: u64,
    offset: u64,
    length: u64,
    sources: &dyn Fn(u32) -> Option<SourceHandle>,
    decode: Decode<'_>,
) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let (mut at, end) = (offset, offset + length);
    while at < end {
        let extents = disk.extents(at, end - at)?;
        check_answer(&extents, at, disk_size).map_err(Error::Io)?;
        for extent in &extents {
            let from = extent.offset.max(at);
            let to = extent.end().min(end);
            if from >= to {
                continue;
            }
            let (skip, count) = (from - extent.offset, (to - from) as usize);
            let find = |id| sources(id).ok_or_else(|| Error::Io(format!("no source {id}")));
            match &extent.content {
                Content::Absent | Content::Zero => out.resize(out.len() + count, 0),
                Content::Stored(stored) => {
                    out.extend(find(stored.source)?.read(stored.offset + skip, count)?)
                }
                Content::Encoded(encoded) => {
                    let stored = find(encoded.source)?
                        .read(encoded.offset, encoded.stored_length as usize)?;
                    let block = decode(encoded, &stored)?;
                    let skip = u64::from(encoded.skip) + skip;
                    out.extend_from_slice(slice(&block, skip, count)?);
                }
                Content::Computed => out.extend(disk.read(from, count)?),
                Content::Damaged(what) => return Err(Error::Io(what.clone())),
            }
            at = to;
        }
    }
    Ok(out)
}

/// A scratch source for tests: empty, writable, numbered `id`.
pub fn scratch(id: u32) -> MemorySource {
    MemorySource::new(id, "scratch", vec![]).writable()
}
