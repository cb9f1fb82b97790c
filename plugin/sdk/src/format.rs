//! The traits a format implements, and the vocabulary of `wit/format.wit`.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::extent::{Codec, DigestKind, Extent, Placement, Stored};
use crate::source::{Access, Host, SourceHandle};

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Short name used on the command line, e.g. "vhdx".
    pub name: &'static str,
    /// For people, e.g. "Hyper-V virtual hard disk v2".
    pub title: &'static str,
    /// The plugin's own version: `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// File name endings, lower case, no dot.
    pub extensions: &'static [&'static str],
    /// In an image that is a folder, the file by which it is opened: the operator may
    /// name the folder alone.
    pub folder_entry: Option<&'static str>,
    /// Whether [`Disk::place`] and its kin work.
    pub can_write: bool,
    /// Whether [`Format::create`] works.
    pub can_create: bool,
}

/// What the host shows a plugin to ask whether it knows the format.
#[derive(Debug, Clone, Default)]
pub struct Glimpse {
    /// Name of the source, without a path.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The first bytes (64 KiB, or all there are).
    pub head: Vec<u8>,
    /// The last bytes (64 KiB, or all there are).
    pub tail: Vec<u8>,
}

/// How sure a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// Not of this format.
    No,
    /// Nothing speaks against it, and nothing proves it.
    Maybe,
    /// A signature proves it.
    Certain,
}

/// A secret for an encrypted image.
#[derive(Debug, Clone)]
pub struct Key {
    /// Which key, where an image has several.
    pub id: String,
    /// Its bytes.
    pub secret: Vec<u8>,
}

/// How to open an image.
pub struct OpenOptions {
    /// What the host grants on the main source.
    pub access: Access,
    /// The internal snapshot to show instead of the present state, by name or id.
    pub snapshot: Option<String>,
    /// A private source that outlives this open; see [`crate::scratch`].
    pub scratch: Option<SourceHandle>,
    /// Secrets the operator gave.
    pub keys: Vec<Key>,
    /// Free settings, format by format.
    pub settings: Vec<(String, String)>,
    /// Random bytes, new for every open: what UUIDs are made from.
    pub seed: [u8; 32],
}

impl OpenOptions {
    /// Read-only, nothing else.
    pub fn read_only() -> Self {
        Self {
            access: Access::Read,
            snapshot: None,
            scratch: None,
            keys: Vec::new(),
            settings: Vec::new(),
            seed: [0; 32],
        }
    }
}

/// How to create an image.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Size of the disk in bytes.
    pub size: u64,
    /// Bytes a logical sector; formats that record none take 512 only.
    pub logical_sector: u32,
    /// What it differs from, if anything.
    pub parent: Option<Parent>,
    /// Free settings, format by format. One that the format does not know is
    /// [`Error::Unsupported`], with the ones it knows.
    pub settings: Vec<(String, String)>,
    /// Random bytes, new for every call: what UUIDs are made from.
    pub seed: [u8; 32],
    /// Seconds since 1970.
    pub now: u64,
}

impl CreateOptions {
    /// A disk of `size` bytes with 512-byte sectors, without a parent.
    pub fn new(size: u64) -> Self {
        Self {
            size,
            logical_sector: 512,
            parent: None,
            settings: Vec::new(),
            seed: [0; 32],
            now: 0,
        }
    }
}

/// What a differencing disk was made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// How the image names it, best first; hints, the host decides what to open.
    pub references: Vec<String>,
    /// The parent must show one of these, if any is recorded.
    pub identities: Vec<String>,
    /// Its format, if recorded.
    pub format: Option<String>,
}

/// How a disk takes encoded writes ([`Disk::place_encoded`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// How a unit is encoded.
    pub codec: Codec,
    /// Bytes of the disk a unit, each encoded on its own.
    pub unit: u32,
}

/// What a disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// A whole disk, boot sector and partition table included.
    Disk,
    /// One volume without a partition table around it.
    Volume,
    /// A file inside a container: the host opens it as an image in its turn.
    File,
}

/// A digest that the image stores over the disk's whole contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskDigest {
    /// Which function.
    pub kind: DigestKind,
    /// Its value.
    pub value: Vec<u8>,
}

/// What is known of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskInfo {
    /// Its name inside the image; may be empty where there is just one.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes a logical sector.
    pub logical_sector: u32,
    /// Bytes a physical sector.
    pub physical_sector: u32,
    /// Unit of allocation in bytes, a power of two; ranges of this size never mix owners.
    pub granularity: u32,
    /// What it holds.
    pub contents: Contents,
    /// What it differs from.
    pub parent: Option<Parent>,
    /// What a child would record of it.
    pub identity: Option<String>,
    /// Whether [`Disk::place_encoded`] works, and with what.
    pub encoding: Option<Encoding>,
    /// Digests stored over the whole disk.
    pub digests: Vec<DiskDigest>,
    /// For a volume: where it lay on its disk.
    pub start_on_disk: Option<u64>,
    /// For a volume: that disk's MBR signature.
    pub disk_signature: Option<u32>,
    /// Anything else worth showing, in order.
    pub details: Vec<(String, String)>,
}

impl DiskInfo {
    /// A whole disk of `size` bytes with 512-byte sectors, allocated in units of
    /// `granularity` bytes, and nothing else known.
    pub fn new(size: u64, granularity: u32) -> Self {
        Self {
            name: String::new(),
            size,
            logical_sector: 512,
            physical_sector: 512,
            granularity,
            contents: Contents::Disk,
            parent: None,
            identity: None,
            encoding: None,
            digests: Vec::new(),
            start_on_disk: None,
            disk_signature: None,
            details: Vec::new(),
        }
    }
}

/// An internal snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its id, unique in the image.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Seconds since 1970.
    pub created: Option<u64>,
    /// Size of the disk then, in bytes.
    pub disk_size: u64,
    /// Bytes of guest memory kept with it.
    pub vm_state_size: u64,
}

/// What is known of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageInfo {
    /// Worth showing, in order.
    pub details: Vec<(String, String)>,
    /// Names that [`Image::document`] answers.
    pub documents: Vec<String>,
    /// Snapshots that [`OpenOptions::snapshot`] can name.
    pub snapshots: Vec<SnapshotInfo>,
    /// What the operator should know before trusting this image.
    pub warnings: Vec<String>,
}

/// Something [`Disk::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Byte offset on the disk.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// Whether it was repaired.
    pub repaired: bool,
}

/// A format: recognises its images, opens them, makes new ones.
pub trait Format {
    /// Who this is.
    fn describe() -> Description;

    /// Whether the glimpse is of this format. Must be cheap; sees every image.
    fn probe(glimpse: &Glimpse) -> Confidence;

    /// Opens an image. Work is bounded: compare every table's size with the
    /// source's before reading it.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] when it is not of this format after all,
    /// [`Error::Unsupported`] or [`Error::Corrupt`] by the field that says so.
    fn open(main: SourceHandle, host: Rc<dyn Host>, options: OpenOptions)
    -> Result<Box<dyn Image>>;

    /// Makes a new image in `main`, which is empty, and opens it for writing. It is
    /// on storage after the first [`Disk::flush`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless [`Description::can_create`].
    fn create(
        main: SourceHandle,
        host: Rc<dyn Host>,
        options: CreateOptions,
    ) -> Result<Box<dyn Image>> {
        let _ = (main, host, options);
        Err(Error::Unsupported("this format's plugin cannot create images".into()))
    }
}

/// How far [`Image::prepare`] has come, in whatever unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is done.
    pub done: u64,
    /// What there is to do; equal to `done` at the end.
    pub total: u64,
}

impl Progress {
    /// Nothing is left to do.
    pub const DONE: Self = Self { done: 0, total: 0 };
}

/// An opened image.
pub trait Image {
    /// Learns, one step at a time, what takes longer than a call may: scans an archive,
    /// notes where a compressed stream can be entered. The host calls it until it is
    /// done, before anything else. What it learns belongs in the scratch, so that the
    /// next open is done at the first step.
    ///
    /// A step should take a tenth of a second or so: report often, finish soon. `done`
    /// grows with every call; a plugin that stands still is stopped.
    ///
    /// # Errors
    /// As [`Format::open`].
    fn prepare(&self) -> Result<Progress> {
        Ok(Progress::DONE)
    }
    /// What is known of the image as a whole.
    fn info(&self) -> ImageInfo;
    /// Its disks, in a stable order.
    fn disks(&self) -> Vec<DiskInfo>;
    /// Opens the disk at this place of [`Image::disks`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where there is none.
    fn disk(&self, number: u32) -> Result<Box<dyn Disk>>;
    /// An embedded text by name.
    ///
    /// # Errors
    /// [`Error::Missing`] for a name that [`Image::info`] does not list.
    fn document(&self, name: &str) -> Result<Vec<u8>> {
        Err(Error::Missing(name.into()))
    }
    /// The last call, after writing: gives back what was placed and never
    /// committed, and leaves the image as one that was closed properly.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`].
    fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// An opened disk: a map from its bytes to where they lie.
///
/// Writing is optional; the defaults refuse it.
pub trait Disk {
    /// Extents in order and gapless; the first holds `offset`, the last may reach
    /// past `offset + length` where that costs nothing. May stop short, at most
    /// 65536 extents an answer; the host asks again from where it ends.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] past the disk's end, [`Error::Corrupt`] where a table
    /// contradicts the format.
    fn extents(&mut self, offset: u64, length: u64) -> Result<Vec<Extent>>;

    /// Bytes of a [`crate::Content::Computed`] extent.
    ///
    /// # Errors
    /// As [`Disk::extents`].
    fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let _ = (offset, length);
        Err(Error::OutOfRange)
    }

    /// Makes room for a write: placements in order and gapless that cover the range
    /// and may reach past it. Nothing is visible until [`Disk::commit`]. Asked again
    /// for what was placed and not committed, it gives the same room, not `zeroed`.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::NoSpace`].
    fn place(&mut self, offset: u64, length: u64) -> Result<Vec<Placement>> {
        let _ = (offset, length);
        Err(Error::ReadOnly)
    }

    /// Room for `stored_length` encoded bytes that hold the whole unit at `offset`
    /// ([`DiskInfo::encoding`]); the host writes them there and commits the unit.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::NoSpace`].
    fn place_encoded(&mut self, offset: u64, stored_length: u32) -> Result<Stored> {
        let _ = (offset, stored_length);
        Err(Error::ReadOnly)
    }

    /// Links placed ranges (offset, length), multiples of the granularity or
    /// reaching the disk's end, that now hold their bytes. All that host or plugin
    /// wrote to any source before this call is durable by now.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a range that was not placed.
    fn commit(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        let _ = ranges;
        Err(Error::ReadOnly)
    }

    /// Makes the range, multiples of the granularity or reaching the disk's end,
    /// read as zeroes, whatever a parent holds; with `drop`, storage is given back.
    /// Room placed there and not committed is forgotten. Storage given back is not
    /// placed again before a [`Disk::flush`]: until then a crash may bring its old
    /// link back.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::OutOfRange`].
    fn zero(&mut self, offset: u64, length: u64, drop: bool) -> Result<()> {
        let _ = (offset, length, drop);
        Err(Error::ReadOnly)
    }

    /// All that was committed, zeroed or resized survives a crash from here on.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Grows (zeroes behind the old end) or shrinks the disk, to a multiple of the
    /// logical sector. Nothing is placed and uncommitted at this call.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Unsupported`].
    fn resize(&mut self, size: u64) -> Result<()> {
        let _ = size;
        Err(Error::ReadOnly)
    }

    /// Records another parent, or none. The contents are the host's concern.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Unsupported`].
    fn rebase(&mut self, parent: Option<Parent>) -> Result<()> {
        let _ = parent;
        Err(Error::ReadOnly)
    }

    /// Looks for contradictions that show without the payload.
    ///
    /// # Errors
    /// Only what keeps it from looking; what it finds are [`Finding`]s.
    fn check(&mut self, repair: bool) -> Result<Vec<Finding>> {
        let _ = repair;
        Ok(Vec::new())
    }
}
