//! The component around a [`Format`]: translates between the contract's generated
//! types and the SDK's. Nothing here decides anything.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::marker::PhantomData;

use self::bindings::exports::fumehood::disk::format as wit;
use self::bindings::fumehood::disk::{log, secret, source, types};
use crate::error::{Error, Result};
use crate::extent::{
    Cipher, Codec, Content, Digest, DigestKind, DigestValue, Encoded, Encryption, Extent,
    Placement, Stored, Window,
};
use crate::format::{
    Confidence, Contents, CreateOptions, Disk, DiskInfo, Encoding, Finding, Format, Glimpse, Image,
    ImageInfo, Key, OpenOptions, Parent, Progress, SnapshotInfo,
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

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unrecognised => Self::Unrecognised,
            Error::Unsupported(what) => Self::Unsupported(what),
            Error::Corrupt { source_id: source, offset, what } => {
                Self::Corrupt(types::Corruption { source, offset, what })
            }
            Error::Missing(what) => Self::Missing(what),
            Error::NotGranted(what) => Self::NotGranted(what),
            Error::WrongParent(what) => Self::WrongParent(what),
            Error::NeedsKey(what) => Self::NeedsKey(what),
            Error::OutOfRange => Self::OutOfRange,
            Error::ReadOnly => Self::ReadOnly,
            Error::NoSpace => Self::NoSpace,
            Error::Io(what) => Self::Io(what),
        }
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::Unrecognised => Self::Unrecognised,
            types::Error::Unsupported(what) => Self::Unsupported(what),
            types::Error::Corrupt(types::Corruption { source, offset, what }) => {
                Self::Corrupt { source_id: source, offset, what }
            }
            types::Error::Missing(what) => Self::Missing(what),
            types::Error::NotGranted(what) => Self::NotGranted(what),
            types::Error::WrongParent(what) => Self::WrongParent(what),
            types::Error::NeedsKey(what) => Self::NeedsKey(what),
            types::Error::OutOfRange => Self::OutOfRange,
            types::Error::ReadOnly => Self::ReadOnly,
            types::Error::NoSpace => Self::NoSpace,
            types::Error::Io(what) => Self::Io(what),
        }
    }
}

impl From<DigestKind> for wit::DigestKind {
    fn from(kind: DigestKind) -> Self {
        match kind {
            DigestKind::Adler32 => Self::Adler32,
            DigestKind::Crc32 => Self::Crc32,
            DigestKind::Crc32Plain => Self::Crc32Plain,
            DigestKind::Crc32c => Self::Crc32c,
            DigestKind::Crc64 => Self::Crc64,
            DigestKind::Xxh64 => Self::Xxh64,
            DigestKind::Xxh128 => Self::Xxh128,
            DigestKind::Md5 => Self::Md5,
            DigestKind::Sha1 => Self::Sha1,
            DigestKind::Sha256 => Self::Sha256,
        }
    }
}

impl From<Codec> for wit::Codec {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Identity => Self::Identity,
            Codec::Deflate => Self::Deflate,
            Codec::Zlib => Self::Zlib,
            Codec::Zstd => Self::Zstd,
            Codec::Lz4 => Self::Lz4,
            Codec::Lzo => Self::Lzo,
            Codec::Bzip2 => Self::Bzip2,
            Codec::Xz => Self::Xz,
            Codec::Lzma2 => Self::Lzma2,
            Codec::Lzfse => Self::Lzfse,
            Codec::Adc => Self::Adc,
            Codec::Snappy => Self::Snappy,
        }
    }
}

impl From<Stored> for wit::Stored {
    fn from(stored: Stored) -> Self {
        let Stored { source, offset, writable } = stored;
        Self { source, offset, writable }
    }
}

impl From<Encoded> for wit::Encoded {
    fn from(encoded: Encoded) -> Self {
        let digest = encoded.digest.map(|Digest { kind, value, over_decoded }| wit::Digest {
            kind: kind.into(),
            value: match value {
                DigestValue::Given(bytes) => wit::DigestValue::Given(bytes),
                DigestValue::Follows => wit::DigestValue::Follows,
            },
            over_decoded,
        });
        Self {
            source: encoded.source,
            offset: encoded.offset,
            stored_length: encoded.stored_length,
            codec: encoded.codec.into(),
            decoded_length: encoded.decoded_length,
            skip: encoded.skip,
            digest,
            encryption: encoded.encryption.map(Into::into),
            window: encoded.window.map(Into::into),
        }
    }
}

impl From<Encryption> for wit::Encryption {
    fn from(encryption: Encryption) -> Self {
        let Encryption { cipher, key, vector, tag } = encryption;
        let cipher = match cipher {
            Cipher::AesCbc => wit::Cipher::AesCbc,
            Cipher::AesGcm => wit::Cipher::AesGcm,
        };
        Self { cipher, key, vector, tag }
    }
}

impl From<Window> for wit::Window {
    fn from(window: Window) -> Self {
        let Window { bits, source, offset, length } = window;
        Self { bits, source, offset, length }
    }
}

impl From<Extent> for wit::Extent {
    fn from(extent: Extent) -> Self {
        let content = match extent.content {
            Content::Absent => wit::Content::Absent,
            Content::Zero => wit::Content::Zero,
            Content::Stored(stored) => wit::Content::Stored(stored.into()),
            Content::Encoded(encoded) => wit::Content::Encoded(encoded.into()),
            Content::Computed => wit::Content::Computed,
            Content::Damaged(what) => wit::Content::Damaged(what),
        };
        Self { offset: extent.offset, length: extent.length, content }
    }
}

impl From<Placement> for wit::Placement {
    fn from(placement: Placement) -> Self {
        let Placement { offset, length, stored, fresh, zeroed } = placement;
        Self { offset, length, stored: stored.into(), fresh, zeroed }
    }
}

impl From<wit::Parent> for Parent {
    fn from(parent: wit::Parent) -> Self {
        let wit::Parent { references, identities, format } = parent;
        Self { references, identities, format }
    }
}

impl From<Parent> for wit::Parent {
    fn from(parent: Parent) -> Self {
        let Parent { references, identities, format } = parent;
        Self { references, identities, format }
    }
}

impl From<SnapshotInfo> for wit::SnapshotInfo {
    fn from(snapshot: SnapshotInfo) -> Self {
        let SnapshotInfo { id, name, created, disk_size, vm_state_size } = snapshot;
        Self { id, name, created, disk_size, vm_state_size }
    }
}

impl From<DiskInfo> for wit::DiskInfo {
    fn from(info: DiskInfo) -> Self {
        Self {
            name: info.name,
            size: info.size,
            logical_sector: info.logical_sector,
            physical_sector: info.physical_sector,
            granularity: info.granularity,
            contents: match info.contents {
                Contents::Disk => wit::Contents::Disk,
                Contents::Volume => wit::Contents::Volume,
                Contents::File => wit::Contents::File,
            },
            parent: info.parent.map(Into::into),
            identity: info.identity,
            encoding: info
                .encoding
                .map(|Encoding { codec, unit }| wit::Encoding { codec: codec.into(), unit }),
            digests: info
                .digests
                .into_iter()
                .map(|digest| wit::DiskDigest { kind: digest.kind.into(), value: digest.value })
                .collect(),
            start_on_disk: info.start_on_disk,
            disk_signature: info.disk_signature,
            details: info.details,
        }
    }
}
