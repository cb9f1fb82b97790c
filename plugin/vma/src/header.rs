//! The archive's header: which devices and configuration files it has. Once read, all
//! pointers are known to be good.
//!
//! Source: `vma_spec.txt`, "VMA Header".

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::offset_of;

use fumehood_plugin::read::{READ_LIMIT, parse_struct, read_bytes, read_struct};
use fumehood_plugin::{Error, Result, Source};
use md5::{Digest, Md5};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::blob::Blobs;
use crate::text::harmless;

/// Bytes a cluster: what is mapped as one.
pub const CLUSTER: u64 = 64 << 10;
/// The name of the device that holds the machine's memory.
const STATE: &[u8] = b"vmstate";
/// Cluster numbers have 32 bits.
const MOST_CLUSTERS: u64 = 1 << 32;
const MAGIC: [u8; 4] = *b"VMA\0";
const VERSION: u32 = 1;
/// Devices, and configuration files, that a header has room for.
const SLOTS: usize = 256;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    magic: [u8; 4],
    version: U32,
    uuid: [u8; 16],
    created: U64,
    md5: [u8; 16],
    blobs_offset: U32,
    blobs_size: U32,
    header_size: U32,
    reserved: [u8; 1984],
    config_names: [U32; SLOTS],
    config_data: [U32; SLOTS],
    reserved2: [u8; 4],
    devices: [DeviceEntry; SLOTS],
}

#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DeviceEntry {
    name: U32,
    reserved: U32,
    size: U64,
    reserved2: [u8; 16],
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A disk, and the number in the index of its first cluster's record.
    Disk(u64),
    /// The machine's memory, as a stream: its size is a guess.
    State,
}

/// A device of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What extents call it, from 1 to 255.
    pub id: u8,
    /// Its name, fit to be shown.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
}

impl Device {
    /// How many clusters it has.
    pub fn clusters(&self) -> u64 {
        self.size.div_ceil(CLUSTER)
    }
}

/// A configuration file: its name, fit to be shown, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Offset of its first byte in the archive.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// A checked header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Identifies the archive; every extent repeats it.
    pub uuid: [u8; 16],
    /// Seconds since 1970.
    pub created: u64,
    /// The checksum over all of the header.
    pub md5: [u8; 16],
    /// Its length: where the first extent lies.
    pub size: u64,
    /// Devices by ascending id.
    pub devices: Vec<Device>,
    /// Configuration files in their order.
    pub configs: Vec<Config>,
}

/// Whether an archive of any version begins like this.
pub fn is_signature(head: &[u8]) -> bool {
    head.starts_with(&MAGIC)
}

impl Header {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`Error::Unrecognised`], [`Error::Unsupported`] for another version,
    /// [`Error::Corrupt`] by the field that cannot be, or what the source answers.
    pub fn read(main: &dyn Source) -> Result<Self> {
        let start = read_bytes(main, 0, size_of::<U64>() as u64, "header")?;
        if !is_signature(&start) {
            return Err(Error::Unrecognised);
        }
        let version: U32 = read_struct(main, offset_of!(Head, version) as u64, "version")?;
        if version.get() != VERSION {
            return Err(Error::Unsupported(format!("a VMA archive of version {version}")));
        }
        let at = offset_of!(Head, header_size) as u64;
        let size: U32 = read_struct(main, at, "header size")?;
        let size = u64::from(size.get());
        if size <= size_of::<Head>() as u64 || size > READ_LIMIT {
            let least = size_of::<Head>();
            let what = format!("a header of {size} bytes, expected {least} to {READ_LIMIT}");
            return Err(Error::corrupt(at, what));
        }
        let mut bytes = read_bytes(main, 0, size, "header")?;
        let head: Head = parse_struct(&bytes, 0, 0, "header")?;
        let md5_at = offset_of!(Head, md5);
        verify(&mut bytes, md5_at, &head.md5, 0, "the header")?;
        let buffer = head.buffer(size)?;
        let pointers = head.config_names.iter().chain(&head.config_data);
        let pointers = pointers.chain(head.devices.iter().map(|device| &device.name));
        let blobs = Blobs::find(&bytes, buffer, pointers.map(|pointer| pointer.get()));
        Ok(Self {
            uuid: head.uuid,
            created: head.created.get(),
            md5: head.md5,
            size,
            devices: head.devices(&blobs)?,
            configs: head.configs(&blobs)?,
        })
    }
}

impl Head {
    /// Where the blob buffer lies in a header of `size` bytes.
    fn buffer(&self, size: u64) -> Result<core::ops::Range<usize>> {
        let start = u64::from(self.blobs_offset.get());
        let end = start + u64::from(self.blobs_size.get());
        if start < size_of::<Self>() as u64 || end > size {
            let what = format!("blobs at {start} to {end} of a header of {size} bytes");
            return Err(Error::corrupt(offset_of!(Self, blobs_offset) as u64, what));
        }
        Ok(start as usize..end as usize)
    }

    fn devices(&self, blobs: &Blobs<'_>) -> Result<Vec<Device>> {
        let mut devices = Vec::new();
        let mut first = 0;
        // Extents use the id 0 for what holds nothing.
        for (id, entry) in (0..=u8::MAX).zip(&self.devices).skip(1) {
            let (size, name) = (entry.size.get(), entry.name.get());
            if size == 0 || name == 0 {
                continue;
            }
            let name = blobs.name(name, &format!("the name of device {id}"))?;
            let kind = if name == STATE { Kind::State } else { Kind::Disk(first) };
            let device = Device { id, name: harmless(name), size, kind };
            if let Kind::Disk(_) = kind {
                if device.clusters() > MOST_CLUSTERS {
                    let at = offset_of!(Self, devices) + usize::from(id) * size_of::<DeviceEntry>();
                    let what = format!("device {id} of {size} bytes has too many clusters");
                    return Err(Error::corrupt(at as u64, what));
                }
                first += device.clusters();
            }
            devices.push(device);
        }
        Ok(devices)
    }

    fn configs(&self, blobs: &Blobs<'_>) -> Result<Vec<Config>> {
        let mut configs = Vec::new();
        for (name, data) in self.config_names.iter().zip(&self.config_data) {
            let (name, data) = (name.get(), data.get());
            if name == 0 || data == 0 {
                continue;
            }
            let name = harmless(blobs.name(name, "the name of a configuration file")?);
            let place = blobs.place(data, &format!("configuration file {name}"))?;
            configs.push(Config { name, offset: place.start as u64, length: place.len() as u64 });
        }
        Ok(configs)
    }
}

/// Compares the MD5 of `bytes`, taken with zeroes in its own place at `at`, with
/// `stated`. `what` and `offset` name them in the error.
///
/// # Errors
/// [`Error::Corrupt`] where they differ.
pub fn verify(
    bytes: &mut [u8],
    at: usize,
    stated: &[u8; 16],
    offset: u64,
    what: &str,
) -> Result<()> {
    if let Some(place) = bytes.get_mut(at..at + stated.len()) {
        place.fill(0);
    }
    if Md5::digest(bytes)[..] == stated[..] {
        return Ok(());
    }
    Err(Error::corrupt(offset, format!("the MD5 of {what} is not the one it states")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!((size_of::<Head>(), size_of::<DeviceEntry>()), (12288, 32));
        assert_eq!(offset_of!(Head, config_names), 2044);
        assert_eq!(offset_of!(Head, config_data), 3068);
        assert_eq!(offset_of!(Head, devices), 4096);
    }
}
