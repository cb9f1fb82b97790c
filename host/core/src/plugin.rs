//! A loaded plugin: refused by name if it imports more than its world, asked once
//! who it is, then ready to open images.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use wasmtime::component::Component;
use wasmtime::{Store, UpdateDeadline};

use crate::contract::{self, ImageFormat, ImageFormatPre, format};
use crate::error::{Error, Result};
use crate::imports::{Imports, clean};
use crate::runtime::Runtime;
use crate::source::NoGrants;
use crate::wasi;

/// A format plugin, ready to open images.
pub struct Plugin {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) pre: ImageFormatPre<Imports>,
    description: format::Description,
}

impl Plugin {
    /// Loads a component that was compiled ahead of time for this runtime.
    ///
    /// # Safety
    /// `bytes` must come from `Engine::precompile_component` of a compatible
    /// engine and must not have been altered since: they hold native code (or
    /// interpreter code) that runs with the host's rights.
    ///
    /// # Errors
    /// As [`Plugin::new`].
    #[allow(unsafe_code)]
    pub unsafe fn from_precompiled(
        runtime: Arc<Runtime>,
        name: &str,
        bytes: &[u8],
    ) -> Result<Self> {
        // SAFETY: the caller vouches for the bytes; see above.
        let component = unsafe { Component::deserialize(runtime.engine(), bytes) };
        let component = component.map_err(|error| refused(name, error.to_string()))?;
        Self::new(runtime, name, &component)
    }

    /// Takes a component, checks that it imports nothing beyond its world, and
    /// asks it to describe itself.
    ///
    /// # Errors
    /// [`Error::Refused`] for a component of another world or another version of
    /// the contract; it names the import or export that is wrong.
    pub fn new(runtime: Arc<Runtime>, name: &str, component: &Component) -> Result<Self> {
        check_world(&runtime, name, component)?;
        let pre = wasi::linker(runtime.linker(), component)
            .and_then(|linker| linker.instantiate_pre(component))
            .and_then(ImageFormatPre::new)
            .map_err(|error| refused(name, format!("{error:#}")))?;
        let mut plugin = Self { runtime, pre, description: unknown(name) };
        let description =
            plugin.ask(|bindings, store| bindings.fumehood_disk_format().call_describe(store))?;
        check_description(name, &description)?;
        plugin.description = description;
        Ok(plugin)
    }

    /// Its short name.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// What it says of itself.
    pub fn description(&self) -> &format::Description {
        &self.description
    }

    /// Asks whether an image is of this format, in an instance of its own.
    ///
    /// # Errors
    /// [`Error::Trapped`].
    pub fn probe(&self, glimpse: &format::Glimpse) -> Result<format::Confidence> {
        self.ask(|bindings, store| bindings.fumehood_disk_format().call_probe(store, glimpse))
    }

    /// Calls a function that needs no image, in an instance that lives only for it.
    fn ask<R>(
        &self,
        question: impl FnOnce(&ImageFormat, &mut Store<Imports>) -> wasmtime::Result<R>,
    ) -> Result<R> {
        let imports = Imports::new(
            self.name(),
            self.runtime.limits.store_limits(),
            Arc::default(),
            Arc::new(NoGrants),
            self.runtime.ticks.clone(),
        );
        let mut store = self.store(imports);
        let answer =
            self.pre.instantiate(&mut store).and_then(|bindings| question(&bindings, &mut store));
        answer.map_err(|error| self.trapped(&error, store.data()))
    }

    /// A store with this runtime's limits set and the clock of one call started.
    pub(crate) fn store(&self, imports: Imports) -> Store<Imports> {
        let mut store = Store::new(self.runtime.engine(), imports);
        store.limiter(|imports| &mut imports.limits);
        store.set_hostcall_fuel(self.runtime.limits.answer);
        let deadline = self.runtime.limits.deadline_ticks;
        store.set_epoch_deadline(deadline);
        store.epoch_deadline_callback(move |mut store| {
            Ok(match store.data_mut().more_time(deadline) {
                Some(ticks) => UpdateDeadline::Continue(ticks),
                None => UpdateDeadline::Interrupt,
            })
        });
        store
    }

    /// The error for a call that did not come back.
    pub(crate) fn trapped(&self, error: &wasmtime::Error, imports: &Imports) -> Error {
        let reason = match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::Interrupt) => "it exceeded the time of one call".to_string(),
            Some(wasmtime::Trap::StackOverflow) => "it exhausted its stack".to_string(),
            Some(trap) => match &imports.last_error {
                Some(message) => format!("{trap} ({message})"),
                None => trap.to_string(),
            },
            None => error.root_cause().to_string(),
        };
        Error::Trapped { plugin: self.name().into(), reason }
    }
}

fn refused(plugin: &str, reason: String) -> Error {
    Error::Refused { plugin: plugin.into(), reason }
}

fn unknown(name: &str) -> format::Description {
    format::Description {
        name: name.into(),
        title: String::new(),
        version: String::new(),
        extensions: Vec::new(),
        folder_entry: None,
        can_write: false,
        can_create: false,
    }
}

/// A plugin imports nothing but its world (and WASI, which is empty), and exports the format interface of
/// the version that this host runs.
fn check_world(runtime: &Runtime, name: &str, component: &Component) -> Result<()> {
    let ty = component.component_type();
    for (import, _) in ty.imports(runtime.engine()) {
        if !contract::IMPORTS.contains(&import) && !wasi::is_wasi(import) {
            let world = "fumehood:disk/image-format";
            let reason =
                format!("it imports {import}, which is not part of {world}@{}", contract::VERSION);
            return Err(refused(name, reason));
        }
    }
    let mut exports = ty.exports(runtime.engine()).map(|(export, _)| export);
    if exports.any(|export| export == contract::EXPORT) {
        return Ok(());
    }
    let reason = format!("it does not export {}", contract::EXPORT);
    Err(refused(name, reason))
}

/// The name ends up on command lines and in paths, so it is held to plain letters.
fn check_description(loaded_as: &str, description: &format::Description) -> Result<()> {
    let name = &clean(&description.name);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
        let shown: String = name.chars().take(64).collect();
        let reason = format!("its name {shown:?} is not 1 to 32 of a-z, 0-9 and -");
        return Err(refused(loaded_as, reason));
    }
    Ok(())
}
