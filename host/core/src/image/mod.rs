//! An opened image: one instance of a plugin with a store of its own, rebuilt from
//! the same sources after a trap.

mod instance;
mod options;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use self::instance::Instance;
pub use self::options::{NewImage, OnProgress, OpenImage};
use crate::contract::{format, types};
use crate::error::{Error, Result};
use crate::imports::{Imports, SourceTable, clean, open_declared};
use crate::plugin::Plugin;
use crate::source::{Access, Source};
use crate::sync::{Mutex, RwLock};

/// The largest unit of allocation in bytes; VHDX has the largest known.
const GRANULARITY_LIMIT: u32 = 256 << 20;
/// The most disks that one image may offer.
const DISK_LIMIT: usize = 4096;

/// An opened image.
pub struct Image {
    plugin: Arc<Plugin>,
    options: OpenImage,
    sources: Arc<RwLock<SourceTable>>,
    main_id: u32,
    scratch_id: Option<u32>,
    instance: Mutex<Instance>,
    /// Set once and for good by an answer that breaks the contract.
    untrusted: AtomicBool,
    info: format::ImageInfo,
    disks: Vec<format::DiskInfo>,
    /// Sizes of the disks in bytes, which a resize changes.
    sizes: Vec<AtomicU64>,
}

/// What a call of the plugin answers.
pub(crate) type Answer<R> = wasmtime::Result<core::result::Result<R, types::Error>>;

impl Image {
    /// Opens an image with `plugin`.
    ///
    /// # Errors
    /// [`Error::Format`] with the plugin's reason, [`Error::Trapped`],
    /// [`Error::Untrusted`] for descriptions that break the contract.
    pub fn open(plugin: Arc<Plugin>, options: OpenImage) -> Result<Self> {
        Self::closed(plugin, options).described()
    }

    /// Makes a new image in the main source, which is empty, by the settings of
    /// `options`, and opens it for writing.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn create(plugin: Arc<Plugin>, options: OpenImage, new: &NewImage) -> Result<Self> {
        let image = Self::closed(plugin, options);
        let live = image.start(Some(new))?;
        image.instance.lock().live = Some(live);
        image.described()
    }

    /// Leaves the image as one that was closed properly: the last call, after
    /// everything was flushed.
    ///
    /// # Errors
    /// What the plugin answered.
    pub fn close(&self) -> Result<()> {
        if self.access() == Access::Read {
            return Ok(());
        }
        self.call(|live| {
            let image = live.bindings.fumehood_disk_format().image();
            image.call_close(&mut live.store, live.image)
        })?;
        self.flush_sources()
    }

    /// Makes everything durable that was written to any of its sources.
    pub(crate) fn flush_sources(&self) -> Result<()> {
        let written = self.sources.read().writable();
        written.iter().try_for_each(|source| Ok(source.flush()?))
    }

    /// An image that no instance has opened yet.
    fn closed(plugin: Arc<Plugin>, options: OpenImage) -> Self {
        let mut sources = SourceTable::default();
        let main_id = sources.give(options.main.clone());
        let scratch_id = options.scratch.clone().map(|scratch| sources.give(scratch));
        Self {
            plugin,
            options,
            sources: Arc::new(RwLock::new(sources)),
            main_id,
            scratch_id,
            instance: Mutex::default(),
            untrusted: AtomicBool::new(false),
            info: format::ImageInfo {
                details: Vec::new(),
                documents: Vec::new(),
                snapshots: Vec::new(),
                warnings: Vec::new(),
            },
            disks: Vec::new(),
            sizes: Vec::new(),
        }
    }

    /// Its disks as they are now: [`Image::disks`] is of when it was opened.
    ///
    /// # Errors
    /// What keeps the plugin from answering.
    pub fn ask_disks(&self) -> Result<Vec<format::DiskInfo>> {
        self.call(|live| {
            let image = live.bindings.fumehood_disk_format().image();
            Ok(Ok(image.call_disks(&mut live.store, live.image)?))
        })
    }

    /// The key numbered `number` that the plugin kept.
    pub(crate) fn secret(&self, number: u32) -> Option<Arc<[u8]>> {
        self.sources.read().secret(number).cloned()
    }

    /// The same with what its plugin says of it.
    fn described(mut self) -> Result<Self> {
        let (info, disks) = self.call(|live| {
            let image = live.bindings.fumehood_disk_format().image();
            let info = image.call_info(&mut live.store, live.image)?;
            Ok(Ok((info, image.call_disks(&mut live.store, live.image)?)))
        })?;
        (self.info, self.disks) = (info, disks);
        self.check_disks()?;
        self.sizes = self.disks.iter().map(|disk| AtomicU64::new(disk.size)).collect();
        Ok(self)
    }

    /// Size of the disk `number` in bytes, as it is now.
    pub(crate) fn disk_size(&self, number: u32) -> u64 {
        self.sizes[number as usize].load(Ordering::Relaxed)
    }

    /// Notes that the disk `number` has another size.
    pub(crate) fn set_disk_size(&self, number: u32, size: u64) {
        self.sizes[number as usize].store(size, Ordering::Relaxed);
    }

    /// The plugin that opened it.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// What is known of the image as a whole.
    pub fn info(&self) -> &format::ImageInfo {
        &self.info
    }

    /// Its disks.
    pub fn disks(&self) -> &[format::DiskInfo] {
        &self.disks
    }

    /// An embedded text by name.
    ///
    /// # Errors
    /// [`Error::Format`] for a name that [`Image::info`] does not list.
    pub fn document(&self, name: &str) -> Result<Vec<u8>> {
        self.call(|live| {
            let image = live.bindings.fumehood_disk_format().image();
            image.call_document(&mut live.store, live.image, name)
        })
    }

    /// The source numbered `id`, opened now if it was only declared.
    ///
    /// # Errors
    /// [`Error::Source`].
    #[inline]
    pub fn source(&self, id: u32) -> Result<Arc<dyn Source>> {
        if let Some(source) = self.sources.read().get(id) {
            return Ok(source.clone());
        }
        Ok(open_declared(&self.sources, &*self.options.grants, id)?)
    }

    /// Fills `buffer` from `offset` of a source.
    #[inline]
    pub(crate) fn read_source(&self, id: u32, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if id == self.main_id {
            // The usual one, and always there: needs neither the lock nor a count.
            return Ok(self.options.main.read_at(offset, buffer)?);
        }
        Ok(self.source(id)?.read_at(offset, buffer)?)
    }

    /// Looks at an answer with the table of sources at hand.
    pub(crate) fn check_sources<R>(&self, check: impl FnOnce(&SourceTable) -> R) -> R {
        check(&self.sources.read())
    }

    /// Name of the source numbered `id`, for messages.
    pub fn source_name(&self, id: u32) -> String {
        self.sources.read().name(id)
    }

    /// What the sources are granted for.
    pub fn access(&self) -> Access {
        self.options.main.access()
    }

    /// Calls a function of the disk `number`.
    pub(crate) fn call_disk<R>(
        &self,
        number: u32,
        function: impl FnOnce(format::GuestDisk<'_>, &mut Store<Imports>, ResourceAny) -> Answer<R>,
    ) -> Result<R> {
        self.call(|live| {
            let disk = match live.disks.get(&number) {
                Some(disk) => *disk,
                None => {
                    let image = live.bindings.fumehood_disk_format().image();
                    match image.call_disk(&mut live.store, live.image, number)? {
                        Ok(disk) => *live.disks.entry(number).or_insert(disk),
                        Err(error) => return Ok(Err(error)),
                    }
                }
            };
            function(live.bindings.fumehood_disk_format().disk(), &mut live.store, disk)
        })
    }

    /// [`Error::Failed`] if the image was failed for good.
    #[inline]
    pub(crate) fn check_trusted(&self) -> Result<()> {
        if self.untrusted.load(Ordering::Relaxed) {
            return Err(self.why_failed());
        }
        Ok(())
    }

    #[cold]
    fn why_failed(&self) -> Error {
        let reason = self.instance.lock().failed.clone().unwrap_or_default();
        Error::Failed { reason }
    }

    /// Fails the image for good: its plugin cannot be trusted.
    pub(crate) fn fail(&self, reason: String) -> Error {
        let error = Error::Untrusted { plugin: self.plugin.name().into(), reason: clean(&reason) };
        self.untrusted.store(true, Ordering::Relaxed);
        tracing::error!(plugin = self.plugin.name(), "{error}");
        let mut instance = self.instance.lock();
        instance.live = None;
        instance.failed = Some(error.to_string());
        error
    }

    fn check_disks(&self) -> Result<()> {
        if self.disks.len() > DISK_LIMIT {
            let reason = format!("it offers {} disks; {DISK_LIMIT} are allowed", self.disks.len());
            return Err(self.fail(reason));
        }
        for (number, disk) in self.disks.iter().enumerate() {
            let sectors = [disk.logical_sector, disk.physical_sector];
            let sound = |size: &u32| size.is_power_of_two() && (512..=65536).contains(size);
            let granule =
                disk.granularity.is_power_of_two() && disk.granularity <= GRANULARITY_LIMIT;
            if !sectors.iter().all(sound) || !granule {
                let reason = format!(
                    "disk {number} has sectors of {sectors:?} bytes and granularity {}",
                    disk.granularity
                );
                return Err(self.fail(reason));
            }
            if disk.size > i64::MAX as u64 {
                let reason = format!("disk {number} has {} bytes, more than 2^63", disk.size);
                return Err(self.fail(reason));
            }
        }
        Ok(())
    }
}
