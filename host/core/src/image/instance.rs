//! The running instance of a plugin behind an image: called, prepared, and built anew
//! after a trap.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use hashbrown::HashMap;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

use super::{Answer, Image, NewImage};
use crate::contract::{ImageFormat, format, source, types};
use crate::error::{Error, FormatError, Result};
use crate::imports::Imports;
use crate::source::Access;

/// After so many traps with no success between them, an image is given up.
const FAULT_LIMIT: u32 = 8;
/// The most steps of a plugin's preparation.
const STEP_LIMIT: u32 = 1 << 20;

#[derive(Default)]
pub(super) struct Instance {
    pub(super) live: Option<Live>,
    faults: u32,
    pub(super) failed: Option<String>,
}

/// A running instance with the image open in it.
pub(super) struct Live {
    pub(super) store: Store<Imports>,
    pub(super) bindings: ImageFormat,
    pub(super) image: ResourceAny,
    pub(super) disks: HashMap<u32, ResourceAny>,
}

impl Image {
    /// Calls into the instance, building it if there is none. A trap drops it, so
    /// that the next call builds a new one.
    pub(super) fn call<R>(&self, function: impl FnOnce(&mut Live) -> Answer<R>) -> Result<R> {
        let mut instance = self.instance.lock();
        if let Some(reason) = &instance.failed {
            return Err(Error::Failed { reason: reason.clone() });
        }
        let mut live = match instance.live.take() {
            Some(live) => live,
            None => match self.start(None) {
                Ok(live) => live,
                Err(error) => return Err(self.count_fault(&mut instance, error)),
            },
        };
        live.store.data_mut().begin_call();
        live.store.set_epoch_deadline(self.plugin.runtime.limits.deadline_ticks);
        match function(&mut live) {
            Ok(answer) => {
                instance.live = Some(live);
                instance.faults = 0;
                answer.map_err(|error| self.format_error(error))
            }
            Err(error) => {
                let error = self.plugin.trapped(&error, live.store.data());
                Err(self.count_fault(&mut instance, error))
            }
        }
    }

    fn count_fault(&self, instance: &mut Instance, error: Error) -> Error {
        if !matches!(error, Error::Trapped { .. }) {
            return error;
        }
        tracing::error!(plugin = self.plugin.name(), image = self.options.main.name(), "{error}");
        instance.faults += 1;
        if self.access() == Access::ReadWrite {
            // What the plugin placed and had not committed is gone with it: going on
            // could write where something else lies. As after a crash, what was
            // flushed is there when the image is opened again.
            instance.failed = Some(error.to_string());
            self.untrusted.store(true, Ordering::Relaxed);
        }
        if instance.faults >= FAULT_LIMIT {
            let reason = format!("{FAULT_LIMIT} times in a row, {error}");
            instance.failed = Some(reason);
        }
        error
    }

    fn format_error(&self, error: types::Error) -> Error {
        let error = FormatError::new(self.plugin.name(), error, |id| self.sources.read().name(id));
        Error::Format(error)
    }

    /// A new instance with the image open in it, or with a new one.
    pub(super) fn start(&self, new: Option<&NewImage>) -> Result<Live> {
        let imports = Imports::new(
            self.plugin.name(),
            self.plugin.runtime.limits.store_limits(),
            self.sources.clone(),
            self.options.grants.clone(),
            self.plugin.runtime.ticks.clone(),
        );
        let mut store = self.plugin.store(imports);
        let mut live = match self.open_in(&mut store, new) {
            Ok(Ok((bindings, image))) => Live { store, bindings, image, disks: HashMap::new() },
            Ok(Err(error)) => return Err(self.format_error(error)),
            Err(error) => return Err(self.plugin.trapped(&error, store.data())),
        };
        if new.is_none() {
            self.prepare(&mut live)?;
        }
        Ok(live)
    }

    /// Lets the plugin learn, step by step, what takes longer than a call may.
    fn prepare(&self, live: &mut Live) -> Result<()> {
        let mut before = None;
        for _ in 0..STEP_LIMIT {
            live.store.data_mut().begin_call();
            live.store.set_epoch_deadline(self.plugin.runtime.limits.deadline_ticks);
            let image = live.bindings.fumehood_disk_format().image();
            let format::Progress { done, total } =
                match image.call_prepare(&mut live.store, live.image) {
                    Ok(Ok(progress)) => progress,
                    Ok(Err(error)) => return Err(self.format_error(error)),
                    Err(error) => return Err(self.plugin.trapped(&error, live.store.data())),
                };
            if done >= total {
                return Ok(());
            }
            // One that does not move would be asked for ever.
            if before.is_some_and(|before| done <= before) {
                break;
            }
            before = Some(done);
            let on_progress = self.options.on_progress.as_ref();
            if on_progress.is_some_and(|on_progress| !on_progress(done, total)) {
                return Err(Error::Failed { reason: "preparing it was stopped".into() });
            }
        }
        let (plugin, reason) = (self.plugin.name().into(), "it prepares without end");
        Err(Error::Untrusted { plugin, reason: reason.into() })
    }

    fn open_in(
        &self,
        store: &mut Store<Imports>,
        new: Option<&NewImage>,
    ) -> Answer<(ImageFormat, ResourceAny)> {
        let bindings = self.plugin.pre.instantiate(&mut *store)?;
        let main = store.data_mut().handle(self.main_id)?;
        if let Some(new) = new {
            let options = format::CreateOptions {
                size: new.size,
                logical_sector: new.logical_sector,
                parent: new.parent.clone(),
                settings: self.options.settings.clone(),
                seed: self.options.seed.to_vec(),
                now: new.now,
            };
            let image = bindings.fumehood_disk_format().call_create(store, main, &options)?;
            return Ok(image.map(|image| (bindings, image)));
        }
        let scratch = match self.scratch_id {
            Some(id) => Some(store.data_mut().handle(id)?),
            None => None,
        };
        let key = |(id, secret): &(String, Vec<u8>)| format::Key {
            id: id.clone(),
            secret: secret.clone(),
        };
        let options = format::OpenOptions {
            access: match self.options.main.access() {
                Access::Read => source::Access::Read,
                Access::ReadWrite => source::Access::ReadWrite,
            },
            snapshot: self.options.snapshot.clone(),
            scratch,
            keys: self.options.keys.iter().map(key).collect(),
            settings: self.options.settings.clone(),
            seed: self.options.seed.to_vec(),
        };
        let image = bindings.fumehood_disk_format().call_open(store, main, &options)?;
        Ok(image.map(|image| (bindings, image)))
    }
}
