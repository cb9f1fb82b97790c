//! The component around a [`Format`]: translates between the contract's generated
//! types and the SDK's. Nothing here decides anything.

mod convert;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::marker::PhantomData;

use self::bindings::exports::fumehood::disk::format as wit;
use self::bindings::fumehood::disk::{log, secret, source, types};
use crate::error::{Error, Result};
use crate::format::{
    Confidence, CreateOptions, Disk, Finding, Format, Glimpse, Image, ImageInfo, Key, OpenOptions,
    Progress,
};
use crate::source::{Access, Host, Level, Source, SourceHandle};

/// Generated from `wit/`.
#[allow(missing_docs, unsafe_code, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "image-format",
        pub_export_macro: true,
        default_bindings_module: "fumehood_plugin::export::bindings",
    });
}

/// Implements the contract's exports for `F`.
pub struct Component<F>(PhantomData<F>);

impl<F: Format + 'static> wit::Guest for Component<F> {
    type Image = OpenImage;
    type Disk = OpenDisk;

    fn describe() -> wit::Description {
        let description = F::describe();
        wit::Description {
            name: description.name.into(),
            title: description.title.into(),
            version: description.version.into(),
            extensions: description.extensions.iter().map(ToString::to_string).collect(),
            folder_entry: description.folder_entry.map(Into::into),
            can_write: description.can_write,
            can_create: description.can_create,
        }
    }

    fn probe(glimpse: wit::Glimpse) -> wit::Confidence {
        let wit::Glimpse { name, size, head, tail } = glimpse;
        match F::probe(&Glimpse { name, size, head, tail }) {
            Confidence::No => wit::Confidence::No,
            Confidence::Maybe => wit::Confidence::Maybe,
            Confidence::Certain => wit::Confidence::Certain,
        }
    }

    fn open(
        main: source::Source,
        options: wit::OpenOptions,
    ) -> core::result::Result<wit::Image, types::Error> {
        let options = OpenOptions {
            access: match options.access {
                source::Access::Read => Access::Read,
                source::Access::ReadWrite => Access::ReadWrite,
            },
            snapshot: options.snapshot,
            scratch: options.scratch.map(|scratch| Granted::handle(scratch, Access::ReadWrite)),
            keys: options
                .keys
                .into_iter()
                .map(|key| Key { id: key.id, secret: key.secret })
                .collect(),
            settings: options.settings,
            seed: seed(&options.seed)?,
        };
        let image = F::open(Granted::handle(main, options.access), Rc::new(Imported), options)?;
        Ok(wit::Image::new(OpenImage(image)))
    }

    fn create(
        main: source::Source,
        options: wit::CreateOptions,
    ) -> core::result::Result<wit::Image, types::Error> {
        let options = CreateOptions {
            size: options.size,
            logical_sector: options.logical_sector,
            parent: options.parent.map(Into::into),
            settings: options.settings,
            seed: seed(&options.seed)?,
            now: options.now,
        };
        let image =
            F::create(Granted::handle(main, Access::ReadWrite), Rc::new(Imported), options)?;
        Ok(wit::Image::new(OpenImage(image)))
    }
}

/// Random bytes that the host gave.
fn seed(bytes: &[u8]) -> Result<[u8; 32]> {
    bytes.try_into().map_err(|_| Error::Io("the host gave a seed of another length".into()))
}

/// An image behind a resource handle.
pub struct OpenImage(Box<dyn Image>);

impl wit::GuestImage for OpenImage {
    fn prepare(&self) -> core::result::Result<wit::Progress, types::Error> {
        let Progress { done, total } = self.0.prepare()?;
        Ok(wit::Progress { done, total })
    }

    fn info(&self) -> wit::ImageInfo {
        let ImageInfo { details, documents, snapshots, warnings } = self.0.info();
        let snapshots = snapshots.into_iter().map(Into::into).collect();
        wit::ImageInfo { details, documents, snapshots, warnings }
    }

    fn disks(&self) -> Vec<wit::DiskInfo> {
        self.0.disks().into_iter().map(Into::into).collect()
    }

    fn disk(&self, number: u32) -> core::result::Result<wit::Disk, types::Error> {
        Ok(wit::Disk::new(OpenDisk(RefCell::new(self.0.disk(number)?))))
    }

    fn document(&self, name: String) -> core::result::Result<Vec<u8>, types::Error> {
        Ok(self.0.document(&name)?)
    }

    fn close(&self) -> core::result::Result<(), types::Error> {
        Ok(self.0.close()?)
    }
}

/// A disk behind a resource handle. The host never calls it from within a call,
/// so the borrow cannot fail.
pub struct OpenDisk(RefCell<Box<dyn Disk>>);

impl wit::GuestDisk for OpenDisk {
    fn extents(
        &self,
        offset: u64,
        length: u64,
    ) -> core::result::Result<Vec<wit::Extent>, types::Error> {
        let extents = self.0.borrow_mut().extents(offset, length)?;
        Ok(extents.into_iter().map(Into::into).collect())
    }

    fn read(&self, offset: u64, length: u32) -> core::result::Result<Vec<u8>, types::Error> {
        Ok(self.0.borrow_mut().read(offset, length as usize)?)
    }

    fn place(
        &self,
        offset: u64,
        length: u64,
    ) -> core::result::Result<Vec<wit::Placement>, types::Error> {
        let placements = self.0.borrow_mut().place(offset, length)?;
        Ok(placements.into_iter().map(Into::into).collect())
    }

    fn place_encoded(
        &self,
        offset: u64,
        stored_length: u32,
    ) -> core::result::Result<wit::Stored, types::Error> {
        Ok(self.0.borrow_mut().place_encoded(offset, stored_length)?.into())
    }

    fn commit(&self, ranges: Vec<wit::Range>) -> core::result::Result<(), types::Error> {
        let ranges: Vec<_> = ranges.into_iter().map(|range| (range.offset, range.length)).collect();
        Ok(self.0.borrow_mut().commit(&ranges)?)
    }

    fn zero(&self, offset: u64, length: u64, drop: bool) -> core::result::Result<(), types::Error> {
        Ok(self.0.borrow_mut().zero(offset, length, drop)?)
    }

    fn flush(&self) -> core::result::Result<(), types::Error> {
        Ok(self.0.borrow_mut().flush()?)
    }

    fn resize(&self, size: u64) -> core::result::Result<(), types::Error> {
        Ok(self.0.borrow_mut().resize(size)?)
    }

    fn rebase(&self, parent: Option<wit::Parent>) -> core::result::Result<(), types::Error> {
        Ok(self.0.borrow_mut().rebase(parent.map(Into::into))?)
    }

    fn check(&self, repair: bool) -> core::result::Result<Vec<wit::Finding>, types::Error> {
        let findings = self.0.borrow_mut().check(repair)?;
        let translate =
            |Finding { offset, what, repaired }| wit::Finding { offset, what, repaired };
        Ok(findings.into_iter().map(translate).collect())
    }
}

/// A source the host granted. What does not change is asked for once: parsers ask often,
/// and every call leaves the sandbox.
struct Granted {
    source: source::Source,
    id: u32,
    /// Of a source that is only read; the host may make one that is written longer.
    size: Option<u64>,
}

impl Granted {
    fn handle(source: source::Source, access: Access) -> SourceHandle {
        let id = source.id();
        let size = (access == Access::Read).then(|| source.size());
        Rc::new(Self { source, id, size })
    }
}

impl Source for Granted {
    fn id(&self) -> u32 {
        self.id
    }
    fn name(&self) -> String {
        self.source.name()
    }
    fn size(&self) -> u64 {
        self.size.unwrap_or_else(|| self.source.size())
    }
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let length = u32::try_from(length).map_err(|_| Error::OutOfRange)?;
        Ok(self.source.read(offset, length)?)
    }
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.source.write(offset, bytes)?)
    }
    fn resize(&self, size: u64) -> Result<()> {
        Ok(self.source.resize(size)?)
    }
    fn flush(&self) -> Result<()> {
        Ok(self.source.flush()?)
    }
    fn discard(&self, offset: u64, length: u64) -> Result<bool> {
        Ok(self.source.discard(offset, length)?)
    }
    fn zero(&self, offset: u64, length: u64) -> Result<()> {
        Ok(self.source.zero(offset, length)?)
    }
}

/// The host, by the component's imports.
struct Imported;

impl Host for Imported {
    fn open(&self, reference: &str, access: Access) -> Result<SourceHandle> {
        let wanted = match access {
            Access::Read => source::Access::Read,
            Access::ReadWrite => source::Access::ReadWrite,
        };
        Ok(Granted::handle(source::open(reference, wanted)?, access))
    }
    fn declare(&self, reference: &str) -> Result<u32> {
        Ok(source::declare(reference)?)
    }
    fn keep_secret(&self, key: &[u8]) -> Result<u32> {
        Ok(secret::keep(key)?)
    }
    fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::emit(level, message);
    }
}
