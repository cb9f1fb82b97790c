//! The sources and keys of one image, by the numbers that its extents use.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::clean;
use crate::source::{Access, Grants, Source, SourceError};
use crate::sync::RwLock;

/// The most sources that one image may name.
const SOURCE_LIMIT: usize = 1 << 24;
/// The longest reference in bytes; file names end well before.
const REFERENCE_LIMIT: usize = 4096;
/// The most references of one image that stay open; the ones opened first are closed,
/// and opened again when they are needed.
const OPEN_LIMIT: usize = 256;
/// The most keys of one image.
const SECRET_LIMIT: usize = 1024;
/// Bytes that all references of one image may take.
const NAMES_LIMIT: usize = 64 << 20;

/// The sources of one image, by the numbers that its extents use.
///
/// Numbers outlive the instance that asked for them: a rebuilt instance that asks
/// for the same reference gets the same number.
#[derive(Default)]
pub(crate) struct SourceTable {
    entries: Vec<Entry>,
    by_reference: HashMap<Arc<str>, u32>,
    /// Bytes of all references.
    names: usize,
    /// What is open by reference and for reading, the oldest first.
    open: VecDeque<u32>,
    /// Keys that extents name by number.
    secrets: Vec<Arc<[u8]>>,
}

struct Entry {
    source: Option<Arc<dyn Source>>,
    /// Empty for what the host gave unasked.
    reference: Arc<str>,
    access: Access,
}

impl SourceTable {
    /// Adds a source that the host gives unasked: the main one, or scratch.
    pub(crate) fn give(&mut self, source: Arc<dyn Source>) -> u32 {
        let access = source.access();
        self.entries.push(Entry { source: Some(source), reference: "".into(), access });
        (self.entries.len() - 1) as u32
    }

    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&Arc<dyn Source>> {
        self.entries.get(id as usize)?.source.as_ref()
    }

    /// Forgets the source numbered `id`, which could not be opened, if it is the last.
    pub(super) fn forget_last(&mut self, id: u32) {
        if self.entries.len() != id as usize + 1 {
            return;
        }
        if let Some(entry) = self.entries.pop_if(|entry| entry.source.is_none()) {
            self.names -= entry.reference.len();
            self.by_reference.remove(&entry.reference);
        }
    }

    /// Notes that the source numbered `id` was opened by its reference. What was opened
    /// the longest ago is closed where too many are: a store of chunks has millions.
    fn note_open(&mut self, id: u32, source: Arc<dyn Source>) -> Arc<dyn Source> {
        if source.access() == Access::Read {
            if self.open.len() >= OPEN_LIMIT
                && let Some(oldest) = self.open.pop_front()
                && let Some(entry) = self.entries.get_mut(oldest as usize)
            {
                entry.source = None;
            }
            self.open.push_back(id);
        }
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.source = Some(source.clone());
        }
        source
    }

    /// The key numbered `number`.
    pub(crate) fn secret(&self, number: u32) -> Option<&Arc<[u8]>> {
        self.secrets.get(number as usize)
    }

    /// A number for a key: the same for the same bytes, so that a rebuilt instance's
    /// numbers are those that cached extents name.
    pub(super) fn keep_secret(&mut self, key: &[u8]) -> core::result::Result<u32, String> {
        if let Some(number) = self.secrets.iter().position(|kept| **kept == *key) {
            return Ok(number as u32);
        }
        if !matches!(key.len(), 16 | 32) {
            return Err(alloc::format!("a key of {} bytes; 16 and 32 are possible", key.len()));
        }
        if self.secrets.len() >= SECRET_LIMIT {
            return Err(alloc::format!("more than {SECRET_LIMIT} keys"));
        }
        self.secrets.push(key.into());
        Ok(self.secrets.len() as u32 - 1)
    }

    /// What the main source is granted for: nothing else is granted for more.
    pub(super) fn main_access(&self) -> Access {
        self.entries.first().map_or(Access::Read, |main| main.access)
    }

    /// The open sources that were opened for writing.
    pub(crate) fn writable(&self) -> Vec<Arc<dyn Source>> {
        let open = self.entries.iter().filter_map(|entry| entry.source.as_ref());
        open.filter(|source| source.access() == Access::ReadWrite).cloned().collect()
    }

    /// Whether `id` was declared, opened or not.
    pub(crate) fn is_declared(&self, id: u32) -> bool {
        (id as usize) < self.entries.len()
    }

    /// Name of a source for messages.
    pub(crate) fn name(&self, id: u32) -> String {
        match self.entries.get(id as usize) {
            Some(Entry { source: Some(source), .. }) => source.name().into(),
            Some(entry) => clean(&entry.reference),
            None => alloc::format!("source {id}"),
        }
    }

    /// The number for `reference`, which need not be open yet, and whether it is new.
    pub(super) fn declare(
        &mut self,
        reference: &str,
        access: Access,
    ) -> core::result::Result<(u32, bool), String> {
        if let Some(id) = self.by_reference.get(reference) {
            return Ok((*id, false));
        }
        if reference.len() > REFERENCE_LIMIT {
            let (shown, length) =
                (clean(&reference[..reference.floor_char_boundary(64)]), reference.len());
            return Err(alloc::format!("{shown}… has {length} bytes and is not a file name"));
        }
        if self.entries.len() >= SOURCE_LIMIT || self.names > NAMES_LIMIT {
            return Err(alloc::format!("the image names more than {} sources", self.entries.len()));
        }
        let id = self.entries.len() as u32;
        let reference: Arc<str> = reference.into();
        self.names += reference.len();
        self.entries.push(Entry { source: None, reference: reference.clone(), access });
        self.by_reference.insert(reference, id);
        Ok((id, true))
    }
}

/// Opens the source numbered `id` if it was only declared so far.
pub(crate) fn open_declared(
    table: &RwLock<SourceTable>,
    grants: &dyn Grants,
    id: u32,
) -> core::result::Result<Arc<dyn Source>, SourceError> {
    let (reference, access) = {
        let table = table.read();
        match table.entries.get(id as usize) {
            Some(Entry { source: Some(source), .. }) => return Ok(source.clone()),
            Some(entry) => (entry.reference.clone(), entry.access),
            None => return Err(SourceError::NotGranted(alloc::format!("there is no source {id}"))),
        }
    };
    let source = grants.open(&reference, access)?;
    let mut table = table.write();
    if let Some(opened) = table.get(id) {
        return Ok(opened.clone());
    }
    Ok(table.note_open(id, source))
}
