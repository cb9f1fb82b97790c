//! Codecs whose decoders are not memory-safe, decoded in the sandbox.
//!
//! A decoder that is fast is unsafe, and blocks are hostile bytes. So the decoders are a
//! Wasm module too: memory and time are limited, and whatever a block does to it, that
//! block is an error and the instance is thrown away. The bytes are copied in and out,
//! which is a small part of what decoding them takes.
//!
//! ```text
//!   engine ── DecoderModule   compiled when the first block needs it
//!   disk ──── Sandbox         its idle instances; one is taken for each block
//! ```
//!
//! Instances are not shared by disks: one that a frame took over could give another
//! disk wrong bytes.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fumehood_core::{Codec, Runtime};
use wasmtime::{
    InstancePre, Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, Trap, TypedFunc,
};

use crate::compile::{self, Cache};

/// The module that the build made.
const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/decoder.wasm"));

/// Linear memory of an instance: the longest block that the core lets pass, stored and
/// decoded, and room for the decoder's own state, of which LZMA's dictionary is as long
/// as the block.
const MEMORY: usize = (3 * 64 + 64) << 20;
/// The most memory of one disk's idle instances.
const IDLE_LIMIT: usize = 64 << 20;

/// The decoder, compiled when it is first needed. One an engine.
pub(crate) struct DecoderModule {
    runtime: Arc<Runtime>,
    cache: Option<Cache>,
    deadline: u64,
    wasm: &'static [u8],
    compiled: OnceLock<Result<InstancePre<StoreLimits>, String>>,
}

impl DecoderModule {
    /// The decoder for `runtime`, whose calls may last `deadline` ticks.
    pub(crate) fn new(runtime: Arc<Runtime>, cache: Option<Cache>, deadline: u64) -> Self {
        Self { runtime, cache, deadline, wasm: EMBEDDED, compiled: OnceLock::new() }
    }

    fn compile(&self) -> Result<InstancePre<StoreLimits>, String> {
        let engine = self.runtime.engine();
        let compiled = compile::compile(engine, self.cache.as_ref(), "decoder", self.wasm);
        let module: Module = compiled.map_err(|error| error.to_string())?;
        // It is given nothing to call.
        Linker::new(engine).instantiate_pre(&module).map_err(|error| format!("{error:#}"))
    }

    fn instance(&self) -> Result<Instance, String> {
        let compiled = self.compiled.get_or_init(|| self.compile()).as_ref()?;
        Instance::new(self.runtime.engine(), compiled, self.deadline)
            .map_err(|error| format!("the decoder does not start: {error:#}"))
    }
}

/// The instances of one disk.
pub(super) struct Sandbox {
    module: Arc<DecoderModule>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    instances: Vec<Instance>,
    memory: usize,
}

impl Sandbox {
    pub(super) fn new(module: Arc<DecoderModule>) -> Self {
        Self { module, idle: Mutex::default() }
    }

    /// Fills `out` with what the stream at the head of `stored` decodes to.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn decode(&self, codec: Codec, stored: &[u8], out: &mut [u8]) -> Result<(), String> {
        let mut instance = match self.take() {
            Some(instance) => instance,
            None => self.module.instance()?,
        };
        instance.decode(codec, stored, out)?;
        // One that failed is not used again, whatever it failed of.
        self.give_back(instance);
        Ok(())
    }

    fn take(&self) -> Option<Instance> {
        let mut idle = self.idle();
        let instance = idle.instances.pop()?;
        idle.memory -= instance.memory();
        Some(instance)
    }

    fn give_back(&self, instance: Instance) {
        let memory = instance.memory();
        let mut idle = self.idle();
        if idle.memory + memory <= IDLE_LIMIT {
            idle.memory += memory;
            idle.instances.push(instance);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decodes so many stored bytes to at most so many; how many, or why not.
type Decoder = TypedFunc<(u32, u32), i32>;

/// The decoder with a memory of its own.
struct Instance {
    store: Store<StoreLimits>,
    deadline: u64,
    memory: Memory,
    input: TypedFunc<u32, u32>,
    output: TypedFunc<u32, u32>,
    instance: wasmtime::Instance,
    /// The codec of the last block, which is mostly that of the next.
    decoder: Option<(&'static str, Decoder)>,
}

impl Instance {
    fn new(
        engine: &wasmtime::Engine,
        compiled: &InstancePre<StoreLimits>,
        deadline: u64,
    ) -> wasmtime::Result<Self> {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY).table_elements(1 << 12).build();
        let mut store = Store::new(engine, limits);
        store.limiter(|limits| limits);
        store.set_epoch_deadline(deadline);
        let instance = compiled.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, "memory");
        Ok(Self {
            memory: memory.ok_or_else(|| wasmtime::Error::msg("it exports no memory"))?,
            input: instance.get_typed_func(&mut store, "input")?,
            output: instance.get_typed_func(&mut store, "output")?,
            instance,
            decoder: None,
            store,
            deadline,
        })
    }

    fn decode(&mut self, codec: Codec, stored: &[u8], out: &mut [u8]) -> Result<(), String> {
        let (export, name) = names(codec)?;
        let decoded = self.call(export, stored, out).map_err(|error| told(&error))?;
        match (usize::try_from(decoded), decoded) {
            (Ok(length), _) if length == out.len() => Ok(()),
            (Ok(length), _) => Err(format!("it decodes to {length} bytes, not {}", out.len())),
            (_, -2) => Err(format!("it decodes to more than {} bytes", out.len())),
            (_, -3) => Err(format!("the checksum of its {name} is another")),
            (_, -4) => Err(format!("its {name} takes more memory than a decoder has")),
            _ => Err(format!("its {name} is corrupt or passes {} bytes", out.len())),
        }
    }

    /// Copies the frame in, has it decoded, and copies as much out as `out` holds.
    /// The addresses are the module's, so they are not trusted.
    fn call(
        &mut self,
        export: &'static str,
        stored: &[u8],
        out: &mut [u8],
    ) -> wasmtime::Result<i32> {
        let (length, most) = (u32::try_from(stored.len())?, u32::try_from(out.len())?);
        self.store.set_epoch_deadline(self.deadline);
        let input = self.input.call(&mut self.store, length)?;
        let output = self.output.call(&mut self.store, most)?;
        self.memory.write(&mut self.store, input as usize, stored)?;
        let decoded = self.decoder(export)?.call(&mut self.store, (length, most))?;
        if usize::try_from(decoded).is_ok_and(|length| length == out.len()) {
            self.memory.read(&self.store, output as usize, out)?;
        }
        Ok(decoded)
    }

    /// The function that decodes, looked up where it is another than the last.
    fn decoder(&mut self, export: &'static str) -> wasmtime::Result<Decoder> {
        if let Some((last, decoder)) = &self.decoder
            && *last == export
        {
            return Ok(decoder.clone());
        }
        let decoder: Decoder = self.instance.get_typed_func(&mut self.store, export)?;
        self.decoder = Some((export, decoder.clone()));
        Ok(decoder)
    }

    /// Bytes of its linear memory.
    fn memory(&self) -> usize {
        self.memory.data_size(&self.store)
    }
}

/// The export that decodes `codec`, and what users call its data.
fn names(codec: Codec) -> Result<(&'static str, &'static str), String> {
    Ok(match codec {
        Codec::Zstd => ("zstd", "Zstandard frame"),
        Codec::Lzo => ("lzo", "LZO block"),
        Codec::Bzip2 => ("bzip2", "bzip2 stream"),
        Codec::Xz => ("xz", "xz stream"),
        Codec::Lzma2 => ("lzma2", "LZMA2 stream"),
        Codec::Lzfse => ("lzfse", "LZFSE stream"),
        Codec::Adc => ("adc", "ADC block"),
        Codec::Snappy => ("snappy", "Snappy block"),
        other => return Err(format!("{other:?} is not decoded in the sandbox")),
    })
}

/// Why a call did not come back.
fn told(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => "decoding it takes too long".into(),
        Some(trap) => format!("it crashes the decoder: {trap}"),
        None => format!("the decoder failed: {}", error.root_cause()),
    }
}

#[cfg(test)]
pub(super) mod tests;
