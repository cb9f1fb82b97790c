//! The sandbox's engine: settings, limits, and the tick that deadlines count.

use alloc::string::ToString;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, StoreLimits, StoreLimitsBuilder};

use crate::contract;
use crate::error::{Error, Result};
use crate::imports::Imports;

/// What one opened image may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory in bytes.
    pub memory: usize,
    /// How many [`Runtime::tick`]s a call may last.
    pub deadline_ticks: u64,
    /// Bytes that the answer of one call may take on the host's side.
    pub answer: usize,
}

impl Default for Limits {
    /// 64 MiB of memory; 50 ticks, which are 5 s for an embedder that ticks ten
    /// times a second; answers of 16 MiB.
    fn default() -> Self {
        Self { memory: 64 << 20, deadline_ticks: 50, answer: 16 << 20 }
    }
}

impl Limits {
    pub(crate) fn store_limits(&self) -> StoreLimits {
        StoreLimitsBuilder::new()
            .memory_size(self.memory)
            .table_elements(1 << 16)
            .instances(16)
            .memories(16)
            .tables(64)
            .trap_on_grow_failure(true)
            .build()
    }
}

/// The engine that runs plugins, and what they may import.
pub struct Runtime {
    engine: Engine,
    linker: Linker<Imports>,
    pub(crate) limits: Limits,
    pub(crate) ticks: Arc<AtomicU64>,
}

impl Runtime {
    /// The settings that running and compiling a plugin must agree on. An embedder
    /// may add to them (a compiler, a target) before [`Runtime::new`].
    pub fn config() -> Config {
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.wasm_component_model(true);
        config
    }

    /// Settings for a host without virtual memory or signals: plain allocations for
    /// linear memories, explicit bounds checks. Compiling and running must agree.
    pub fn without_virtual_memory(config: &mut Config) {
        config.memory_init_cow(false);
        config.memory_reservation(0);
        config.memory_guard_size(0);
        config.memory_reservation_for_growth(1 << 20);
        config.signals_based_traps(false);
    }

    /// An engine with `config`, for images with `limits` each.
    ///
    /// # Errors
    /// [`Error::Refused`] where the engine does not accept the settings.
    pub fn new(config: &Config, limits: Limits) -> Result<Self> {
        Self::build(config, limits)
            .map_err(|error| Error::Refused { plugin: "(none)".into(), reason: error.to_string() })
    }

    fn build(config: &Config, limits: Limits) -> wasmtime::Result<Self> {
        let engine = Engine::new(config)?;
        let mut linker = Linker::new(&engine);
        contract::types::add_to_linker::<_, HasSelf<_>>(&mut linker, |imports| imports)?;
        contract::source::add_to_linker::<_, HasSelf<_>>(&mut linker, |imports| imports)?;
        contract::secret::add_to_linker::<_, HasSelf<_>>(&mut linker, |imports| imports)?;
        contract::log::add_to_linker::<_, HasSelf<_>>(&mut linker, |imports| imports)?;
        Ok(Self { engine, linker, limits, ticks: Arc::default() })
    }

    /// Counts towards the deadline of every call under way. The embedder calls it
    /// from a timer; cheap, and allowed from a signal or interrupt handler.
    pub fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.engine.increment_epoch();
    }

    /// How many ticks there were so far.
    pub(crate) fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// The engine, for an embedder that compiles components.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn linker(&self) -> &Linker<Imports> {
        &self.linker
    }
}
