//! The host's side of a plugin's imports: granted sources, and the log.
//!
//! Every answer is bounded: reads by [`READ_LIMIT`], log lines by [`LOG_LIMIT`]; what a
//! plugin may name is bounded in [`sources`].

mod sources;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime::{Result, bail};

pub(crate) use self::sources::{SourceTable, open_declared};
use crate::contract::{log, secret, source, types};
use crate::source::{Access, Grants, Source, SourceError};
use crate::sync::RwLock;

/// The most bytes that one `source.read` gives.
pub const READ_LIMIT: u32 = 16 << 20;
/// The most log lines of one instance.
const LOG_LIMIT: u32 = 1000;
/// So many times its deadline a call may last because storage is slow.
const STORAGE_DEADLINES: u64 = 20;
/// So many bytes a source may grow by one call of `zero`.
const GROWTH_LIMIT: u64 = 1 << 30;
/// The most letters of one line: a log line, an error's text.
const LINE_LIMIT: usize = 2048;

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
