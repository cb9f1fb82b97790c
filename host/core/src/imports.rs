//! The host's side of a plugin's imports: granted sources, and the log.
//!
//! Every answer is bounded: reads by [`READ_LIMIT`], open sources by
//! [`SOURCE_LIMIT`], log lines by [`LOG_LIMIT`].

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime::{Result, bail};

use crate::contract::{log, secret, source, types};
use crate::source::{Access, Grants, Source, SourceError};
use crate::sync::RwLock;

/// The most bytes that one `source.read` gives.
pub const READ_LIMIT: u32 = 16 << 20;
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
/// The most log lines of one instance.
const LOG_LIMIT: u32 = 1000;
/// So many times its deadline a call may last because storage is slow.
const STORAGE_DEADLINES: u64 = 20;
/// So many bytes a source may grow by one call of `zero`.
const GROWTH_LIMIT: u64 = 1 << 30;
/// The most letters of one line: a log line, an error's text.
const LINE_LIMIT: usize = 2048;

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
    fn forget_last(&mut self, id: u32) {
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
    fn keep_secret(&mut self, key: &[u8]) -> core::result::Result<u32, String> {
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
    fn main_access(&self) -> Access {
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
    fn declare(
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

/// A source in a plugin's hands: its number.
pub struct Granted {
    id: u32,
    source: Arc<dyn Source>,
}

/// What one instance owns on the host's side.
pub(crate) struct Imports {
    pub(crate) table: ResourceTable,
    pub(crate) limits: wasmtime::StoreLimits,
    sources: Arc<RwLock<SourceTable>>,
    grants: Arc<dyn Grants>,
    plugin: String,
    lines: u32,
    /// The runtime's ticks.
    ticks: Arc<AtomicU64>,
    /// Ticks that sources took to be read and changed since the deadline was last set.
    storage_ticks: u64,
    /// Ticks that were granted for them in this call.
    granted_ticks: u64,
    /// The last grave line: a panic's message, if it trapped.
    pub(crate) last_error: Option<String>,
}

impl Imports {
    pub(crate) fn new(
        plugin: &str,
        limits: wasmtime::StoreLimits,
        sources: Arc<RwLock<SourceTable>>,
        grants: Arc<dyn Grants>,
        ticks: Arc<AtomicU64>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(1 << 16);
        Self {
            table,
            limits,
            sources,
            grants,
            plugin: plugin.into(),
            lines: 0,
            ticks,
            storage_ticks: 0,
            granted_ticks: 0,
            last_error: None,
        }
    }

    /// A new call begins.
    pub(crate) fn begin_call(&mut self) {
        (self.storage_ticks, self.granted_ticks) = (0, 0);
    }

    /// A handle of the source numbered `id`, to hand to the plugin.
    pub(crate) fn handle(&mut self, id: u32) -> Result<Resource<Granted>> {
        let Some(source) = self.sources.read().get(id).cloned() else {
            bail!("source {id} is not open");
        };
        Ok(self.table.push(Granted { id, source })?)
    }
}

impl Imports {
    /// Carries out a change of a source. Storage may take its time: what it takes is
    /// not counted as the plugin's, up to a bound.
    fn change<R>(
        &mut self,
        this: &Resource<Granted>,
        change: impl FnOnce(&dyn Source) -> core::result::Result<R, SourceError>,
    ) -> Result<core::result::Result<R, types::Error>> {
        let source = &self.table.get(this)?.source;
        let before = self.ticks.load(Ordering::Relaxed);
        let answer = change(&**source);
        self.storage_ticks += self.ticks.load(Ordering::Relaxed) - before;
        Ok(answer.map_err(contract_error))
    }

    /// A range to be zeroed or given back ends at most [`GROWTH_LIMIT`] behind the end
    /// of its source, so that no call writes for as long as there is room.
    fn check_change(
        &self,
        this: &Resource<Granted>,
        offset: u64,
        length: u64,
    ) -> Result<core::result::Result<(), types::Error>> {
        let limit = self.table.get(this)?.source.size().saturating_add(GROWTH_LIMIT);
        let is_sane = offset.checked_add(length).is_some_and(|end| end <= limit);
        Ok(if is_sane { Ok(()) } else { Err(types::Error::OutOfRange) })
    }

    /// How many ticks more a call may last, for what storage took of its time.
    pub(crate) fn more_time(&mut self, deadline: u64) -> Option<u64> {
        let ticks = core::mem::take(&mut self.storage_ticks);
        self.granted_ticks += ticks;
        (ticks > 0 && self.granted_ticks <= deadline * STORAGE_DEADLINES).then_some(ticks)
    }
}

fn contract_error(error: SourceError) -> types::Error {
    match error {
        SourceError::NotGranted(what) => types::Error::NotGranted(what),
        SourceError::Missing(what) => types::Error::Missing(what),
        SourceError::ReadOnly(_) => types::Error::ReadOnly,
        SourceError::NoSpace(_) => types::Error::NoSpace,
        SourceError::Io(what) => types::Error::Io(what),
    }
}

impl types::Host for Imports {}

impl source::Host for Imports {
    fn open(
        &mut self,
        reference: String,
        access: source::Access,
    ) -> Result<core::result::Result<Resource<Granted>, types::Error>> {
        let access = match access {
            source::Access::Read => Access::Read,
            source::Access::ReadWrite => Access::ReadWrite,
        };
        if access == Access::ReadWrite && self.sources.read().main_access() == Access::Read {
            return Ok(Err(types::Error::ReadOnly));
        }
        let (id, is_new) = match self.sources.write().declare(&reference, access) {
            Ok(declared) => declared,
            Err(what) => return Ok(Err(types::Error::Missing(what))),
        };
        match open_declared(&self.sources, &*self.grants, id) {
            Ok(source) => Ok(Ok(self.table.push(Granted { id, source })?)),
            Err(error) => {
                // A number that was given before may stand in an extent.
                if is_new {
                    self.sources.write().forget_last(id);
                }
                Ok(Err(contract_error(error)))
            }
        }
    }

    fn declare(&mut self, reference: String) -> Result<core::result::Result<u32, types::Error>> {
        let id = self.sources.write().declare(&reference, Access::Read);
        Ok(id.map(|(id, _)| id).map_err(types::Error::Missing))
    }
}

impl source::HostSource for Imports {
    fn id(&mut self, this: Resource<Granted>) -> Result<u32> {
        Ok(self.table.get(&this)?.id)
    }

    fn name(&mut self, this: Resource<Granted>) -> Result<String> {
        Ok(self.table.get(&this)?.source.name().into())
    }

    fn size(&mut self, this: Resource<Granted>) -> Result<u64> {
        Ok(self.table.get(&this)?.source.size())
    }

    fn read(
        &mut self,
        this: Resource<Granted>,
        offset: u64,
        length: u32,
    ) -> Result<core::result::Result<Vec<u8>, types::Error>> {
        let source = &self.table.get(&this)?.source;
        let past_end = offset.checked_add(u64::from(length)).is_none_or(|end| end > source.size());
        if length > READ_LIMIT || past_end {
            let what = alloc::format!(
                "{length} bytes at offset {offset} of {} lie past its end at {}, or are too many",
                source.name(),
                source.size()
            );
            return Ok(Err(types::Error::Io(what)));
        }
        let mut bytes = vec![0; length as usize];
        let before = self.ticks.load(Ordering::Relaxed);
        let answer = source.read_at(offset, &mut bytes);
        self.storage_ticks += self.ticks.load(Ordering::Relaxed) - before;
        Ok(answer.map(|()| bytes).map_err(contract_error))
    }

    fn write(
        &mut self,
        this: Resource<Granted>,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Result<core::result::Result<(), types::Error>> {
        self.change(&this, |source| source.write_at(offset, &bytes))
    }

    fn resize(
        &mut self,
        this: Resource<Granted>,
        size: u64,
    ) -> Result<core::result::Result<(), types::Error>> {
        self.change(&this, |source| source.resize(size))
    }

    fn flush(&mut self, this: Resource<Granted>) -> Result<core::result::Result<(), types::Error>> {
        self.change(&this, |source| source.flush())
    }

    fn discard(
        &mut self,
        this: Resource<Granted>,
        offset: u64,
        length: u64,
    ) -> Result<core::result::Result<bool, types::Error>> {
        if let Err(error) = self.check_change(&this, offset, length)? {
            return Ok(Err(error));
        }
        self.change(&this, |source| source.discard(offset, length))
    }

    fn zero(
        &mut self,
        this: Resource<Granted>,
        offset: u64,
        length: u64,
    ) -> Result<core::result::Result<(), types::Error>> {
        if let Err(error) = self.check_change(&this, offset, length)? {
            return Ok(Err(error));
        }
        self.change(&this, |source| source.zero(offset, length))
    }

    fn drop(&mut self, this: Resource<Granted>) -> Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl secret::Host for Imports {
    fn keep(&mut self, key: Vec<u8>) -> Result<core::result::Result<u32, types::Error>> {
        let kept = self.sources.write().keep_secret(&key);
        Ok(kept.map_err(types::Error::Unsupported))
    }
}

impl log::Host for Imports {
    fn emit(&mut self, level: log::Level, message: String) -> Result<()> {
        let mut message = clean(&message);
        if matches!(level, log::Level::Error) {
            self.last_error = Some(message.clone());
        }
        self.lines += 1;
        if self.lines > LOG_LIMIT {
            return Ok(());
        }
        if self.lines == LOG_LIMIT {
            message = "too many lines; the rest is dropped".to_string();
        }
        let plugin = self.plugin.as_str();
        match level {
            log::Level::Debug => tracing::debug!(plugin, "{message}"),
            log::Level::Info => tracing::info!(plugin, "{message}"),
            log::Level::Warn => tracing::warn!(plugin, "{message}"),
            log::Level::Error => tracing::error!(plugin, "{message}"),
        }
        Ok(())
    }
}

/// A plugin's text comes from whoever made the image: one line of bounded length,
/// without control characters, so that it cannot steer a terminal or forge a line.
pub(crate) fn clean(text: &str) -> String {
    let mut clean: String =
        text.chars().take(LINE_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() < text.len() {
        clean.push('…');
    }
    clean
}
